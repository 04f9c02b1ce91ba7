"""Exported files answer what the network answers, for any number of clips, or they are not written."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import (
    AvgPool,
    Factorize,
    Framewise,
    Gate,
    Inflate,
    MaxPool,
    Recur,
    Shift,
    Stream,
    TokenConv,
    Transform,
    create_model,
    first,
    image_network,
    lift,
    named,
    tokens,
)
from timelift.cli.main import main
from timelift.conversions.since import Since, since
from timelift.data.encode import encode_grey
from timelift.deploy import openvino_file
from timelift.deploy.export import export, export_step
from timelift.deploy.exported import ExportedModel, ExportedStep, open_exported
from timelift.deploy.facts import ExportFacts, from_json, to_json
from timelift.deploy.files import SUFFIXES
from timelift.deploy.program import with_kernels_made
from timelift.deploy.step import moved, zero_states
from timelift.records import ClipFormat, DataError, TimeliftError, UsageError
from timelift.runs.saved import load, save
from timelift.systems import SYSTEMS
from timelift.testing import wake
from timelift.variants import build_variant, parse_variant
from videos_tiny import moving_bar, write_net

slow = pytest.mark.slow
CLOSE = 1e-4  # relative to the largest answer
RULES = {
    "inflate": (Inflate(3),),
    "valid and strided": (Inflate(3, padding="valid", stride="spatial") @ first(1),),
    "factorize": (Factorize(3, start="random", stride="spatial"),),
    "transform": (Transform(3),),
    "recur": (Recur("gru", "random"),),
    "shift and pools": (
        Shift(4) @ named("layer?.conv?"),
        MaxPool(3, 2) @ named("pool1"),
        AvgPool(2) @ named("relu"),
    ),
}
CAUSAL = {
    "recur": (Recur("rcn", "random"),),
    "lstm": (Recur("lstm", "random"),),
    "gru": (Recur("gru", "random"),),
    "inflate": (Inflate(3, causal=True),),
    "inflate zeros": (Inflate(2, causal=True, padding="zeros"),),
    "transform": (Transform(3, causal=True),),
    "gates": (Gate(causal=True) @ named("layer?"), Inflate(2, causal=True)),
    "behind norm-act": (Factorize(3, between="norm-act", causal=True) @ named("*conv1"),),
    "parallel and shift": (
        Factorize(2, "parallel", causal=True) @ named("layer1.conv?"),
        Shift(4, causal=True) @ named("layer2.conv?"),
    ),
}


def drawn(module, scale=0.3):
    """The module with something random added to every parameter: an identity start hides a leak."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=scale * parameter[0].numel() ** -0.5 if parameter.dim() else scale)
    return module.eval()


def tiny(rules):
    return drawn(lift(wake(seeded(Tiny), frames()), *rules).float())


def apart(came, wanted):
    return ((came - wanted).abs().max() / wanted.abs().max()).item()


def written(video, folder, format, **options):
    path = folder / f"net{SUFFIXES[format]}"
    made = export(video, path, shape=(3, 6, 32, 32), **options)
    assert (made.path, made.format) == (path, format)
    return path


def check_answers(video, path, shape, batches=(1, 3, 4)):
    """The file's, on other clips and other numbers of clips than those that were compared before."""
    opened = open_exported(path)
    for clips in batches:
        moving = torch.randn(clips, *shape, generator=torch.Generator().manual_seed(clips))
        with torch.no_grad():
            wanted = video(moving)
            assert apart(video(moving.flip(0, -1)), wanted) > 0.01  # other clips, other answers
        assert apart(opened(moving), wanted) < CLOSE


# --- clips ---


@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_a_file_answers_for_any_number_of_clips(tmp_path, format):
    video = tiny(RULES["inflate"])
    path = written(video, tmp_path, format)
    check_answers(video, path, (3, 6, 32, 32))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # and no draft stays


@slow
@pytest.mark.parametrize("format", ["torch", "openvino"])  # OpenVINO's files are made of ONNX
@pytest.mark.parametrize("rules", RULES)
def test_every_conversion_is_exported(tmp_path, rules, format):
    video = tiny(RULES[rules])
    check_answers(video, written(video, tmp_path, format), (3, 6, 32, 32))


NETWORKS = {
    "r2plus1d_18": lambda: create_model("r2plus1d_18", classes=7),
    "s3d": lambda: create_model("s3d", classes=7),
    "rcn_18": lambda: create_model("rcn_18", classes=7),
    "lenet5_3dttn": lambda: create_model("lenet5_3dttn", classes=7, frames=12, size=12),
    "lite0": lambda: lift(
        image_network("timm:tf_efficientnet_lite0", classes=7, weights=None), Inflate(3) @ first(2)
    ),
    "vit": lambda: lift(
        image_network("timm:test_vit", classes=7, weights=None), TokenConv(3, "random") @ tokens
    ),
}
SHAPES = {"lite0": (3, 4, 64, 64), "vit": (3, 3, 160, 160)}


@slow
@pytest.mark.parametrize("name", NETWORKS)
def test_systems_and_lifted_networks_are_exported_to_onnx_and_openvino(tmp_path, name):
    shape = SHAPES.get(name) or SYSTEMS[name].small
    moving = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    video = wake(seeded(NETWORKS[name]), moving).float().eval()
    made = export(video, tmp_path / "net.onnx", shape=shape)
    openvino_file.convert(made.path, to_json(made.facts), tmp_path / "net.xml")
    for file in ("net.onnx", "net.xml"):
        check_answers(video, tmp_path / file, shape, batches=(1, 3))


def test_made_kernels_are_numbers_in_the_copy_alone():
    video = tiny(RULES["transform"])
    before = video(clip(4))
    made = with_kernels_made(video)
    assert not any("motion" in name for name, _ in made.named_parameters())
    assert any("motion" in name for name, _ in video.named_parameters())
    torch.testing.assert_close(made(clip(4)), before)


# --- what is not written ---


class TwoFaced(Tiny):
    """Another network in a trace than in Python: what no exporter is told."""

    def forward(self, x):
        return super().forward(x) * (1.001 if torch.compiler.is_compiling() else 1.0)


@pytest.mark.parametrize("export_it", [export, export_step], ids=["clips", "step"])
def test_answers_that_differ_are_an_error_with_the_figure_and_nothing_is_written(tmp_path, export_it):
    video = lift(wake(seeded(TwoFaced), frames()), Inflate(2, causal=True) @ first(1)).float().eval()
    shape = (3, 4, 32, 32) if export_it is export else (3, 32, 32)
    path = tmp_path / "net.pt2"
    path.write_text("what was there")
    with pytest.raises(TimeliftError, match=r"differ from the network's by 1\.0e-03 of the largest"):
        export_it(video, path, shape=shape)
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt2"]
    assert path.read_text() == "what was there"
    assert export_it(video, path, shape=shape, tolerance=2e-3).difference > 9e-4


class Counts(Tiny):
    """Looks at how many frames came: another network for another batch."""

    def forward(self, x):
        return super().forward(x) * len(x)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda v: v, {"shape": None}, "give shape"),
        (lambda v: v.train(), {}, "train mode"),
        (lambda v: v.double(), {}, "float32"),
        (lambda v: v, {"path": "net.bin"}, "suffix .bin; there are .pt2 for torch"),
        (lambda v: v, {"format": "onnx"}, "suffix .pt2"),
        (lambda v: v, {"format": "tflite"}, "no format 'tflite'; there are torch, onnx, openvino"),
        (lambda v: lift(Counts().eval(), Framewise()).eval(), {}, "cannot be traced for any batch"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(tmp_path, change, options, words):
    options = {"path": "net.pt2", "shape": (3, 2, 32, 32)} | options
    path = tmp_path / options.pop("path")
    with pytest.raises(UsageError, match=words) as error:
        export(change(tiny(RULES["inflate"])), path, **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "package"),
    [("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("openvino", "openvino"), ("openvino", "onnx")],
)
def test_a_package_that_is_missing_is_named_with_the_remedy(tmp_path, monkeypatch, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    video = lift(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), Inflate(2)).eval()
    with pytest.raises(UsageError, match=rf"needs .*{package}.*pip install timelift\[export\]"):
        export(video, tmp_path / f"net{SUFFIXES[format]}", shape=(3, 2, 16, 16))
    assert not list(tmp_path.iterdir())


# --- what a file says of itself ---

FACTS = ExportFacts(
    "step",
    "uint8",
    (3, 16, 16),
    ("läuft", "steht"),
    several_labels=True,
    clip=ClipFormat(mean=(0.5,) * 3, std=(0.25,) * 3),
    states={"frames_seen": (), "conv1": (None, 3, 2, 16, 16)},
    versions={"torch": "2"},
)


@pytest.mark.parametrize("facts", [FACTS, dataclasses.replace(FACTS, kind="clips", clip=None, states={})])
def test_facts_are_read_as_they_were_written(facts):
    assert from_json(to_json(facts), "x") == facts


@pytest.mark.parametrize("text", ["", "{}", "[1]", to_json(FACTS).replace('"kind"', '"sort"')])
def test_a_file_of_somebody_else_is_refused(text):
    with pytest.raises(DataError, match="x is not a file of `timelift export`"):
        from_json(text, "x")


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_a_file_that_is_broken_or_missing_is_named(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    with pytest.raises(DataError, match="no such file"):
        open_exported(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="cannot be opened"):
        open_exported(path)
    with pytest.raises(UsageError, match=r"those end in \.pt2, \.onnx, \.xml"):
        open_exported(tmp_path / "net.txt")


# --- a stream's step ---


def check_steps(video, path, steps, side=32):
    """The file's steps against Stream's: one video, then three, the first one again after a reset."""
    step = open_exported(path)
    assert isinstance(step, ExportedStep)
    for videos, count in ((1, 2), (3, steps)):
        step.reset()
        stream = Stream(video)
        moving = torch.randn(count, videos, 3, side, side, generator=torch.Generator().manual_seed(videos))
        for t, frame in enumerate(moving):
            came, wanted = step.step(frame), stream.step(frame)
            assert came.frames_seen == t + 1
            assert apart(came.frame_logits, wanted.frame_logits) < CLOSE
            assert apart(came.clip_logits, wanted.clip_logits) < CLOSE


def written_step(video, folder, format):
    path = folder / f"step{SUFFIXES[format]}"
    facts = export_step(video, path, shape=(3, 32, 32)).facts
    assert facts.kind == "step"
    assert list(facts.states)[:2] == ["frames_seen", "clip_logits"]
    return path


def test_a_step_gives_what_the_stream_gives(tmp_path):
    video = tiny(CAUSAL["inflate"])
    path = written_step(video, tmp_path, "torch")
    check_steps(video, path, steps=6)
    states = open_exported(path).facts.states
    assert states["layer2.conv1"] == (None, 8, 2, 8, 8)
    assert len(states) == 2 + 5


def test_a_step_takes_up_where_another_stood_and_refuses_other_frames(tmp_path):
    path = written_step(tiny(CAUSAL["inflate"]), tmp_path, "torch")
    clip = torch.randn(3, 2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    one, other = open_exported(path), open_exported(path)
    one.step(clip[0])
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.step(clip[1]).clip_logits, one.step(clip[1]).clip_logits)
    with pytest.raises(
        UsageError, match=r"takes frames \(B, 3, 32, 32\) of float32; these are \(2, 3, 16, 16\)"
    ):
        one.step(clip[2][..., :16, :16])
    with pytest.raises(
        UsageError, match=r"one of 1 videos, those before it were of 2: reset\(\) begins others"
    ):
        one.step(clip[2, :1])
    assert one.step(clip[2]).frames_seen == 3


@slow
@pytest.mark.parametrize("rules", CAUSAL)
def test_twenty_frames_through_onnxruntime_are_the_streams(tmp_path, rules):
    video = tiny(CAUSAL[rules])
    check_steps(video, written_step(video, tmp_path, "onnx"), steps=20)


@slow
def test_steps_through_openvino_are_the_streams(tmp_path):
    video = tiny(CAUSAL["recur"])
    check_steps(video, written_step(video, tmp_path, "openvino"), steps=20)


@slow
def test_the_names_of_a_step_are_those_that_are_documented(tmp_path):
    import onnxruntime

    path = written_step(tiny(CAUSAL["lstm"]), tmp_path, "onnx")
    session = onnxruntime.InferenceSession(path)
    states = ["frames_seen", "clip_logits", "conv1.0", "conv1.1"]
    assert [one.name for one in session.get_inputs()][:5] == ["frame", *(f"state.{name}" for name in states)]
    outputs = [one.name for one in session.get_outputs()]
    assert outputs[:5] == ["frame_logits", *(f"next.{name}" for name in states)]
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]


@pytest.mark.parametrize("rules", CAUSAL)
def test_states_of_zeros_that_do_not_hold_yet_are_a_beginning(rules):
    """What the exported graph does, in Python: with `Since`, a first frame is a first frame."""
    video, moving = tiny(CAUSAL[rules]).double(), clip(2).double()
    wanted, states = moved(video, moving[:, :, :1])
    later, _ = moved(video, moving[:, :, 1:], list(states.values()))

    def with_flag(state, begun):
        if isinstance(state, tuple):
            return tuple(with_flag(part, begun) for part in state)
        return None if state is None else Since(torch.tensor(begun), state if begun else state * 0)

    beginning = [with_flag(state, False) for state in states.values()]
    torch.testing.assert_close(moved(video, moving[:, :, :1], beginning)[0], wanted)
    holding = [with_flag(state, True) for state in states.values()]
    torch.testing.assert_close(moved(video, moving[:, :, 1:], holding)[0], later)
    assert apart(later, moved(video, moving[:, :, 1:])[0]) > 1e-3  # the past is felt


def test_since_chooses():
    start, state = torch.ones(2), torch.full((2,), 2.0)
    chosen = [since(s, lambda: start, torch.neg)[0].item() for s in (None, state)]
    flagged = [
        since(Since(torch.tensor(b), state), lambda: start, torch.neg)[0].item() for b in (False, True)
    ]
    assert chosen == flagged == [1, -2]


def test_zero_states_are_of_the_shapes_of_so_many_videos():
    states = zero_states({"frames_seen": (), "clip_logits": (None, 5), "lstm": (2, None, 4)}, 3)
    assert [tuple(state.shape) for state in states] == [(), (3, 5), (2, 3, 4)]
    assert states[0].dtype == torch.int64


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (lambda: tiny((Inflate(3),)), "looks ahead"),
        (lambda: tiny((Inflate(3, causal=True, stride="spatial") @ first(1),)), "waits for others"),
        (lambda: tiny((Gate() @ named("conv1"),)), "no stream through this network"),
        (
            lambda: lift(Tiny(), consensus=lambda logits: logits[:, -1]).eval(),
            "this network's answer is another",
        ),
    ],
)
def test_a_network_without_a_step_is_refused(tmp_path, video, words):
    with pytest.raises(UsageError, match=words):
        export_step(video(), tmp_path / "step.pt2", shape=(3, 32, 32))


@pytest.mark.parametrize(("export_it", "shape"), [(export, (3, 6, 32, 32)), (export_step, (3, 32, 32))])
def test_answers_that_are_no_numbers_are_not_written(tmp_path, export_it, shape):
    video = tiny(CAUSAL["inflate"])
    with torch.no_grad():
        next(p for name, p in video.named_parameters() if "fc" in name or "head" in name)[0] = torch.nan
    with pytest.raises(TimeliftError, match="by nan of the largest"):
        export_it(video, tmp_path / "net.pt2", shape=shape)
    assert not list(tmp_path.iterdir())


def test_clips_that_a_file_does_not_take_are_named(tmp_path):
    opened = open_exported(written(tiny(RULES["inflate"]), tmp_path, "torch"))
    with pytest.raises(UsageError, match=r"takes clips \(B, 3, 6, 32, 32\) of float32; these are \(1, 3, 8,"):
        opened(torch.zeros(1, 3, 8, 32, 32))
    with pytest.raises(UsageError, match="of uint8"):
        opened(torch.zeros(1, 3, 6, 32, 32, dtype=torch.uint8))


# --- a run ---


@pytest.fixture
def run_folder(tmp_path):
    """A run whose network answers differently to different pixels, and a video for it."""
    variant = f"{write_net(tmp_path)} inflate(frames=2, causal=True)"
    form = ClipFormat(4, 2, 20, 16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    model = drawn(seeded(lambda: build_variant(parse_variant(variant), 3, 3, 4, 16)))
    save(model, variant, ("left", "right", "still"), form, tmp_path / "run")
    (tmp_path / "video.mkv").write_bytes(encode_grey(moving_bar(True, 0, frames=30), 25))
    return tmp_path / "run"


def called(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def rows(text):
    return [line.rsplit(",", 1) for line in text.splitlines()[1:]]


@pytest.mark.parametrize("format", ["torch", "onnx", pytest.param("openvino", marks=slow)])
def test_predict_runs_the_file_of_a_run_and_answers_as_the_run(run_folder, capsys, format):
    video, path = run_folder.with_name("video.mkv"), run_folder.with_name(f"net{SUFFIXES[format]}")
    code, out, _ = called(capsys, "export", run_folder, "--format", format, "--output", path)
    assert code == 0
    assert "clips (B, 3, 4, 16, 16) of uint8" in out
    answers = [called(capsys, "predict", one, video, "--device", "cpu") for one in (run_folder, path)]
    assert [code for code, _, _ in answers] == [0, 0]
    of_run, of_file = (rows(out) for _, out, _ in answers)
    assert [label for label, _ in of_file] == [label for label, _ in of_run]
    probabilities = np.array([[float(p) for _, p in one] for one in (of_run, of_file)])
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=2e-6)
    assert probabilities[0].std() > 0.01


def test_a_step_of_a_run_takes_pixels_and_predict_refuses_it(run_folder, capsys):
    path = run_folder.with_name("step.pt2")
    code, out, _ = called(capsys, "export", run_folder, "--output", path, "--step")
    assert code == 0
    assert "a frame (B, 3, 16, 16) of uint8" in out
    step = open_exported(path)
    frame = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    assert step.step(frame).clip_logits.shape == (2, 3)
    code, _, err = called(capsys, "predict", path, run_folder.with_name("video.mkv"))
    assert (code, "one step of a stream" in err) == (2, True)


def test_predict_says_what_a_file_cannot(run_folder, tmp_path, capsys):
    path = tmp_path / "net.pt2"
    export(tiny((Framewise(),)), path, shape=(3, 2, 32, 32))
    video = run_folder.with_name("video.mkv")
    for words, device in (("no run has trained", "auto"), ("runs on the CPU", "cuda")):
        code, _, err = called(capsys, "predict", path, video, "--device", device)
        assert (code, words in err) == (2, True)


def test_an_exported_network_says_what_the_run_says(run_folder, tmp_path):
    video = load(run_folder)
    export(video, tmp_path / "net.pt2")
    model = open_exported(tmp_path / "net.pt2")
    assert isinstance(model, ExportedModel)
    assert model.classes == video.classes == ("left", "right", "still")
    assert model.facts.clip == video.transform.clip
    pixels = torch.randint(256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        assert apart(model(pixels), video(video.transform.normalise(pixels))) < CLOSE
        assert apart(model(pixels), video(pixels / 255)) > 0.01  # the normalisation is felt
