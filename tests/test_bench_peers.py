"""Peers in processes of their own: asked in rotation, held against each other, and told truly."""

import dataclasses
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from timelift import Inflate
from timelift.bench import peer_layers, peer_overlap, peer_streams, peers
from timelift.bench.live import peak_live_bytes
from timelift.bench.peer_calls import CONVOLUTION_FLOPS, Network
from timelift.bench.peers_text import HEADINGS, complaints, markdown, rows, table
from timelift.bench.rotation import Call, Case, Contender, Measured, Race, race, relative
from timelift.cli.main import main
from timelift.records import TimeliftError, UsageError
from timelift.timing import Timed

CPU = torch.device("cpu")


# --- toys, built in processes of their own ---


def toy(log: Path, name: str, answers: float = 1.0) -> Call:
    def run():
        with log.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        return torch.zeros(1000)

    return Call(run, lambda: [torch.tensor([answers, 2.0])])


def cannot(why: str) -> Call:
    raise UsageError(why)


def dies() -> Call:
    return Call(lambda: os._exit(3), lambda: [torch.ones(2)])


def fails() -> Call:
    return Call(lambda: [][1], lambda: [torch.ones(2)])


def toys(log, *more):
    contenders = (
        Contender("first", partial(toy, log, "first"), flops=100.0),
        Contender("near", partial(toy, log, "near", 1.00001), keeps_memory=True, flops=100.0),
        Contender("far", partial(toy, log, "far", 1.1), True, 100.0),
        Contender("(measure)", partial(toy, log, "measure", 7.0), flops=CONVOLUTION_FLOPS, compared=False),
        *more,
    )
    return Case("toy", "toys", contenders, live=True)


def test_contenders_take_turns_in_processes_of_their_own(tmp_path):
    log = tmp_path / "log"
    case = toys(log, Contender("absent", partial(cannot, "needs a part")))
    here = np.ones(10**8)  # 800 MB that are this process's alone
    ended = race(case, turns=3, threads=1)
    assert all(one.resident_bytes < here.nbytes for one in ended.measured)
    calls = [line.split() for line in log.read_text().splitlines()]
    names = ["first", "near", "far", "measure"]
    assert [name for name, _ in calls[:16]] == names * 4  # one that is not counted, then three turns
    assert len(calls) == 16 + 3  # and the one in which memory is followed, for those who are compared
    pids = {name: {pid for other, pid in calls if other == name} for name in names}
    assert len(set.union(*pids.values())) == 4
    assert str(os.getpid()) not in set.union(*pids.values())
    assert ended.left_out == {"absent": "needs a part"}
    assert [len(one.timed.seconds) for one in ended.measured] == [3] * 4
    differences = [one.difference for one in ended.measured]
    assert differences[0] is None
    assert differences[3] is None
    np.testing.assert_allclose(differences[1:3], [5e-6, 0.05], rtol=1e-2)
    assert [one.live_bytes for one in ended.measured] == [4000, 4000, 4000, None]
    assert all(one.resident_bytes > 50e6 for one in ended.measured)
    assert len(complaints(ended)) == 1
    assert "far answers otherwise than first, by 5.0e-02" in complaints(ended)[0]
    for like, count in (("far", 0), ("near", 1), ("nobody", 1)):  # twice what a format costs is allowed
        case = dataclasses.replace(ended.case, like=like)
        assert len(complaints(dataclasses.replace(ended, case=case))) == count


@pytest.mark.parametrize(
    ("build", "words"),
    [(partial(cannot, "no such part"), "cannot run: no such part"), (dies, "died"), (fails, "IndexError")],
)
def test_a_contender_that_fails_is_named(build, words):
    with pytest.raises(TimeliftError, match=words):
        race(Case("toy", "toys", (Contender("broken", build),)), turns=1, threads=1)


# --- what is told ---


def measured(name, seconds, first, flops=0.0, **more):
    contender = Contender(name, dies, flops=flops, compared=not name.startswith("("))
    found = {"difference": None, "resident_bytes": 3 * 2**20, "live_bytes": None} | more
    return Measured(contender, Timed(name, seconds, first), **found)


FIRST = (0.4, 0.2, 0.6)
RACE = Race(
    Case("toy", "toys, forward", ()),
    (
        measured("torchvision", FIRST, FIRST, 2e9, live_bytes=2**21),
        measured("timelift", (0.1, 0.1, 0.16), FIRST, 2e9, difference=2e-6, live_bytes=2**20),
        measured("(3x3, 256 channels)", (0.2, 0.5, 0.2), FIRST, CONVOLUTION_FLOPS),
    ),
    {"OpenVINO": "needs openvino"},
)


def test_figures_of_a_race():
    first, ours, convolution, absent = (dict(zip(HEADINGS, cells, strict=True)) for cells in rows(RACE))
    assert (first["least ms"], first["median ms"], first["times as fast"]) == ("200.0", "400.0", "1.00")
    assert (ours["times as fast"], ours["by medians"], ours["GFLOP/s"]) == ("2.00", "4.00", "20")
    assert ours["of 3x3's"] == f"{20e9 / (CONVOLUTION_FLOPS / 0.2):.2f}"
    assert (ours["MB resident"], ours["MB live"], first["MB live"], ours["differs by"]) == (
        "3",
        "1",
        "2",
        "2e-06",
    )
    assert convolution["times as fast"] == convolution["of 3x3's"] == ""
    assert convolution["GFLOP/s"] == f"{CONVOLUTION_FLOPS / 0.2e9:.0f}"
    assert absent["least ms"] == "left out: needs openvino"


def test_a_column_without_a_figure_is_not_shown():
    bare = Race(RACE.case, (measured("a", FIRST, FIRST), measured("b", FIRST, FIRST, difference=0.0)), {})
    shown = table(bare)[0]
    assert shown == (
        "",
        "least ms",
        "median ms",
        "spread",
        "times as fast",
        "by medians",
        "MB resident",
        "differs by",
    )
    assert {len(cells) for cells in table(RACE)} == {len(HEADINGS)}


def test_the_page_has_the_command_the_machine_and_every_table():
    wrong = measured("timelift", FIRST, FIRST, difference=float("nan"))
    page = markdown(
        [RACE, Race(RACE.case, (RACE.measured[0], wrong), {})], "timelift bench peers", "a CPU", 7
    )
    assert "    timelift bench peers\n" in page
    assert "a CPU. 7 turns" in page
    assert page.count("## toys, forward\n") == 2
    assert "| timelift | 100.0 | 100.0 |" in page
    assert (
        "**toy: timelift answers otherwise than torchvision, by nan" in page
    )  # what is no number is no answer


def test_relative_is_the_worst_of_the_arrays():
    wanted = [np.array([1.0, -4.0]), np.array([[2.0]])]
    assert relative([np.array([1.0, -4.0]), np.array([[2.5]])], wanted) == 0.25
    assert relative([np.array([2.0, -4.0]), np.array([[2.0]])], wanted) == 0.25
    with pytest.raises(ValueError, match="zip"):
        relative(wanted[:1], wanted)


# --- live tensors ---


def test_live_bytes_are_those_held_at_once():
    def two_of_three():
        one = torch.zeros(1000)
        other = one + 1
        del one
        view = other[:500]  # no memory of its own
        return (view * 2)[:0]

    assert peak_live_bytes(two_of_three) == 8000
    there = torch.zeros(10**6)
    assert peak_live_bytes(lambda: there[10:].mul_(2)[:5]) == 0  # what was there before does not count
    assert peak_live_bytes(lambda: None) == 0


def test_live_bytes_of_a_backward_are_seen():
    net, x = nn.Sequential(nn.Linear(100, 100), nn.Tanh(), nn.Linear(100, 100)), torch.zeros(50, 100)

    def step():
        net(x).sum().backward()
        net.zero_grad(set_to_none=True)

    with torch.no_grad():
        forward = peak_live_bytes(lambda: net(x))
    assert forward == 2 * 50 * 100 * 4
    assert peak_live_bytes(step) > forward + 100 * 100 * 4


# --- equal things are compared ---


def answers_of(call: Call):
    return [tensor.detach().double().numpy() for tensor in call.answer()]


@pytest.mark.parametrize("kind", ["nn.Conv3d", "channels-last"])
def test_the_depthwise_layers_and_their_twins_answer_alike(monkeypatch, kind):
    monkeypatch.setattr(peer_layers, "_CLIPS", (2, 3, 4, 32, 32))
    ours, twins = (answers_of(peer_layers.depthwise_call(one, CPU)) for one in ("timelift", kind))
    assert len(ours) == 3 * 12  # an answer and two gradients each
    assert relative(twins, ours) < 1e-4


def test_a_twin_is_the_layer():
    layer = Inflate(3, start="random", padding="zeros")(nn.Conv2d(4, 8, 5, padding=2, groups=4, bias=False))
    twin = peer_layers.as_conv3d(layer)
    clip = torch.randn(2, 4, 5, 9, 7)
    torch.testing.assert_close(twin(clip), layer(clip))
    assert type(twin) is nn.Conv3d


def test_a_step_through_conv3d_is_the_step(monkeypatch):
    monkeypatch.setattr(peer_streams, "_SIDE", 32)
    ours, in_time, throughout = (
        answers_of(peer_streams.step_call(way, CPU)) for way in ("nothing", "time", "all")
    )
    assert relative(in_time, ours) < 1e-4
    assert relative(throughout, ours) < 1e-4
    monkeypatch.setattr(peer_streams.Conv3dStep, "advance", lambda self, clip, past: (clip, None))
    assert relative(answers_of(peer_streams.step_call("time", CPU)), ours) > 1e-2


def test_a_stream_answers_as_sixteen_frames_do(monkeypatch):
    monkeypatch.setattr(peer_streams, "_SIDE", 32)
    streamed, again = peer_streams.rcn_stream_call(CPU), peer_streams.rcn_again_call(CPU)
    streamed.run()
    assert relative(answers_of(streamed), answers_of(again)) < 1e-4


@pytest.mark.parametrize("causal", [False, True])
def test_clips_that_share_answer_as_clips_one_by_one(causal, monkeypatch):
    monkeypatch.setattr(peer_overlap, "SIDE", 32)
    one_by_one, at_once, shared = (
        answers_of(peer_overlap.overlap_call(causal, way, CPU)) for way in ("one by one", "at once", "shared")
    )
    assert one_by_one[0].shape == (10, 400)
    assert relative(at_once, one_by_one) < 1e-4
    assert relative(shared, one_by_one) < 1e-4
    monkeypatch.setattr(peer_overlap, "LENGTH", 30)
    assert relative(answers_of(peer_overlap.overlap_call(causal, "shared", CPU)), one_by_one) > 1e-4


# --- cases ---


def test_every_case_of_a_whole_run_is_named_and_bfloat16_only_where_it_is_computed(monkeypatch):
    for computed in (True, False):
        monkeypatch.setattr(peers, "computes_in_bfloat16", lambda device, computed=computed: computed)
        names = peers.default_cases(CPU)
        assert {"r2plus1d_18", "s3d-224", "r3d_18-training", "lite0-depthwise", "stream-rcn"} <= set(names)
        assert any(name.endswith("bfloat16") for name in names) is computed


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "-training"])
@pytest.mark.parametrize("name", ["r2plus1d_18", "s3d", "r3d_18"])
def test_all_contenders_have_the_same_weights_and_answer_alike(monkeypatch, tmp_path, name, end):
    frames = 16 if name == "s3d" else 4
    monkeypatch.setitem(peers.NETWORKS, name, Network(name, clips=2, frames=frames, size=64))
    ended = race(peers.cases()[name + end](peers.Setting(tmp_path, CPU)), turns=1, threads=1)
    assert complaints(ended) == []
    assert ended.left_out == {}
    wanted = {"torchvision", "torchvision, memory kept", "timelift"}
    wanted |= set() if end else {"onnxruntime", "OpenVINO"}
    networks = [one for one in ended.measured if one.contender.compared]
    assert wanted <= {one.contender.name for one in networks}
    assert len({one.contender.flops for one in networks}) == 1
    assert all((one.live_bytes is not None) == bool(end) for one in networks)


def test_the_verb_prints_and_writes_the_races_and_fails_where_answers_differ(monkeypatch, capsys, tmp_path):
    log, page = tmp_path / "log", tmp_path / "page.md"
    two = toys(log).contenders[::2]
    monkeypatch.setattr(peers, "cases", lambda: {"toy": lambda setting: Case("toy", "toys", two)})
    with pytest.raises(SystemExit) as end:
        main(["bench", "peers", "--case", "toy", "--repeats", "1", "--output", str(page)])
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert "far answers otherwise than first" in err
    assert "times as fast" in out
    assert f"wrote {page}" in out
    assert "timelift bench peers --case toy --repeats 1 --threads 1 --device cpu" in page.read_text()
    assert f"torch {torch.__version__}" in page.read_text()


def test_an_unknown_case_is_named_with_those_there_are(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "peers", "--case", "everything"])
    assert end.value.code == 2
    assert "no case 'everything'; there are r2plus1d_18" in capsys.readouterr().err
