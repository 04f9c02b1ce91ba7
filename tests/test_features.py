"""Features of any layer against a forward by hand; probes on them against scikit-learn; the two verbs."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from test_cli import complaint, own_cache, run, train  # noqa: F401
from timelift import lift
from timelift.conversions import Inflate
from timelift.evaluation.layer import layer_features, per_clip
from timelift.evaluation.svm import STRENGTHS, on_unit_sphere
from timelift.networks.select import first
from timelift.records import DataError, Recipe, UsageError
from timelift.records.features import Features, read_features, write_features
from timelift.records.predictions import read_predictions
from timelift.records.recipe import recipe_to_dict
from timelift.records.run import read_run
from timelift.runs.fuse import read_member
from timelift.runs.probe_features import probe_features
from videos_tiny import write_videos

VIEWS = (1, 3, 2)


def normalise(views):
    return views.float() / 255 - 0.5


@pytest.fixture
def model():
    torch.manual_seed(0)
    image = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 5), nn.ReLU(inplace=True),
        nn.Linear(5, 2),
    )  # fmt: skip
    return lift(image, Inflate(3, "random") @ first(1), example=torch.zeros(1, 3, 9, 11))


@pytest.fixture
def clips(generator):
    def views(count):
        return torch.randint(0, 256, (count, 3, 4, 9, 11), generator=generator, dtype=torch.uint8)

    return [(views(count), 0) for count in VIEWS]


@pytest.mark.parametrize("batch_views", [1, 2, 8])
@pytest.mark.parametrize(("layer", "before"), [("0", False), ("2", False), ("6", False), ("8", True)])
def test_a_layers_output_averaged_over_space_time_and_views(model, clips, layer, before, batch_views):
    rows = layer_features(
        model, f"image_net.{layer}", clips, normalise=normalise, device="cpu", batch_views=batch_views,
        before=before,
    )  # fmt: skip
    model.eval()
    modules = list(model.image_net)[: int(layer) + (not before)]
    for row, (views, _) in zip(rows, clips, strict=True):
        with torch.no_grad():
            own = []
            for view in views:
                net = lift_free(modules)
                own.append(net(model, normalise(view[None])))
        np.testing.assert_allclose(row, np.mean(own, axis=0), atol=1e-5)


def lift_free(modules):
    """One clip through these modules, with the clip's length told to what looks through time."""
    from timelift.clip import ClipBatch, fold

    def run_through(model, clip):
        with ClipBatch(1):
            came = fold(clip)
            for module in modules:
                came = module(came)
        return (
            came.flatten(2).mean(dim=2).mean(dim=0).numpy() if came.dim() == 4 else came.mean(dim=0).numpy()
        )

    return run_through


def test_the_network_is_left_as_it_was(model, clips):
    model.train()
    layer_features(model, "image_net.6", clips, normalise=normalise, device="cpu")
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_unknown_layer_is_told_what_there_is(model, clips):
    with pytest.raises(UsageError, match=r"no layer is called '66'; there are 6, .*11 in all"):
        layer_features(model, "image_net.66", clips, normalise=normalise, device="cpu")
    with pytest.raises(DataError, match="this split is empty"):
        layer_features(model, "image_net.6", [], normalise=normalise, device="cpu")


@pytest.mark.parametrize("shape", [(6, 4), (6, 7, 4), (6, 4, 2, 3), (2, 4, 3, 5, 1)])
def test_every_kind_of_output_becomes_one_row_a_clip(shape, generator):
    came = torch.randn(*shape, generator=generator)
    rows = per_clip([torch.zeros(1), came], 2, "layer")
    assert rows.shape == (2, 4)
    half = came[: len(came) // 2]
    axes = {2: (0,), 3: (0, 1), 4: (0, 2, 3), 5: (0, 2, 3, 4)}[len(shape)]
    torch.testing.assert_close(rows[0], half.mean(dim=axes))
    with pytest.raises(UsageError, match="no rows or maps"):
        per_clip([came[:1]], 2, "layer")
    with pytest.raises(UsageError, match="does not run"):
        per_clip([], 2, "layer")


def table(seed=0, per_split=(30, 12, 18), classes=3, spread=0.7):
    rng = np.random.default_rng(seed)
    splits = [
        name for name, count in zip(("train", "val", "test"), per_split, strict=True) for _ in range(count)
    ]
    labels = np.arange(len(splits)) % classes
    centres = np.random.default_rng(9).normal(size=(classes, 5))
    return Features(
        videos=tuple(f"{split}/{i}.avi" for i, split in enumerate(splits)),
        groups=tuple(f"g{i // 2}" for i in range(len(splits))),
        splits=tuple(splits),
        labels=labels,
        classes=tuple("abc"[:classes]),
        rows=(centres[labels] + spread * rng.normal(size=(len(splits), 5))).astype(np.float32),
        source="net",
        layer=f"layer{seed}",
        recipe=json.dumps(recipe_to_dict(Recipe())),
        data_digest="digest",
    )


def test_features_come_back_as_they_were_written(tmp_path):
    features = table()
    write_features(features, tmp_path / "f.npz")
    again = read_features(tmp_path / "f.npz")
    for field in dataclasses.fields(Features):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(features, field.name))
    (tmp_path / "no.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="holds no features"):
        read_features(tmp_path / "no.npz")


def test_the_machine_on_features_is_scikit_learns_with_the_strength_that_val_prefers(tmp_path):
    from sklearn.svm import LinearSVC

    files = [table(0), table(1)]
    probe_features(files, "svm", tmp_path / "svm")
    rows = np.concatenate([on_unit_sphere(file.rows) for file in files], axis=1)
    train, val, test = (files[0].of_split(split) for split in ("train", "val", "test"))
    labels = files[0].labels
    machines = [
        LinearSVC(C=c, max_iter=100_000, random_state=0).fit(rows[train], labels[train]) for c in STRENGTHS
    ]
    best = machines[int(np.argmax([machine.score(rows[val], labels[val]) for machine in machines]))]
    answers = read_predictions(tmp_path / "svm" / "predictions.npz")
    np.testing.assert_allclose(
        answers.clip_logits[:, 0], best.decision_function(rows[test]), rtol=1e-4, atol=1e-5
    )
    assert read_run(tmp_path / "svm").metrics["acc/top1/video"] == pytest.approx(
        best.score(rows[test], labels[test])
    )
    assert len(read_predictions(tmp_path / "svm" / "validation.npz").videos) == 12


@pytest.mark.parametrize("per_split", [(30, 12, 18), (30, 0, 18)])
def test_test_videos_choose_nothing(tmp_path, per_split):
    features = table(0, per_split)
    run_one = probe_features([features], "logistic", tmp_path / "a")
    rows = features.rows.copy()
    rows[features.of_split("test")] = 100.0
    run_two = probe_features([dataclasses.replace(features, rows=rows)], "logistic", tmp_path / "b")
    assert run_one.selection == run_two.selection
    assert run_one.metrics["acc/top1/video"] > 0.6 > run_two.metrics["acc/top1/video"]


def test_what_cannot_be_probed_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'tree': logistic"):
        probe_features([table()], "tree", tmp_path)
    with pytest.raises(DataError, match=r"of the split.s. val: wanted train and test"):
        probe_features([table(per_split=(0, 4, 0))], "svm", tmp_path)
    with pytest.raises(UsageError, match="videos differ between layer0 of net and layer1 of net"):
        probe_features([table(0), table(1, (30, 12, 17))], "svm", tmp_path)


def test_the_verbs_take_features_of_a_run_and_probe_them(tmp_path, capsys):
    data = write_videos(tmp_path / "videos")
    assert train(data, tmp_path / "run", "--no-validation") == 0
    capsys.readouterr()
    assert run("features", tmp_path / "run", data, "--output", tmp_path / "f.npz") == 0
    assert "8 numbers (the last layer's input) of 24 videos" in capsys.readouterr().out
    assert run("probe", tmp_path / "f.npz", "--output", tmp_path / "probe") == 0
    assert "acc/top1/video" in capsys.readouterr().out
    assert run("fuse", tmp_path / "probe", tmp_path / "run", "--output", tmp_path / "fused") == 0
    own = complaint(capsys, "features", tmp_path / "run", data, "--set", "clip.frames=9", code=2)
    assert "has its own clips" in own
    unknown = complaint(capsys, "features", tmp_path / "run", data, "--layer", "fc6", code=2)
    assert "no layer is called 'fc6'" in unknown


def features_of(labels, splits, groups=None) -> Features:
    rng = np.random.default_rng(0)
    count = len(labels)
    return Features(
        videos=tuple(f"v{i}" for i in range(count)),
        groups=tuple(groups or [""] * count),
        splits=tuple(splits),
        labels=np.array(labels),
        classes=("a", "b"),
        rows=rng.normal(size=(count, 3)).astype(np.float32),
        source="net",
        layer="fc",
        recipe=json.dumps(recipe_to_dict(Recipe())),
        data_digest="",
    )


@pytest.mark.parametrize("classifier", ["logistic", "svm"])
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (features_of([0, 0, 1], ["train", "train", "test"]), "no training video shows 'b'"),
        (features_of([0, 0, 0], ["train", "train", "test"]), "all training videos show 'a'"),
        (
            features_of([0, 1, 0], ["train", "train", "test"], ["g", "h", "g"]),
            "group g is in train and in test",
        ),
    ],
)
def test_what_cannot_be_learnt_honestly_is_refused(tmp_path, classifier, features, words):
    with pytest.raises(DataError, match=words):
        probe_features([features], classifier, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_strength_that_nothing_chose_is_said_to_be_so(tmp_path):
    told = probe_features([features_of([0, 1, 0], ["train", "train", "test"])], "logistic", tmp_path / "out")
    assert told.selection == "C = 1, as there is nothing to choose it by"


def test_files_that_hold_no_features_are_one_line(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("a.npy", "empty.npz"):
        with pytest.raises(DataError, match="holds no features"):
            read_features(tmp_path / name)
        with pytest.raises(DataError, match="holds no predictions"):
            read_member(tmp_path / name)


def test_maps_with_channels_last_are_refused():
    with pytest.raises(UsageError, match="channels seem to stand last"):
        per_clip([torch.zeros(4, 7, 7, 96)], 2, "stage")
