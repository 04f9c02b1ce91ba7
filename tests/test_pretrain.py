"""The composite LSTM on clips without labels, from the command line to a classifier that starts from it."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import timelift
from test_cli import complaint, own_cache, run  # noqa: F401
from timelift.records import ClipFormat, Manifest, Recipe, UsageError, Video
from timelift.runs.pretrain import Pretraining, clips_of, pretrain, rows_of, write_composite
from timelift.systems import create_model
from timelift.systems.composite_lstm import CompositeLSTM
from videos_tiny import moving_bar, settings, write_videos

CLIP = ClipFormat(stride=1, short_side=8, size=8)
TINY = Pretraining(past=3, future=2, hidden=16, epochs=12, batch_size=4, learning_rate=0.02)
CPU = torch.device("cpu")


class Bars:
    """Moving bars of 8 pixels, in grey as RGB."""

    def frames(self, video, indices):
        number = int(video.path)
        grey = moving_bar(number % 2 == 0, number, video.frames, side=8)
        return np.repeat(grey[..., None], 3, axis=3)[indices]


def videos(count, label="x", first=0):
    rows = tuple(Video(str(first + i), label, frames=12, status="ok") for i in range(count))
    return Manifest("/", ("x", "y"), rows)


def trained(train, val=None, choices=TINY):
    told = []
    val = val or videos(0)
    model = pretrain(choices, Recipe(clip=CLIP), train, val, Bars(), seed=0, device=CPU, progress=told.append)
    return model, told


def test_it_learns_what_moves_without_looking_at_labels():
    model, told = trained(videos(8), videos(4, first=100))
    assert [row.epoch for row in told] == list(range(1, 13))
    assert told[-1].train < 0.8 * told[0].train
    assert told[-1].held_out < told[-1].still  # better than the last frame again and again
    again, _ = trained(videos(8, label="y"), videos(4, first=100))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert trained(videos(2), choices=dataclasses.replace(TINY, epochs=1))[1][0].held_out is None


def test_pixels_are_those_that_the_classifier_sees(tmp_path):
    model, _ = trained(videos(4), choices=dataclasses.replace(TINY, epochs=1))
    write_composite(model, tmp_path / "c.safetensors")
    classifier = create_model(
        "composite_lstm", weights=tmp_path / "c.safetensors", size=8, hidden=16, classes=2
    )
    clip = clips_of(TINY, CLIP)
    facts = classifier.image_net.image_facts
    assert (clip.frames, clip.mean, clip.std) == (5, facts.mean, facts.std)
    pixels = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    rows = rows_of("", clip, CPU)(pixels)
    shown = (pixels.float() / 255 - 0.5) / 0.5
    wanted = classifier.image_net.head.classes(model.encoder(rows)[0])
    torch.testing.assert_close(classifier.eval().per_frame(shown), wanted)


def lrcn(encoder, hidden=6, peepholes=True, **options):
    return create_model(
        "lrcn", network="timm:test_resnet", hidden=hidden, peepholes=peepholes, encoder=str(encoder),
        classes=3, **options,
    )  # fmt: skip


def test_an_encoder_goes_under_the_classes_of_an_lrcn(tmp_path):
    plain = create_model("lrcn", network="timm:test_resnet", hidden=6, classes=3)
    numbers = plain.image_net.head.lstm.on_clips.lstm.inputs
    composite = CompositeLSTM(numbers, 6)
    file = tmp_path / "c.safetensors"
    save_file(composite.state_dict(), file)
    model = lrcn(file)
    inside = model.image_net.head.lstm.on_clips.lstm
    for name, tensor in composite.encoder.state_dict().items():
        assert torch.equal(inside.state_dict()[name], tensor), name
    of_lstm = {group for name, group in model.groups.items() if ".lstm." in name}
    assert of_lstm == {"lifted"}
    assert model.image_net.image_facts.started_from.endswith("; LSTM: c.safetensors")
    assert model.groups["image_net.head.classes.weight"] == "new"
    with pytest.raises(UsageError, match=r"has layers.0.b \(24,\), wanted \(32,\): give hidden"):
        lrcn(file, hidden=8)
    with pytest.raises(UsageError, match="say peepholes=True"):
        lrcn(file, peepholes=False)
    with pytest.raises(UsageError, match=r"wanted .*: give hidden and layers"):
        lrcn(file, layers=2)
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="holds no composite LSTM"):
        lrcn(tmp_path / "other.safetensors")


@pytest.mark.parametrize("wrong", [{"past": 0}, {"future": 0}, {"epochs": 0}, {"learning_rate": 0.0}])
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        trained(videos(2), choices=dataclasses.replace(TINY, **wrong))


def test_from_unlabelled_clips_to_a_stored_classifier(tmp_path, capsys):
    data = write_videos(tmp_path / "videos")
    file = tmp_path / "encoder.safetensors"
    words = ("--past", 2, "--future", 2, "--hidden", 6, "--epochs", 2, *settings())
    assert run("pretrain", data, "--output", file, *words) == 0
    shown = capsys.readouterr().out
    assert "10 videos; wrote" in shown  # those of train that do not validate
    variant = shown.split('--variant "')[1].split('"')[0]
    told = ("train", data, "--variant", variant, "--output", tmp_path / "run", "--no-validation", *settings())
    assert run(*told, "--set", "training.epochs=1") == 0
    assert load_file(file)["encoder.layers.0.w_dense"].shape == (24, 6)
    file.unlink()
    assert timelift.load(tmp_path / "run").classes == ("left", "right")
    refused = complaint(capsys, "pretrain", data, "--output", tmp_path / "x.pt", code=2)
    assert "weights are written as safetensors" in refused


@pytest.mark.slow
def test_features_are_those_that_the_lstm_sees(tmp_path):
    network = "timm:tf_efficientnet_lite0"
    rows = rows_of(network, clips_of(dataclasses.replace(TINY, network=network), CLIP), CPU)
    pixels = torch.randint(0, 256, (2, 3, 4, 64, 64), dtype=torch.uint8)
    said = rows(pixels)
    composite = CompositeLSTM(said.shape[2], 6)
    save_file(composite.state_dict(), tmp_path / "c.safetensors")
    model = create_model(
        "lrcn", network=network, weights="imagenet", hidden=6, peepholes=True, classes=3,
        encoder=str(tmp_path / "c.safetensors"),
    ).eval()  # fmt: skip
    facts = model.image_net.image_facts
    mean, std = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (facts.mean, facts.std))
    with torch.no_grad():
        wanted = model.image_net.head.classes(composite.encoder(said)[0])
        torch.testing.assert_close(model.per_frame((pixels / 255 - mean) / std), wanted, rtol=1e-4, atol=1e-5)
