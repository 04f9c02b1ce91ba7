"""Several processes with gloo train to what one process trains to with the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from timelift.training.batchnorm import batch_norm_notes, batch_norms
from timelift.training.distributed import Processes
from timelift.training.order import epoch_batches, share
from training_tiny import CASES, TinyClips, run, same_bytes, tiny_network, weights

PROGRAM = str(Path(__file__).with_name("training_tiny.py"))


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | more


def start_two(command: list[str]) -> None:
    """What torchrun does, without its start-up time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [environment(RANK=str(rank), LOCAL_RANK=str(rank), **address) for rank in range(2)]
    started = [subprocess.Popen(command, env=rank) for rank in ranks]
    assert [process.wait(timeout=200) for process in started] == [0, 0]


def check_equal_to_one_process(folder: Path, case: str) -> None:
    # 9 clips in batches of 4: in the last one, a single clip, the second process has nothing to do
    model, result = run(folder / "one" / case, clips=TinyClips(9), batch_size=4, **CASES[case])
    first, second = (torch.load(folder / "two" / case / f"result-{rank}.pt") for rank in range(2))
    assert same_bytes(first["weights"], second["weights"])
    torch.testing.assert_close(first["weights"], weights(model), rtol=1e-5, atol=1e-6)
    assert not same_bytes(first["weights"], weights(tiny_network()))
    assert first["loss"] == pytest.approx(result.history[-1].loss, rel=1e-5)
    written = {path.name for path in (folder / "two" / case).iterdir()}
    assert written == {"checkpoint.pt", "log.csv", "tensorboard", "result-0.pt", "result-1.pt"}
    assert len(list((folder / "two" / case / "tensorboard").iterdir())) == 1


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    start_two([sys.executable, PROGRAM, str(tmp_path / "two"), "2", "plain", "freeze"])
    for case in ("plain", "freeze"):
        check_equal_to_one_process(tmp_path, case)


@pytest.mark.slow
def test_torchrun_needs_no_other_flag(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    port = ["--standalone"]  # any free port: others may test at the same time
    subprocess.run(
        [*torchrun, *port, PROGRAM, str(tmp_path / "two"), "2", "plain"],
        env=environment(),
        check=True,
        timeout=300,
    )
    check_equal_to_one_process(tmp_path, "plain")


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shares_are_contiguous_and_make_up_the_batch(processes):
    for size in range(1, 12):
        batch = list(range(100, 100 + size))
        shares = [share(batch, rank, processes) for rank in range(processes)]
        assert [i for part in shares for i in part] == batch
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_every_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    def flat(clips, batch, smallest, seed, epoch):
        return [i for part in epoch_batches(clips, batch, smallest, seed, epoch) for i in part]

    first = flat(50, 8, 1, seed=0, epoch=1)
    assert sorted(first) == list(range(50))
    assert first == flat(50, 7, 2, seed=0, epoch=1)
    assert first != flat(50, 8, 1, seed=0, epoch=2)
    assert first != flat(50, 8, 1, seed=1, epoch=1)
    assert [len(part) for part in epoch_batches(9, 4, 2, 0, 1)] == [4, 5]
    assert [len(part) for part in epoch_batches(9, 4, 1, 0, 1)] == [4, 4, 1]


def test_batch_norm_of_each_process_is_said():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")

    class Own(nn.BatchNorm3d):
        pass

    def notes(model, processes, device, still=frozenset()):
        groups = {name: "kept" for name, _ in model.named_parameters()}
        return batch_norm_notes(batch_norms(model, groups, still), processes, device)

    plain, subclass = tiny_network("batch"), nn.Sequential(Own(2))
    assert notes(plain, Processes(), cpu) == ()
    assert notes(tiny_network(), Processes(0, 2), cpu) == ()
    assert "1 batch norm layer" in notes(plain, Processes(0, 2), cpu)[0]
    assert notes(plain, Processes(0, 2), cuda) == ()
    assert notes(plain, Processes(0, 2), cpu, still=frozenset({"kept"})) == ()
    assert "cannot synchronise Own" in notes(subclass, Processes(0, 2), cuda)[0]
