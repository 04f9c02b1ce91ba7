"""No room in the middle: one clear line, nothing half-written counts, and the command can go on."""

import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from study_tiny import run_here, tiny_study
from timelift.comparison.process import host_name
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import write_study
from timelift.records import DiskFull
from timelift.records.predictions import read_predictions
from timelift.records.run import read_run
from timelift.records.whole import has_no_room, no_room, whole, write_text_whole
from timelift.runs import worker
from timelift.runs.study import finished
from videos_tiny import settings, write_net, write_videos

DISK_BYTES = 4 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few MiB; where mounting is not allowed the limit on files, below, has to do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def leave(disk: Path, free: int) -> Path:
    """A file beside the study that leaves so many bytes free, in whole pages."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - free)))
    return filler


@contextmanager
def files_no_larger_than(count: int) -> Iterator[None]:
    """Every file that this process writes is cut off there: the system's other way to have no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def logits(folder: Path) -> dict[str, np.ndarray]:
    (one,) = finished(folder)
    pairs = zip(one.runs, one.predictions, strict=True)
    return {f"{run.variant} {run.seed}": answers.clip_logits for run, answers in pairs}


def claims(store: Store) -> Counter:
    with closing(store.connect()) as connection:
        return Counter(row[0] for row in connection.execute("SELECT cell FROM events WHERE what = 'running'"))


def complaint(study: Study, folder: Path) -> str:
    """What a study says that found no room; "" if it ended."""
    try:
        run_here(study, folder)
    except DiskFull as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # TensorBoard's own thread
def test_wherever_the_disk_fills_up_the_study_ends_as_if_undisturbed(tmp_path, disk, monkeypatch):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    study = tiny_study(write_videos(tmp_path / "videos", per_class=3), write_net(tmp_path))
    folder, seen = disk / "study", Counter()
    run_here(study, folder)
    calm, needed = logits(folder), shutil.disk_usage(disk).used
    shutil.rmtree(folder)
    for share in (0.02, 0.3, 0.6, 0.8, 0.95, 1.05, 1.15, 1.25, 1.35):
        filler = leave(disk, int(share * needed))
        said = complaint(study, folder)
        filler.unlink()
        if said:
            assert said.startswith(f"no room for {folder}")
            assert f"MiB are free on the disk of {folder}" in said
            assert not list(disk.rglob("*.partial"))
        seen["full"] += bool(said)
        done = given_up(folder) if (folder / "study.sqlite").exists() else {}
        run_here(study, folder)
        assert {cell: claims(Store(folder))[cell] for cell in done} == done
        found = logits(folder)
        assert found.keys() == calm.keys()
        assert all(np.array_equal(found[name], calm[name]) for name in calm)
        seen["with a finished run"] += bool(done)
        shutil.rmtree(folder)
    assert seen["full"] >= 5
    assert seen["with a finished run"] >= 1


def given_up(folder: Path) -> dict[int, int]:
    """Cells that are done, and how often each was claimed, as if the process that ran them were gone."""
    store = Store(folder)
    store.reclaim_host(host_name())
    assert {cell.state for cell in store.status()} <= {"new", "done"}
    done = [cell for cell in store.status() if cell.state == "done"]
    for cell in done:
        read_run(store.run_folder(cell))
        read_predictions(store.run_folder(cell) / "predictions.npz")
    return {cell.id: claims(store)[cell.id] for cell in done}


@pytest.mark.slow
def test_the_command_says_it_in_one_line_and_goes_on_when_there_is_room(tmp_path, disk):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    variants = [word for rule in ("Framewise()", "Inflate()") for word in ("--variant", f"{net} {rule}")]

    def compare(output: Path) -> subprocess.CompletedProcess:
        words = [
            "compare",
            data,
            *variants,
            "--seeds",
            1,
            "--selection",
            "last",
            "--workers",
            1,
            "--output",
            output,
        ]
        surroundings = os.environ | {"TIMELIFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "timelift", *map(str, words), *settings()]
        return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=300)

    filler = leave(disk, 180 * 1024)
    full = compare(disk / "study")
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith(f"timelift: no room for {disk}/study/")
    assert "make room" in last.lower()
    filler.unlink()
    again = compare(disk / "study")
    assert again.returncode == 0, again.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_with_a_limit_on_files_in_its_place_nothing_is_lost_either(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    study = tiny_study(write_videos(tmp_path / "videos", per_class=3), write_net(tmp_path))
    folder = tmp_path / "study"
    with files_no_larger_than(8 * 1024), pytest.raises(DiskFull, match="no room for "):
        run_here(study, folder)
    run_here(study, folder)
    assert len(logits(folder)) == 2


def test_a_run_that_found_no_room_is_new_again_and_one_that_fails_by_itself_has_failed(tmp_path, monkeypatch):
    study = Study(name="s", data=str(tmp_path), variants=("a", "b"), seeds=1, linear_probe=False)
    write_study(study, tmp_path)
    store = Store(tmp_path)
    store.add_cells(study.cells, range(1))

    def run_place(place, *_):
        raise OSError(28, "No space left on device") if place.variant == "b" else ValueError("no")

    monkeypatch.setattr(worker, "run_place", run_place)
    monkeypatch.setattr(worker, "study_data", lambda *_: None)
    monkeypatch.setattr(worker, "study_frames", lambda *_: (None, ""))
    with pytest.raises(DiskFull, match=r"no room for .*seed-0"):
        worker.work(tmp_path, torch.device("cpu"), "w")
    assert [(cell.variant, cell.state) for cell in store.status()] == [("a", "failed"), ("b", "new")]
    assert store.status()[0].error.endswith("ValueError: no\n")


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    write_text_whole(path, "old")
    with pytest.raises(FileNotFoundError), whole(path) as partial:
        partial.write_text(f"half of the ne{(tmp_path / 'missing').read_text()}")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]
    with (
        files_no_larger_than(100),
        pytest.raises(DiskFull, match=r"no room for .*file\.txt: .* are free on the disk"),
    ):
        write_text_whole(path, "x" * 1000)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (OSError(2, "No such file or directory"), False),
        (OSError("14400 requested and 8064 written"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (no_room(Path("/")), True),
        (ValueError("28"), False),
    ],
)
def test_no_room_is_recognised_in_any_librarys_words(error, says):
    outer = RuntimeError("writing failed")
    outer.__cause__ = error
    assert has_no_room(error) is says
    assert has_no_room(outer) is says
