"""Metrics against scikit-learn, and against sorting by hand where scores tie."""

import numpy as np
import pytest

from timelift.evaluation.metrics import (
    average_error,
    confusion,
    mean_class_accuracy,
    ranks,
    summary,
    top_k,
)
from timelift.records import Predictions, UsageError


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def predictions(clip_logits, labels):
    videos, _, classes = clip_logits.shape
    names = tuple(f"v{i}" for i in range(videos))
    return Predictions(names, names, np.asarray(labels), tuple("abcdefghij"[:classes]), clip_logits)


@pytest.mark.parametrize("k", [1, 2, 5, 7, 9])
def test_top_k_is_that_of_sklearn_without_ties(k, rng):
    from sklearn.metrics import top_k_accuracy_score

    scores, labels = rng.normal(size=(101, 9)), rng.integers(9, size=101)
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(9)) if k < 9 else 1.0
    assert top_k(scores, labels, k) == pytest.approx(expected)


def test_of_equal_scores_the_lower_class_ranks_first(rng):
    scores, labels = rng.integers(3, size=(200, 6)).astype(float), rng.integers(6, size=200)
    by_hand = [
        sorted(range(6), key=lambda c, row=row: (-row[c], c)).index(label)
        for row, label in zip(scores, labels, strict=True)
    ]
    assert ranks(scores, labels).tolist() == by_hand
    assert top_k(scores, labels, 1) == (scores.argmax(axis=1) == labels).mean()


def test_mean_class_accuracy_is_balanced_accuracy(rng):
    from sklearn.metrics import balanced_accuracy_score

    labels = np.array([0] * 50 + [1] * 7 + [3] * 2)  # class 2 has no video
    scores = rng.normal(size=(59, 4))
    scores[:50, 2] -= 100  # so that no video is answered with the class that is absent
    scores[50:, 2] -= 100
    expected = balanced_accuracy_score(labels, scores.argmax(axis=1))
    assert mean_class_accuracy(scores, labels) == pytest.approx(expected)
    assert mean_class_accuracy(scores, labels) != pytest.approx(top_k(scores, labels, 1))


def test_average_error_is_the_mean_of_top1_and_top5_error():
    scores = np.tile(np.arange(6.0, 0, -1), (4, 1))  # class 0 first, class 5 last, in every row
    labels = np.array([0, 1, 4, 5])  # ranks 0, 1, 4, 5: top-1 error 3/4, top-5 error 1/4
    assert average_error(scores, labels) == pytest.approx(0.5)


def test_confusion_is_that_of_sklearn(rng):
    from sklearn.metrics import confusion_matrix

    scores, labels = rng.normal(size=(80, 5)), rng.integers(5, size=80)
    expected = confusion_matrix(labels, scores.argmax(axis=1), labels=range(5))
    assert confusion(scores, labels).tolist() == expected.tolist()


def test_summary_judges_views_alone_and_videos_by_the_mean_of_their_softmax():
    # video 0: two views of class 0, one very sure of class 1 whose logits alone would win; 1 lacks two views
    nan = np.nan
    logits = np.array(
        [[[2, 0], [2, 0], [0, 5]], [[0, 3], [nan, nan], [nan, nan]]],
        dtype=np.float32,
    )
    metrics = summary(predictions(logits, [0, 1]))
    assert metrics["acc/top1/clip"] == pytest.approx(3 / 4)  # of four views that are there
    assert metrics["acc/top1/video"] == 1.0  # the mean logits of video 0 would give 1/2
    assert metrics["acc/mean1/clip"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["acc/mean1/video"] == 1.0


def test_padding_moves_no_score(rng):
    logits = rng.normal(size=(5, 2, 3)).astype(np.float32)
    padded = np.concatenate([logits, np.full((5, 4, 3), np.nan, np.float32)], axis=1)
    np.testing.assert_allclose(predictions(padded, [0] * 5).scores(), predictions(logits, [0] * 5).scores())


@pytest.mark.parametrize(("classes", "has_top5"), [(4, False), (5, True)])
def test_top5_is_left_out_below_five_classes(classes, has_top5, rng):
    metrics = summary(predictions(rng.normal(size=(6, 1, classes)), [0, 1, 2, 3, 0, 1]))
    assert {"acc/top1/clip", "acc/top1/video", "acc/mean1/clip", "acc/mean1/video"} <= set(metrics)
    assert [
        f"{m}/{level}" in metrics for m in ("acc/top5", "error/average") for level in ("clip", "video")
    ] == [has_top5] * 4


@pytest.mark.parametrize(
    ("scores", "labels", "says"),
    [
        (np.full((2, 3), np.nan), np.array([0, 1]), "2 of 2 rows of scores are not numbers"),
        (np.zeros((2, 3)), np.array([0, 3]), "labels run from 0 to 3"),
        (np.zeros((2, 3)), np.array([0]), r"scores \(2, 3\) and labels \(1,\)"),
        (np.zeros((0, 3)), np.array([], dtype=int), "N at least 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(scores, labels, says):
    with pytest.raises(UsageError, match=says):
        top_k(scores, labels, 1)
