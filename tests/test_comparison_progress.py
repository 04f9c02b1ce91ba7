"""How far a study is: counts, pace and time left, and the cells that matter."""

import dataclasses

from timelift.comparison.progress import progress, progress_text
from timelift.comparison.store import Cell


def cell(number: int, variant: str = "a", state: str = "new", **more) -> Cell:
    times = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"}
    ended = times if state in ("done", "failed") else {}
    return dataclasses.replace(Cell(number, "", variant, "", number), state=state, **{**ended, **more})


LARGE = [
    *(cell(i, "a", "done") for i in range(10)),
    *(cell(i, "a") for i in range(10, 14)),
    cell(14, "a", "running"),
    *(cell(i, "b", "done", finished="2026-01-01T00:02:00+00:00") for i in range(2)),
    cell(2, "b", "failed", error="Traceback ...\nValueError: no"),
    *(cell(i, "b", "stopped") for i in range(3, 10)),
    cell(0, "b", "done", choice="rate=1"),
    *(cell(i, "c", condition="many") for i in range(3)),
]


def test_counts_pace_and_time_left_of_each_condition_and_variant():
    found = {(one.condition, one.variant, one.selection): one for one in progress(LARGE)}
    a, b, c = found["", "a", False], found["", "b", False], found["many", "c", False]
    assert a.counts == {"done": 10, "new": 4, "running": 1}
    assert (a.seconds_a_run, a.left) == (60.0, 300.0)
    assert b.counts == {"done": 2, "failed": 1, "stopped": 7}
    assert (b.seconds_a_run, b.left) == (120.0, 0.0)
    assert c.left != c.left  # no run has ended
    assert found["", "b", True].counts == {"done": 1}


def test_a_large_study_is_summed_up_and_names_what_runs_and_what_failed():
    lines = progress_text(LARGE).splitlines()
    assert lines == [
        "b (selection runs): 1 done; 1 min 0 s a run",
        "a: 10 done, 1 running, 4 new; 1 min 0 s a run, 5 min 0 s of work left",
        "b: 2 done, 1 failed, 7 stopped; 2 min 0 s a run",
        "many: c: 3 new",
        "",
        "running  seed 14  a",
        "failed   seed 2  b  ValueError: no",
        "29 runs: 13 done, 1 running, 1 failed, 7 stopped, 7 new; "
        "about 5 min 0 s left with 1 at a time, and those of which no run has ended yet",
    ]


def test_every_cell_of_a_large_study_is_listed_where_that_is_asked_for():
    assert len(progress_text(LARGE, every_cell=True).splitlines()) == 4 + 1 + len(LARGE) + 1


def test_a_small_study_is_listed_cell_by_cell():
    lines = progress_text(
        [cell(0, "a", "done"), cell(1, "a", condition="many", choice="rate=1")]
    ).splitlines()
    assert lines[:2] == ["done     seed 0  a", "new      many: seed 1  a  (tries rate=1)"]
    assert lines[2].startswith("2 runs: 1 done, 1 new")
