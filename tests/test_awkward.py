"""Every odd and broken file at hand: opened, counted and judged as is known, or refused with a reason."""

import csv
import json
import os
from itertools import cycle, islice
from pathlib import Path

import pytest

from timelift.data.decode import decode_frames
from timelift.data.examine import examine
from timelift.records import DataError

OPENS = 10_000
MOST_GROWTH = 16 * 2**20  # bytes; 10,000 leaks of a small buffer would be more


def known_files(shared: Path) -> list[dict]:
    """What is known of each file, from the two lists that lie beside the videos."""
    folder = shared / "data/awkward"
    with (folder / "TRUTH.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    awkward = [
        {
            "path": folder / row["path"],
            "frames": int(row["decoded_frames_pyav"] or 0),
            "declared": int(row["container_says_frames"] or 0),
            "size": (int(row["stored_w"] or 0), int(row["stored_h"] or 0)),
            "rotation": int(row["rotation"] or 0),
            "fps": float(row["avg_fps"] or 0),
            "regular": row["distinct_pts_steps"] in ("", "1"),
            "broken": row["path"].startswith("derived/"),
        }
        for row in rows
    ]
    folder = shared / "data/ucf101-original"
    originals = [
        {
            "path": folder / row["path"],
            "frames": row["frames"],
            "declared": row["meta_frames"],
            "size": (row["w"], row["h"]),
            "rotation": row["rot"],
            "fps": row["fps"],
            "regular": False,
            "broken": False,
        }
        for row in json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    ]
    assert (len(awkward), len(originals)) == (25, 30)
    return awkward + originals


def judged(known: dict) -> set[str]:
    """The status that a file should have."""
    if not known["frames"]:
        return {"unreadable"}
    if known["broken"]:
        return {"damaged"} if known["declared"] else {"short"}
    return {"short"} if known["frames"] < known["declared"] else {"ok"}


def test_every_awkward_file_is_opened_counted_and_judged_as_is_known(shared):
    for known in known_files(shared):
        path = known["path"]
        facts = examine(path)
        assert (facts.frames, facts.declared_frames) == (known["frames"], known["declared"]), path
        assert (facts.width, facts.height) == known["size"], path  # none of them is turned
        assert facts.rotation == known["rotation"] == 0, path
        assert facts.status in judged(known), (path, facts)
        assert bool(facts.reason) == (facts.status != "ok"), (path, facts)
        assert facts.timestamps_increasing or not known["regular"], path
        assert abs(facts.fps - known["fps"]) < 0.01, path
        if facts.status == "unreadable":
            with pytest.raises(DataError, match="cannot be read as a video"):
                decode_frames(path, [0], short_side=None)
        elif facts.status != "ok":  # salvaged up to the damage, and no further
            assert decode_frames(path, [facts.frames - 1], short_side=16).shape[0] == 1
            with pytest.raises(DataError, match=f"only {facts.frames} decode"):
                decode_frames(path, [facts.frames], short_side=16)


@pytest.mark.slow
def test_ten_thousand_opens_leave_memory_flat(shared):
    before, after = growth(shared, OPENS)
    print(f"{before >> 10} KiB after a tenth of {OPENS} opens, {after >> 10} KiB at the end")
    assert after - before < MOST_GROWTH


def growth(shared: Path, opens: int) -> tuple[int, int]:
    """Bytes of memory after a tenth of the opens, and after all: files left after a frame, broken ones."""
    folder = shared / "data/awkward"
    whole = ["imageio/imageio_issue245.gif", "imageio/realshort.mp4", "derived/truncated_half_bbb.webm"]
    broken = ["derived/empty.mp4", "derived/text_renamed.mp4", "derived/truncated_60pct_bikes.mp4"]
    before = 0
    for count, name in enumerate(islice(cycle([*whole, *broken]), opens)):
        if count == opens // 10:
            before = resident_bytes()
        if name in whole:
            decode_frames(folder / name, [0], short_side=16)
        else:
            assert examine(folder / name).status == "unreadable"
    return before, resident_bytes()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
