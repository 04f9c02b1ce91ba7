"""Cells on Ray: what the driver makes of every end of a task, with a stand-in for Ray; and Ray itself."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import write_study
from timelift.records import DataError, DiskFull, UsageError
from timelift.runs import on_ray
from timelift.runs.on_ray import Cluster, Ended, dealt, run_on_ray, run_there
from videos_tiny import settings, untimed_table, write_net, write_videos

VARIANTS = ("lenet5_3d", "lenet5_3dttn")


@dataclass
class StandIn:
    """As much of Ray as a driver asks for; tasks run in `wait`, at most so many at a time were sent."""

    sent: list = field(default_factory=list)
    results: dict = field(default_factory=dict)
    most: int = 0
    told: dict = field(default_factory=dict)

    class exceptions:
        class RayError(Exception):
            pass

    def remote(self, function):
        self.function = function
        return self

    def options(self, **told):
        self.told = told

        class Sender:
            remote = self._send

        return Sender

    def _send(self, *arguments):
        self.sent.append(arguments)
        self.most = max(self.most, len(self.sent) - len(self.results))
        return len(self.sent) - 1

    def wait(self, ones, timeout):
        return [ones[0]], ones[1:]

    def get(self, one):
        self.results[one] = None
        return self.function(*self.sent[one])

    def cancel(self, one, force):
        self.results[one] = None


@pytest.fixture
def ray(monkeypatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(on_ray, "_ray", lambda: stand_in)
    return stand_in


def store_of(tmp_path: Path, seeds: int = 2) -> Store:
    study = Study(name="s", data="videos", variants=VARIANTS, seeds=seeds)
    write_study(study, tmp_path)
    store = Store(tmp_path)
    store.add_cells(VARIANTS, range(seeds))
    return store


def ends(monkeypatch, by_seed, writes: bool = True):
    """Every task ends as its seed says; its run is there if it ended well."""

    def run(folder, words, device, frames, task):
        ended = by_seed(task.place.seed)
        if writes and ended == Ended():
            task.folder.mkdir(parents=True)
            (task.folder / "run.json").write_text("{}")
        return ended

    monkeypatch.setattr(on_ray, "run_there", run)


def test_the_driver_records_what_tasks_bring_back(tmp_path, monkeypatch, ray):
    def by_seed(seed: int) -> Ended:
        if seed == 2:
            raise ray.exceptions.RayError("its machine died three times")
        return Ended(error="Traceback ... ValueError: no") if seed == 1 else Ended()

    store, watched = store_of(tmp_path, seeds=3), []
    ends(monkeypatch, by_seed)
    run_on_ray(tmp_path, Cluster(2, 0.5), watched.append)
    found = {(cell.variant, cell.seed): (cell.state, cell.error) for cell in store.status()}
    for variant in VARIANTS:
        assert found[variant, 0] == ("done", "")
        assert found[variant, 1] == ("failed", "Traceback ... ValueError: no")
        assert found[variant, 2] == ("failed", "Ray could not run it: its machine died three times")
    assert ray.most == 2
    assert len(watched) == 6
    assert ray.told == {"num_cpus": 1, "num_gpus": 0.5, "max_retries": 3}
    assert {arguments[2] for arguments in ray.sent} == {"cuda"}


@pytest.mark.parametrize(
    ("ended", "error", "line"),
    [
        (Ended(blind="node7"), DataError, "machine node7 does not see the study's folder"),
        (Ended(full="no room for x"), DiskFull, "no room for x"),
        (Ended(), DataError, "the machine that ran it does not see"),  # it wrote, but elsewhere
    ],
)
def test_what_is_no_cells_fault_stops_the_study_and_leaves_its_cells_new(
    tmp_path, monkeypatch, ray, ended, error, line
):
    store = store_of(tmp_path)
    ends(monkeypatch, lambda seed: ended, writes=False)
    with pytest.raises(error, match=line):
        run_on_ray(tmp_path, Cluster(3, 0.0), lambda store: None)
    assert {cell.state for cell in store.status()} == {"new"}
    assert {arguments[2] for arguments in ray.sent} == {"cpu"}


def test_a_task_that_sees_another_folder_or_none_says_where_it_ran(tmp_path):
    here = os.uname().nodename
    assert run_there(tmp_path, "words", "cpu", "cache", None) == Ended(blind=here)
    (tmp_path / "study.toml").write_text("of another study")
    assert run_there(tmp_path, "words", "cpu", "cache", None) == Ended(blind=here)


def test_a_task_brings_back_the_traceback_of_its_cell(tmp_path, monkeypatch):
    (tmp_path / "study.toml").write_text("words")
    for error, ended in ((ValueError("broken"), "error"), (OSError(28, "No space left"), "full")):

        def opened(folder, words, frames, error=error):
            raise error

        monkeypatch.setattr(on_ray, "_opened", opened)
        task = on_ray.Task(None, (), (), tmp_path / "run")
        found = run_there(tmp_path, "words", "cpu", "cache", task)
        assert [name for name in ("error", "full", "blind") if getattr(found, name)] == [ended]


def test_slots_and_gpus_of_a_cluster():
    assert dealt(None, "auto", cpus=8, gpus=0) == Cluster(8, 0.0)
    assert dealt(3, "cpu", cpus=8, gpus=2) == Cluster(3, 0.0)
    assert dealt(None, "auto", cpus=8, gpus=2) == Cluster(2, 1.0)
    assert dealt(4, "cuda", cpus=8, gpus=2) == Cluster(4, 0.5)
    assert dealt(5, "cuda", cpus=8, gpus=2) == Cluster(5, 1 / 3)  # six would fit
    for device, line in (("cuda", "has 8 CPUs and no GPU"), ("cuda:1", "Ray deals out the GPUs")):
        with pytest.raises(UsageError, match=line):
            dealt(2, device, cpus=8, gpus=0)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'timelift\[ray\]'"):
        on_ray.connect(2, "cpu")


@pytest.mark.slow
def test_a_local_ray_gives_the_table_of_local_workers(tmp_path):
    """Bit-equal: accuracies, predictions, table."""
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    surroundings = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    surroundings |= {"TIMELIFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    surroundings |= {name: "1" for name in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

    def compared(output: str, *more: str) -> list[dict[str, str]]:
        rules = ("Framewise()", "Inflate(frames=3)")
        variants = [word for rule in rules for word in ("--variant", f"{net} {rule}")]
        words = ["compare", data, *variants, "--seeds", 3, "--selection", "last", "--workers", 2, "--output",
                 tmp_path / output, *settings(), *more]  # fmt: skip
        command = [sys.executable, "-m", "timelift", *map(str, words)]
        ended = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
        return untimed_table(tmp_path / output)

    assert compared("ray", "--on", "ray") == compared("local")
    runs = sorted(path.relative_to(tmp_path / "local") for path in (tmp_path / "local").glob("runs/**/*.npz"))
    assert len(runs) >= 6
    for run in runs:
        on_cluster, here = (np.load(tmp_path / name / run) for name in ("ray", "local"))
        assert all(np.array_equal(on_cluster[name], here[name]) for name in here.files)
