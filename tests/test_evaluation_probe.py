"""The linear probe against scikit-learn's own pipeline; answers over time against sorting by hand."""

import csv
import json

import numpy as np
import pytest
import torch

from timelift.evaluation import probe
from timelift.evaluation.predict import COLUMNS, to_csv, to_json, top_answers
from timelift.evaluation.probe import chosen_strength, features, fitted_logits, linear_probe
from timelift.records import DataError, UsageError
from timelift.records.predictions import softmax


def clouds(rng, classes, per_class=20, dimension=6, spread=1.0, of_group=0.0):
    """Gaussian clouds, 4 videos a group; the scales of the features differ by a factor of 1,000."""
    labels = np.repeat(np.arange(classes), per_class)
    centres = np.random.default_rng(0).normal(size=(classes, dimension)) * 2
    groups = np.arange(len(labels)) // 4
    shift = rng.normal(size=(groups.max() + 1, dimension))[groups] * of_group
    values = centres[labels] + rng.normal(size=(len(labels), dimension)) * spread + shift
    return values * np.geomspace(0.1, 100, dimension), labels, tuple(f"g{g}" for g in groups)


@pytest.fixture
def rng():
    return np.random.default_rng(9)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logits_are_those_of_sklearns_pipeline(classes, strength, rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, labels, _ = clouds(rng, classes)
    test, _, _ = clouds(rng, classes)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(train, labels)
    logits = fitted_logits(train, labels, test, strength, classes)
    np.testing.assert_allclose(softmax(logits), oracle.predict_proba(test), atol=1e-6)


def test_the_probe_reads_separable_classes_and_is_the_same_again(rng):
    train, labels, groups = clouds(rng, 4, spread=0.4)
    test, test_labels, _ = clouds(rng, 4, spread=0.4)
    logits = linear_probe(train, labels, test, train_groups=groups, seed=1)
    assert (logits.argmax(axis=1) == test_labels).mean() > 0.95
    again = linear_probe(train, labels, test, train_groups=groups, seed=1)
    np.testing.assert_array_equal(logits, again)


def test_no_group_stands_on_both_sides_and_every_video_is_held_out_once(rng):
    _, labels, groups = clouds(rng, 3)
    splits = probe._group_folds(labels, np.array(groups), 5, seed=0)
    assert sorted(np.concatenate([held for _, held in splits])) == list(range(60))
    for train, held in splits:
        assert not {groups[i] for i in train} & {groups[i] for i in held}


def test_groups_choose_a_stronger_regularisation_than_videos_alone():
    """What recurs within a group deceives a choice that lets groups stand on both sides."""
    rng = np.random.default_rng(0)
    train, labels, groups = clouds(rng, 3, per_class=16, dimension=30, spread=0.3, of_group=4.0)
    alone = tuple(str(i) for i in range(len(labels)))
    assert chosen_strength(train, labels, groups, seed=0) < chosen_strength(train, labels, alone, seed=0)


def test_too_few_groups_fall_back_to_the_plain_strength(rng):
    train, labels, _ = clouds(rng, 3, per_class=4)
    one_a_class = tuple(f"g{label}" for label in labels)
    assert chosen_strength(train, labels, one_a_class, seed=0) == 1.0
    logits = linear_probe(train, labels, train, train_groups=one_a_class, seed=0)
    np.testing.assert_allclose(logits, fitted_logits(train, labels, train, 1.0, 3))


def test_a_class_without_training_videos_is_never_answered(rng):
    train, labels, groups = clouds(rng, 2)
    logits = linear_probe(train, labels * 2, train, train_groups=groups, seed=0, classes=4)
    assert logits.shape == (40, 4)
    assert np.isneginf(logits[:, [1, 3]]).all()
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1)


def test_a_feature_that_never_changes_says_nothing(rng):
    train, labels, _ = clouds(rng, 2)
    with_constant = np.concatenate([train, np.full((40, 1), 7.3)], axis=1)
    np.testing.assert_allclose(
        fitted_logits(with_constant, labels, with_constant, 1.0, 2),
        fitted_logits(train, labels, train, 1.0, 2),
    )


@pytest.mark.parametrize(
    ("labels", "groups", "dimension", "says"),
    [
        ([0, 0, 0], "abc", 2, "at least two classes"),
        ([0, 1, 0], "ab", 2, "3 rows of features, 3 labels, 2 groups"),
        ([0, 1, 0], "abc", 5, r"features \(3, 2\) and \(1, 5\)"),
    ],
)
def test_what_cannot_be_probed_is_refused(labels, groups, dimension, says):
    with pytest.raises(UsageError, match=says):
        linear_probe(
            np.zeros((3, 2)), np.array(labels), np.zeros((1, dimension)), train_groups=tuple(groups), seed=0
        )


def test_features_are_the_mean_over_frames_and_views():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3 * 4 * 5, 7, generator=generator)
    clips = [
        (torch.randint(0, 256, (views, 3, 2, 4, 5), generator=generator, dtype=torch.uint8), 0)
        for views in (1, 3)
    ]
    result = features(
        lambda frames: (frames.flatten(1) @ weight).relu(),
        clips,
        normalise=lambda views: views.float() / 255,
        device="cpu",
        batch_views=2,
    )
    for row, (views, _) in zip(result, clips, strict=True):
        alone = [
            (views[v, :, t].float() / 255).flatten() @ weight for v in range(len(views)) for t in range(2)
        ]
        np.testing.assert_allclose(row, torch.stack(alone).relu().mean(0).numpy(), rtol=1e-5, atol=1e-5)


def test_features_of_nothing_are_refused():
    with pytest.raises(DataError, match="this split is empty"):
        features(lambda frames: frames, [], normalise=lambda views: views, device="cpu")


def test_answers_are_the_best_classes_of_each_window_in_order():
    scores = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    answers = top_answers("a b/ü.avi", [(0, 1.5), (1.5, 3)], scores, ("run", "jump, high", "sit"), k=2)
    assert [(a.start_seconds, a.rank, a.label, a.probability) for a in answers] == [
        (0, 1, "jump, high", 0.5),
        (0, 2, "sit", 0.3),
        (1.5, 1, "run", 0.4),  # a tie: the lower class first
        (1.5, 2, "sit", 0.4),
    ]
    rows = list(csv.DictReader(to_csv(answers).splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["video"] == "a b/ü.avi"
    assert rows[0]["class"] == "jump, high"
    assert [float(row["probability"]) for row in rows] == [0.5, 0.3, 0.4, 0.4]
    assert to_csv(answers, header=False).count("\n") == 4
    objects = json.loads(to_json(answers))
    assert [o["class"] for o in objects] == [a.label for a in answers]
    assert list(objects[0]) == list(COLUMNS)


def test_of_many_equal_classes_the_lowest_come_first(rng):
    scores = rng.integers(3, size=(1, 400)) / 400
    answers = top_answers("v", [(0, 1)], scores, [str(c) for c in range(400)], k=400)
    by_hand = sorted(range(400), key=lambda c: (-scores[0, c], c))
    assert [int(answer.label) for answer in answers] == by_hand


def test_more_classes_than_there_are_gives_all():
    assert len(top_answers("v", [(0, 1)], np.array([[0.1, 0.9]]), ("a", "b"), k=5)) == 2


def test_answers_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="1 windows and 3 classes"):
        top_answers("v", [(0, 1)], np.zeros((1, 2)), ("a", "b", "c"), k=1)
    with pytest.raises(UsageError, match="at least one class"):
        top_answers("v", [(0, 1)], np.zeros((1, 2)), ("a", "b"), k=0)
