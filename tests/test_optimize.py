"""Frozen networks answer what the network answers, whatever stands in them; the quickest form is taken."""

import pytest
import torch
from torch import nn

from heart_tiny import seeded
from test_export import RULES, drawn, run_folder, tiny  # noqa: F401
from timelift import Framewise, Inflate, create_model, first, image_network, lift
from timelift.cli.main import main
from timelift.deploy import optimize as optimizing
from timelift.deploy.frozen import folded, packed
from timelift.deploy.optimize import AS_IT_IS, optimize
from timelift.deploy.program import trace_program, with_kernels_made
from timelift.records import UsageError

slow = pytest.mark.slow


def apart(came, wanted):
    return float((came - wanted).abs().max() / wanted.abs().max())


def moving(clips, frames=6, size=32, seed=1):
    return torch.randn(clips, 3, frames, size, size, generator=torch.Generator().manual_seed(seed))


def traced(video, example):
    return trace_program(with_kernels_made(video), {"clip": example}, ("logits",))


def counted(made, *names):
    """How often operators with these names are called."""
    called = [str(node.target) for node in made.graph.nodes if node.op == "call_function"]
    return sum(any(name in one for name in names) for one in called)


def norms_awake(video):
    """Statistics, scales and shifts that a wrong fold would show."""
    generator = torch.Generator().manual_seed(2)
    for module in video.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            starts = {"running_mean": -0.2, "running_var": 0.5, "weight": 0.5, "bias": -0.2}
            for name, low in starts.items():
                tensor = getattr(module, name)
                if tensor is not None:
                    tensor.data = low + torch.rand(tensor.shape, generator=generator)
    return video.eval()


@pytest.mark.parametrize("rules", RULES)
def test_every_conversion_is_frozen(rules):
    video = norms_awake(tiny(RULES[rules]))
    example = moving(2)
    made = folded(traced(video, example), example)
    with torch.no_grad():
        for clips in (1, 2, 5):  # any number of clips, after it as before
            assert apart(made(moving(clips)), video(moving(clips))) < 1e-5
        assert apart(packed(made, example)(moving(3)), video(moving(3))) < 1e-5


class Around(nn.Module):
    """Norms before, behind and far from convolutions; one convolution that two ask; many activations."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False)
        self.conv2 = nn.Conv2d(8, 8, (1, 3), padding="same", groups=2, bias=False)
        self.conv3 = nn.Conv2d(8, 8, 3, dilation=2, padding=2)
        self.norm3, self.norm4 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.relu6(self.norm1(self.conv1(x)))
        x = nn.functional.silu(self.norm2(self.conv2(x)))
        y = self.conv3(x)  # asked twice: its norm cannot be folded in
        x = nn.functional.hardswish(self.norm3(y)) + y.sigmoid()
        x = nn.functional.leaky_relu(self.norm4(x))  # behind a sum
        return self.head(nn.functional.hardtanh(x).mean((2, 3)))


def test_what_cannot_be_folded_stays():
    video = norms_awake(lift(seeded(Around), Framewise() @ first(1)).float())
    example = moving(2)
    made = folded(traced(video, example), example)
    assert counted(made, "batch_norm") == 2  # norm3 and norm4
    frozen = packed(made, example)
    assert counted(frozen, "_convolution_pointwise") == 2  # padding="same" stays with PyTorch
    assert counted(frozen, "hardtanh", "relu6") == 1  # the last, behind no convolution
    with torch.no_grad():
        assert apart(frozen(moving(3)), video(moving(3))) < 1e-5


def test_frozen_holds_no_weight_that_it_does_not_use():
    video = norms_awake(tiny(RULES["inflate"]))
    example = moving(2)
    made = folded(traced(video, example), example)
    held = {name for name, _ in (*made.named_parameters(), *made.named_buffers())}
    assert held == {node.target for node in made.graph.nodes if node.op == "get_attr"}
    assert counted(made, "batch_norm") == 0


@slow
@pytest.mark.parametrize("name", ["r2plus1d_18", "r3d_18", "s3d", "rcn_18", "timm:tf_efficientnet_lite0"])
def test_systems_are_frozen(name):
    if name.startswith("timm:"):
        made = image_network(name, classes=7, weights=None)
        video = lift(made, Inflate(3, start="random") @ first(3))
    else:
        video = create_model(name, classes=7, weights=None)
    video = norms_awake(drawn(video))
    example = moving(2, frames=16, size=64)
    made = folded(traced(video, example), example)
    assert counted(made, "batch_norm") == (16 if name == "rcn_18" else 0)  # behind a recurrence
    with torch.no_grad():
        wanted = video(moving(3, 16, 64))
        assert apart(made(moving(3, 16, 64)), wanted) < 1e-5
        assert apart(packed(made, example)(moving(3, 16, 64)), wanted) < 1e-5


# --- the choice ---


def test_the_quickest_form_is_taken_and_other_shapes_are_answered(monkeypatch):
    video = norms_awake(tiny(RULES["inflate"]))
    made = optimize(video, moving(1), compiled=False, turns=1)
    assert [way.name for way in made.ways] == [AS_IT_IS, "frozen"]
    assert made.chosen in {AS_IT_IS, "frozen"}
    assert made.speedup >= 1
    with torch.no_grad():
        for some in (moving(1), moving(4), moving(2, frames=9), moving(1, size=40)):
            assert apart(made(some), video(some)) < 1e-5
    assert not made(moving(1)).requires_grad


def test_a_form_that_answers_otherwise_is_left_out(monkeypatch):
    monkeypatch.setattr(optimizing, "packed", lambda made, example: lambda clip: made(clip) + 1.0)
    video = norms_awake(tiny(RULES["inflate"]))
    made = optimize(video, moving(1), compiled=False, turns=1)
    assert made.chosen == AS_IT_IS
    assert made.speedup == 1
    assert "answers differ by" in made.ways[-1].left_out


def test_a_form_that_cannot_be_made_is_left_out(monkeypatch):
    def failing(made, example):
        raise RuntimeError("no such instructions\nand more")

    monkeypatch.setattr(optimizing, "packed", failing)
    made = optimize(norms_awake(tiny(RULES["inflate"])), moving(1), compiled=False, turns=1)
    assert made.ways[-1].left_out == "RuntimeError: no such instructions"


def test_bfloat16_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(optimizing, "computes_in_bfloat16", lambda device: False)
    video = norms_awake(tiny(RULES["inflate"]))
    for precision, wanted in (("float32", False), ("auto", False), ("bfloat16", True)):
        ways = optimize(video, moving(1), precision, compiled=False, turns=1).ways
        assert all(way.timed is not None for way in ways if "bfloat16" not in way.name)  # not spoilt by it
        assert any("bfloat16" in way.name for way in ways) is wanted


def test_what_cannot_be_optimized_is_said(monkeypatch):
    with pytest.raises(UsageError, match=r"call video.eval\(\) first"):
        optimize(tiny(RULES["inflate"]).train(), moving(1))
    with pytest.raises(UsageError, match="float32"):
        optimize(tiny(RULES["inflate"]).double(), moving(1).double())
    with pytest.raises(UsageError, match="precision 'half'"):
        optimize(tiny(RULES["inflate"]), moving(1), "half")


@slow
def test_compiled_answers_alike():
    video = norms_awake(tiny(RULES["inflate"]))
    made = optimize(video, moving(1), turns=1)
    by_name = {way.name: way for way in made.ways}
    assert by_name["compiled"].difference < 1e-5
    assert not by_name["compiled"].left_out


# --- a run ---


def called(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_the_verb_prints_every_form(run_folder, capsys):  # noqa: F811
    code, out, _ = called(capsys, "optimize", run_folder, "--no-compile", "--repeats", 1)
    assert code == 0
    assert "frozen" in out
    assert AS_IT_IS in out
    assert "taken: " in out


def test_predict_optimized_answers_as_the_run(run_folder, capsys):  # noqa: F811
    video = run_folder.parent / "video.mkv"
    _, wanted, _ = called(capsys, "predict", run_folder, video)
    code, came, told = called(capsys, "predict", run_folder, video, "--optimize")
    assert code == 0
    assert "optimized: " in told
    assert len(came.splitlines()) == len(wanted.splitlines()) > 3
    for one, other in zip(came.splitlines()[1:], wanted.splitlines()[1:], strict=True):
        assert one.rsplit(",", 1)[0] == other.rsplit(",", 1)[0]
        assert float(one.rsplit(",", 1)[1]) == pytest.approx(float(other.rsplit(",", 1)[1]), abs=1e-5)
