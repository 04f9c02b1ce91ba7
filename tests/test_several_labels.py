"""Videos that may show several classes: loss and precision against others', and what refuses them."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from test_cli import complaint, own_cache, run  # noqa: F401
from timelift.evaluation.metrics import mean_average_precision, summary
from timelift.records import DataError, Manifest, Predictions, UsageError, Video
from timelift.records.predictions import read_predictions, write_predictions
from timelift.training.mixup import Mix
from timelift.training.objective import loss_and_hits
from videos_tiny import settings, write_net, write_videos


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_scikit_learns_with_equal_scores_too(seed):
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (13, 4))
    labels[:, 3] = 0  # a class that no row shows
    labels[0, :3] = 1
    for scores in (rng.normal(size=(13, 4)), rng.integers(0, 3, (13, 4)).astype(float)):
        own = [average_precision_score(labels[:, c], scores[:, c]) for c in range(3)]
        assert mean_average_precision(scores, labels) == pytest.approx(np.mean(own))
        order = rng.permutation(13)
        assert mean_average_precision(scores[order], labels[order]) == pytest.approx(np.mean(own))


def test_precision_of_nothing_is_refused():
    for scores, labels in (
        (np.zeros((2, 3)), np.zeros((2, 3), int)),
        (np.zeros((2, 3)), np.ones((2, 2), int)),
        (np.full((2, 3), np.nan), np.ones((2, 3), int)),
    ):
        with pytest.raises(UsageError):
            mean_average_precision(scores, labels)


def test_the_loss_is_binary_cross_entropy(generator):
    logits = torch.randn(5, 3, generator=generator)
    labels = torch.randint(0, 2, (5, 3), generator=generator).float()
    loss, hits = loss_and_hits(logits, labels, 0.0, None)
    oracle = torch.nn.BCEWithLogitsLoss(reduction="sum")(logits, labels) / 3
    torch.testing.assert_close(loss, oracle)
    assert hits == sum(labels[i, logits[i].argmax()] for i in range(5))
    mix = Mix(0.25, torch.tensor([1, 2, 3, 4, 0]))
    partner = loss_and_hits(logits, labels[mix.partner], 0.0, None)[0]
    torch.testing.assert_close(loss_and_hits(logits, labels, 0.0, mix)[0], 0.25 * loss + 0.75 * partner)
    half = loss_and_hits(logits, torch.full((5, 3), 0.5), 0.0, None)[0]
    torch.testing.assert_close(loss_and_hits(logits, labels, 0.2, None)[0], 0.8 * loss + 0.2 * half)


def videos(*labels):
    rows = tuple(Video(f"{i}", label) for i, label in enumerate(labels))
    return Manifest("/", tuple(sorted(set(labels))), rows)


def test_labels_are_parted_by_the_separator():
    manifest = videos("run|jump", "jump", "sit | run|run|").separated("|")
    assert manifest.classes == ("jump", "run", "sit")
    assert [manifest.targets(video) for video in manifest.videos] == [(1, 0), (0,), (2, 1)]
    assert manifest.of_split("").separator == "|"
    with pytest.raises(UsageError, match="0 may show several classes"):
        manifest.label_index(manifest.videos[0])
    with pytest.raises(DataError, match="no label holds ';'"):
        videos("a", "b").separated(";")
    assert videos("a|b", "c").targets(Video("x", "a|b")) == (0,)


def test_scores_are_sigmoids_and_nothing_is_right_or_wrong(tmp_path):
    logits = np.array([[[1.0, -2.0], [np.nan, np.nan]], [[0.0, 3.0], [2.0, 1.0]]], dtype=np.float32)
    labels = np.array([[1, 0], [1, 1]])
    answers = Predictions(("a", "b"), ("", ""), labels, ("x", "y"), logits)
    sure = 1 / (1 + np.exp(-logits.astype(float)))
    np.testing.assert_allclose(answers.scores(), [sure[0, 0], sure[1].mean(axis=0)])
    assert set(summary(answers)) == {"map/clip", "map/video"}
    with pytest.raises(UsageError, match="no answer is simply right or wrong"):
        answers.correct()
    write_predictions(answers, tmp_path / "p.npz")
    assert read_predictions(tmp_path / "p.npz").several
    assert not dataclasses.replace(answers, labels=np.array([0, 1])).several


def test_a_network_learns_several_classes_and_is_judged_by_precision(tmp_path, capsys):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    rows = [
        (path, f"bar+{path.parent.name}" if i % 2 else path.parent.name, path.parts[-3])
        for i, path in enumerate(sorted(data.glob("*/*/*.mkv")))
    ]
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    words = ("train", table, "--variant", f"{net} Inflate(frames=3)", "--no-validation", *settings())
    assert run(*words, "--output", tmp_path / "run", "--label-separator", "+") == 0
    shown = capsys.readouterr().out
    assert "map/video" in shown
    assert "acc/" not in shown
    stored = read_predictions(tmp_path / "run" / "predictions.npz")
    assert stored.classes == ("bar", "left", "right")
    assert stored.labels.sum() == 12 + 6
    evaluate = ("evaluate", tmp_path / "run", table, "--output", tmp_path / "again.npz")
    assert run(*evaluate, "--label-separator", "+") == 0
    np.testing.assert_allclose(read_predictions(tmp_path / "again.npz").scores(), stored.scores(), atol=1e-5)
    assert "give --label-separator" in complaint(capsys, *evaluate, code=2)
    fuse = ("fuse", tmp_path / "run", tmp_path / "again.npz", "--output", tmp_path / "fused")
    assert "several classes" in complaint(capsys, *fuse, code=2)
    balanced = complaint(
        capsys, *words, "--output", tmp_path / "b", "--label-separator", "+",
        "--set", "training.sampling=balanced", code=2,
    )  # fmt: skip
    assert "several classes a clip have none" in balanced
