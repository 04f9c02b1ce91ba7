"""The zoo's machinery: what became of an architecture is written down, also when it failed; and the page."""

import dataclasses
import sys

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, seeded
from timelift import ConversionError, Inflate, every, image_network, lift, named
from timelift.cli.main import main
from timelift.networks.trace import other_kernels
from timelift.testing.layers import Gained
from timelift.zoo import numbers, pool, shapes
from timelift.zoo.lift_one import lift_one
from timelift.zoo.page import page
from timelift.zoo.precision import single_inside
from timelift.zoo.record import Numbers, Results, Shapes, from_line, read_results, to_line
from timelift.zoo.run import ZooChoices, run_zoo, with_numbers

LIFTED = Shapes(
    "resnet18", "resnet", 11, (3, 224, 224), 17, "inflate", 16, 33, {"conv1": "is a Bent that bends"}
)
AWAKE = Numbers("resnet18", (3, 64, 64), 1e-15, {"conv1": 0.5, "fc": 0.25}, 2e-15, 0.75, 1e-15)


class Bent(nn.Conv2d):
    """Not linear: Inflate refuses it."""

    def forward(self, x):
        return super().forward(x).relu()


class Norms(nn.Module):
    """One convolution, and tokens."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, 6, 8, stride=8), nn.LayerNorm(6), nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.norm(self.patch(x).flatten(2).mT).mean(1))


@pytest.mark.parametrize("record", [LIFTED, AWAKE, Shapes("a", error="b"), Numbers("a", broken=("stream",))])
def test_a_record_is_read_as_it_was_written(record):
    line = to_line(record)
    assert "\n" not in line
    assert from_line(line) == record


def test_the_later_of_two_records_counts_and_a_line_cut_off_is_left_out(tmp_path):
    file = tmp_path / "results.jsonl"
    assert read_results(file) == Results({}, {})
    better = dataclasses.replace(LIFTED, converted=17)
    lines = [to_line(LIFTED), to_line(AWAKE), to_line(better), to_line(AWAKE)[:40]]
    file.write_text("\n".join(lines))
    assert read_results(file) == Results({"resnet18": better}, {"resnet18": AWAKE})


def test_numbers_are_asked_of_small_networks_and_of_the_smallest_of_each_family():
    def of(name, family, millions, error=""):
        return Shapes(name, family, millions * 10**6, error=error)

    rows = [
        of("a1", "a", 10),
        of("a2", "a", 60),
        of("a3", "a", 61),
        of("b1", "b", 90),
        of("b2", "b", 80),
        of("c1", "c", 1, error="broken"),
    ]
    assert with_numbers(Results({row.name: row for row in rows}, {})) == {"a1", "a2", "b2"}


def test_a_refused_layer_is_left_out_with_its_reason():
    net = seeded(Tiny)
    net.layer1.conv2 = Bent(8, 8, 3, 1, 1)
    net.layer2.conv1 = Gained(8, 12, 3, 2, 1)
    for made in (net, net.to("meta")):
        spatial, rules, refused = shapes.rules_for(made, (3, 32, 32))
        assert spatial == 5
        assert list(refused) == ["layer1.conv2"]
        assert "is a Bent" in refused["layer1.conv2"]
        assert "not linear" in refused["layer1.conv2"]
        video = lift(made, *rules)
        assert len(video.receipt.converted) == 4


def test_networks_with_fewer_than_two_spatial_convolutions_take_the_token_step():
    spatial, rules, refused = shapes.rules_for(seeded(Norms), (3, 32, 32))
    assert (spatial, list(map(str, rules)), refused) == (1, ["TokenConv(frames=3) @ tokens"], {})
    alone = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    assert shapes.rules_for(alone, (3, 32, 32)) == (1, (Inflate(3) @ every,), {})
    none = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
    assert shapes.rules_for(none, (3, 32, 32)) == (0, (), {})


class PadsByItsConvolution(nn.Sequential):
    """As DaViT does."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 3), nn.Flatten())

    def forward(self, x):
        height, width = self[0].kernel_size
        return super().forward(nn.functional.pad(x, (width // 2,) * 2 + (height // 2,) * 2))


def test_a_network_may_ask_its_convolution_for_its_geometry():
    video = lift(seeded(PadsByItsConvolution), Inflate(3))
    assert video.per_frame(torch.zeros(2, 3, 4, 8, 8)).shape == (2, 4, 128)


def test_kernels_that_are_no_conv2d_are_told():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, 2), nn.MaxPool2d(2), nn.Conv1d(4, 4, 3)
    )
    assert other_kernels(net) == ("1",)
    video = lift(net[:3], Inflate(3))
    assert "kernels that are no Conv2d, left alone: 1" in video.receipt.notes


class FoldsHeads(nn.Module):
    """As MViT's pools do: the convolution sees every head as a frame of its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.heads = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        heads = self.heads(self.stem(x).unflatten(1, (2, 4)).flatten(0, 1))  # (N*2, 4, H, W)
        return heads.unflatten(0, (len(x), 2)).mean((3, 4)).flatten(1)


def test_heads_folded_into_the_batch_are_no_frames():
    net = seeded(FoldsHeads)
    video = lift(net, Inflate(3))
    assert [row.layer for row in video.receipt.converted] == ["stem"]
    assert "several maps a frame, left alone: heads" in video.receipt.notes
    with pytest.raises(ConversionError, match="heads takes 2 maps a frame"):
        lift(net, Inflate(3) @ named("heads"))


@pytest.mark.parametrize("build_net", [Tiny, Norms])
def test_numbers_of_a_network_awake(build_net):
    record = numbers.judged(measured(build_net))
    assert record.broken == ()
    assert max(record.still, record.stream) < 1e-12
    assert min(record.history, *record.damage.values()) > 1e-3


def measured(build_net):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        net = numbers._awake(seeded(build_net), (3, 32, 32), generator)
        return numbers._measured(Numbers("tiny", (3, 32, 32)), net, generator)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ({"still": 2e-8}, ("still clip",)),
        ({"stream": float("nan")}, ("stream",)),
        ({"stream": 2e-8, "rounding": 1e-9}, ()),  # chaotic: its own rounding covers it
        ({"still": 2e-3, "rounding": 1.0}, ("still clip",)),
        ({"still": 2e-5, "single": True}, ()),
        ({"stream": 2e-4, "single": True}, ("stream",)),
        ({"damage": {"a": 0.5, "b": 0.0}}, ("damage",)),
        ({"history": 1e-9}, ("history",)),
    ],
)
def test_what_is_wrong_is_named(broken, check):
    assert numbers.judged(dataclasses.replace(AWAKE, **broken)).broken == check


def test_a_network_that_computes_in_single_precision_is_known():
    class Casts(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.float().double())

    given = torch.zeros(1, 3, 4, dtype=torch.float64)
    assert single_inside(Casts(4).double(), given)
    assert not single_inside(nn.LayerNorm(4).double(), given)


def test_a_conversion_that_looks_ahead_is_seen(monkeypatch):
    monkeypatch.setattr(numbers, "Stream", LookingAhead)
    assert numbers.judged(measured(Tiny)).broken == ("stream",)


class LookingAhead:
    """A stream that forgets: every frame alone."""

    def __init__(self, video):
        self.video = video

    def step(self, frame):
        return dataclasses.make_dataclass("Answer", ["frame_logits"])(
            self.video.per_frame(frame.unsqueeze(2))[:, 0]
        )


def test_an_exception_is_what_became_of_it():
    record = lift_one("numbers", "no_such_network")
    assert isinstance(record, Numbers)
    assert "no_such_network" in record.error
    assert "no_such_network" in lift_one("shapes", "no_such_network").error


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        ("import sys; sys.stdin.readline(); sys.exit(3)", "ended with exit code 3"),
        ("import os; input(); os.abort()", "ended with exit code -6"),
        ("import time; time.sleep(60)", "no answer within 0 s"),
    ],
)
def test_a_lost_worker_is_recorded_and_replaced(tmp_path, monkeypatch, worker, why):
    monkeypatch.setattr(pool, "WORKER", (sys.executable, "-c", worker))
    asker = pool.Asker(0.3 if "sleep" in worker else 60, 1, tmp_path / "log")
    for _ in range(2):
        assert why in asker.ask("shapes", "resnet18").error
        assert asker._worker is None  # a late answer would be taken for the next one


def test_the_page_says_everything():
    refusing = dataclasses.replace(LIFTED, name="resnet34", spatial=2, converted=1)
    rows = [
        LIFTED,
        refusing,
        Shapes("vit", "vit", 10, (3, 32, 32), 1, "tokens", 25, 10),
        Shapes("odd", "odd", 10, (3, 32, 32), 1, error="no layer that a conversion takes"),
        Shapes("lone", "odd", 10**9, (3, 32, 32), 1, "inflate", 1, 10, others={"Conv3d": 2}),
        Shapes("huge", "resnet", 10**9, (3, 32, 32), 5, "inflate", 5, 10),
        Shapes("young", "young", 1, (3, 32, 32), 5, "inflate", 5, 10),
    ]
    done = [
        AWAKE,
        dataclasses.replace(AWAKE, name="resnet34", broken=("still clip",), still=0.5),
        Numbers("vit", error="no answer within 180 s"),
        dataclasses.replace(AWAKE, name="young", stream=5e-7, rounding=1e-7),
        dataclasses.replace(AWAKE, name="lone", stream=5e-7, single=True),
    ]
    text = page(Results({row.name: row for row in rows}, {row.name: row for row in done}))
    for line in (
        "| architectures | 7 |",
        "| with two or more spatial convolutions | 4 |",
        "| of these, lifted with two or more converted layers | 3 |",
        "| with fewer, lifted by the token step | 1 |",
        "| with fewer and no tokens, inflated there | 1 |",
        "| not lifted | 1 |",
        "| layers refused, each with its reason | 2 |",
        "| numbers: passed | 3 |",
        "| numbers: wrong | 1 |",
        "| numbers: none, for a reason below | 1 |",
        "| numbers: not run yet | 0 |",
        "| numbers: not asked for, too large | 1 |",
        "| resnet | 3 | 3 | 0 | 1 to 16 | 2 | 1 / 1 / 0 |",
        "| vit | 1 | 0 | 1 | 25 | 0 | 0 / 0 / 1 |",
        "- odd: no layer that a conversion takes",
        "- vit: no answer within 180 s",
        "- resnet18: conv1",
        "- lone: 2 Conv3d",
        "The layer is a Bent that bends",
    ):
        assert line in text.splitlines(), line
    assert "Chaotic when awake: young." in text
    assert "In float32 inside, equal within 1e-04 of the largest answer: lone." in text
    assert "- resnet34: still clip (still 5.0e-01" in text
    assert all(len(line) < 300 for line in text.splitlines())


def test_a_zoo_of_other_networks_is_refused(capsys):
    for pattern, words in (("torchvision:*", "--zoo lifts timm's"), ("timm:no_such*", "has no network")):
        with pytest.raises(SystemExit):
            main(["models", pattern, "--zoo"])
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_zoo_is_lifted_in_processes_once(tmp_path):
    file, choices = tmp_path / "zoo" / "results.jsonl", ZooChoices(2, 300, 9)
    names = ["resnet10t", "vit_tiny_patch16_224", "tf_efficientnet_lite0", "nf_resnet26", "levit_128s"]
    told = []
    run_zoo("shapes", names, file, choices, lambda done, of: told.append((done, of)))
    found = run_zoo("numbers", names, file, choices, lambda done, of: told.append((done, of)))
    assert told == [(i, 5) for i in (1, 2, 3, 4, 5)] * 2
    steps = {name: (row.step, row.spatial, row.converted, row.error) for name, row in found.shapes.items()}
    assert steps == {
        "resnet10t": ("inflate", 11, 11, ""),
        "vit_tiny_patch16_224": ("tokens", 1, 25, ""),
        "tf_efficientnet_lite0": ("inflate", 17, 17, ""),
        "nf_resnet26": ("inflate", 9, 9, ""),
        "levit_128s": ("inflate", 4, 4, ""),
    }
    assert {name: (row.broken, row.error) for name, row in found.numbers.items()} == dict.fromkeys(
        names, ((), "")
    )
    before = file.read_text()
    assert run_zoo("shapes", names, file, choices, lambda done, of: None) == found
    assert file.read_text() == before
    net = image_network("timm:nf_resnet26", weights=None)
    assert found.shapes["nf_resnet26"].parameters == sum(p.numel() for p in net.parameters())
