"""A scan that was stopped goes on where it was; what crashed or hung a decoder is not opened again."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from timelift.data import scan as module
from timelift.data.isolated import Lost
from timelift.data.scan import examined, scan
from timelift.data.scan_journal import journal_of, journal_path, quarantine_path
from timelift.records import Manifest, Video


class Decoders:
    """In place of the processes: what was opened, what is lost, and when the user stops the scan."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.lost: set[str] = set()
        self.stop_after = 10**6

    def __call__(self, function, jobs, *, workers, timeout_seconds):
        for index, job in enumerate(jobs):
            if len(self.opened) == self.stop_after:
                raise KeyboardInterrupt
            name = Path(job[0]).name
            self.opened.append(name)
            yield index, Lost("no answer within 120 s") if name in self.lost else examined(job)


@pytest.fixture
def decoders(monkeypatch) -> Decoders:
    made = Decoders()
    monkeypatch.setattr(module, "run_isolated", made)
    return made


def videos(root: Path, count: int) -> Manifest:
    for index in range(count):
        (root / f"v{index}").mkdir(parents=True)
        cv2.imwrite(str(root / f"v{index}/0.png"), np.full((6, 8, 3), index, np.uint8))
    names = [f"v{index}" for index in range(count)]
    return Manifest(str(root), ("a", "b"), tuple(Video(name, "ab"[i % 2]) for i, name in enumerate(names)))


def scanned(manifest: Manifest, output: Path, retry: bool = False) -> Manifest:
    with journal_of(output, retry=retry) as journal:
        return scan(manifest, workers=1, journal=journal)


@pytest.mark.parametrize("stopped", [0, 1, 3, 5])
def test_a_stopped_scan_goes_on_and_gives_what_an_undisturbed_one_gives(tmp_path, decoders, stopped):
    manifest, output = videos(tmp_path / "data", 5), tmp_path / "manifest.csv"
    expected = scan(manifest, workers=1)
    decoders.opened, decoders.stop_after = [], stopped
    if stopped < 5:
        with pytest.raises(KeyboardInterrupt):
            scanned(manifest, output)
        assert journal_path(output).is_file()
    decoders.stop_after = 10**6
    assert scanned(manifest, output) == expected
    assert decoders.opened == [f"v{i}" for i in range(5)]  # each once, over both scans
    assert not journal_path(output).exists()
    assert not quarantine_path(output).exists()


def test_a_file_that_changed_and_a_line_that_was_cut_off_are_read_anew(tmp_path, decoders):
    manifest, output = videos(tmp_path / "data", 4), tmp_path / "manifest.csv"
    decoders.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        scanned(manifest, output)
    journal = journal_path(output)
    journal.write_text(journal.read_text()[:-9])  # killed while v2 was written down
    cv2.imwrite(str(tmp_path / "data/v0/1.png"), np.zeros((6, 8, 3), np.uint8))
    decoders.opened, decoders.stop_after = [], 10**6
    found = scanned(manifest, output)
    assert decoders.opened == ["v0", "v2", "v3"]
    assert [video.frames for video in found.videos] == [2, 1, 1, 1]


@pytest.mark.parametrize("where", [".", "elsewhere/below", "data"])
def test_what_hung_a_decoder_stays_in_quarantine_until_it_is_asked_for(tmp_path, decoders, where):
    manifest, output = videos(tmp_path / "data", 3), tmp_path / where / "manifest.csv"
    decoders.lost = {"v1"}
    found = scanned(manifest, output)
    assert (found.videos[1].status, found.videos[1].reason) == (
        "unreadable",
        "decoder: no answer within 120 s",
    )
    with quarantine_path(output).open() as file:
        (row,) = csv.DictReader(file)
    assert (output.parent / row["path"]).resolve() == manifest.full_path(manifest.videos[1]).resolve()
    assert row["reason"] == "no answer within 120 s"

    decoders.opened, decoders.lost = [], set()
    again = scanned(manifest, output)
    assert decoders.opened == ["v0", "v2"]
    assert "in quarantine, not opened again" in again.videos[1].reason

    decoders.opened = []
    healed = scanned(manifest, output, retry=True)
    assert decoders.opened == ["v0", "v1", "v2"]
    assert {video.status for video in healed.videos} == {"ok"}
    assert not quarantine_path(output).exists()


def test_a_scan_that_is_stopped_after_a_hang_does_not_hang_again(tmp_path, decoders):
    manifest, output = videos(tmp_path / "data", 3), tmp_path / "manifest.csv"
    decoders.lost, decoders.stop_after = {"v0"}, 2
    with pytest.raises(KeyboardInterrupt):
        scanned(manifest, output)
    decoders.opened, decoders.stop_after = [], 10**6
    scanned(manifest, output)
    assert decoders.opened == ["v2"]


def test_a_file_that_was_replaced_leaves_the_quarantine(tmp_path, decoders):
    manifest, output = videos(tmp_path / "data", 2), tmp_path / "manifest.csv"
    decoders.lost = {"v1"}
    scanned(manifest, output)
    decoders.lost = set()
    cv2.imwrite(str(tmp_path / "data/v1/1.png"), np.zeros((6, 8, 3), np.uint8))
    assert {video.status for video in scanned(manifest, output).videos} == {"ok"}
