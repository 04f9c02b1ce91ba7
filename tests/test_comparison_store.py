"""The study's index: claimed once, never lost, whatever dies."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from timelift.comparison.process import is_alive, process_birth
from timelift.comparison.store import Cell, Store, slug
from timelift.records.errors import DataError, UsageError

WORKER = """
import sys, time
from pathlib import Path
from timelift.comparison.store import Store
store = Store(Path(sys.argv[1]))
while (cell := store.claim(sys.argv[2])) is not None:
    folder = store.run_folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "times").open("a") as file:
        file.write("x")
    print(cell.variant, cell.seed, flush=True)
    if float(sys.argv[3]) and cell.seed >= 1:
        time.sleep(float(sys.argv[3]))
    (folder / "run.json").write_text("{}")
    store.finish(cell)
"""


def worker(folder: Path, name: str, sleeps: float = 0) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, str(folder), name, str(sleeps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def states(store: Store) -> dict[tuple[str, int], str]:
    return {(cell.variant, cell.seed): cell.state for cell in store.status()}


def test_cells_are_claimed_a_seed_at_a_time_so_that_partial_results_are_paired(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["b", "a"], range(2))
    claimed = [store.claim("w") for _ in range(4)]
    assert [(cell.variant, cell.seed) for cell in claimed] == [("b", 0), ("a", 0), ("b", 1), ("a", 1)]
    assert store.claim("w") is None
    assert {(c.state, c.worker, c.pid) for c in claimed} == {("running", "w", os.getpid())}


def test_adding_variants_and_seeds_keeps_what_is_there(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a", "b"], range(1))
    store.finish(store.claim("w"))
    for _ in range(2):
        store.add_cells(["a", "b", "c"], range(2))
    assert [(c.variant, c.seed, c.state) for c in Store(tmp_path).status()] == [
        ("a", 0, "done"), ("b", 0, "new"), ("c", 0, "new"), ("a", 1, "new"), ("b", 1, "new"), ("c", 1, "new"),
    ]  # fmt: skip


def test_two_processes_share_the_cells_and_none_runs_twice(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a", "b", "c"], range(10))
    workers = [worker(tmp_path, name) for name in ("one", "two")]
    printed = [process.communicate(timeout=60)[0].splitlines() for process in workers]
    assert [process.returncode for process in workers] == [0, 0]
    assert len(printed[0]) + len(printed[1]) == len(set(printed[0]) | set(printed[1])) == 30
    assert set(states(store).values()) == {"done"}


def test_after_kill_9_finished_runs_stay_and_the_broken_one_is_new_again(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a", "b"], range(2))
    process = worker(tmp_path, "killed", sleeps=60)
    for _ in range(3):  # a 0 and b 0 are done when a 1 is printed
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    assert states(store)["a", 1] == "running"
    deadline = time.monotonic() + 30
    while not store.reclaim_dead():  # the killed process is not waited for: a zombie is dead
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert states(store) == {("a", 0): "done", ("b", 0): "done", ("a", 1): "new", ("b", 1): "new"}
    process.communicate()
    with worker(tmp_path, "again") as again:
        again.communicate(timeout=60)
    assert set(states(store).values()) == {"done"}
    times = {(c.variant, c.seed): len((store.run_folder(c) / "times").read_text()) for c in store.status()}
    assert times == {("a", 0): 1, ("b", 0): 1, ("a", 1): 2, ("b", 1): 1}


def dead_claim(store: Store, **changed) -> None:
    """The next cell, running in a process that is gone."""
    cell = store.claim("w")
    values = {"pid": 2**22 + 1, "birth": "", **changed}
    with sqlite3.connect(store.folder / "study.sqlite") as connection:
        for column, value in values.items():
            connection.execute(
                f"UPDATE cells SET {column} = ? WHERE variant = ? AND seed = ?",
                (value, cell.variant, cell.seed),
            )
    connection.close()


def test_a_run_that_was_written_before_its_process_died_is_done(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a"], range(1))
    dead_claim(store)
    folder = store.run_folder(store.status()[0])
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (cell,) = store.reclaim_dead()
    assert (cell.state, states(store)["a", 0]) == ("done", "done")


def test_a_reused_pid_is_not_the_process_that_died(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a"], range(1))
    dead_claim(store, pid=os.getpid(), birth="another boot:1")
    assert [cell.state for cell in store.reclaim_dead()] == ["new"]


def test_living_processes_and_other_machines_are_left_alone(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a", "b"], range(1))
    store.claim("w")
    dead_claim(store, host="elsewhere")
    assert store.reclaim_dead() == ()
    assert set(states(store).values()) == {"running"}
    assert [cell.variant for cell in store.reclaim_host("elsewhere")] == ["b"]
    assert states(store) == {("a", 0): "running", ("b", 0): "new"}


def test_a_failing_cell_does_not_stop_the_others_and_can_be_retried(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a", "b"], range(1))
    store.fail(store.claim("w"), "Traceback ...\nValueError: no")
    store.finish(store.claim("w"))
    failed, done = store.status()
    assert (failed.state, failed.error.splitlines()[-1], done.state) == ("failed", "ValueError: no", "done")
    assert [cell.variant for cell in store.retry_failed()] == ["a"]
    assert states(store) == {("a", 0): "new", ("b", 0): "done"}
    with sqlite3.connect(tmp_path / "study.sqlite") as connection:
        kept = connection.execute("SELECT detail FROM events WHERE what = 'failed'").fetchall()
    connection.close()
    assert kept == [("Traceback ...\nValueError: no",)]


def test_a_claim_that_is_over_cannot_end_the_cell(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a"], range(1))
    first = store.claim("w")
    store.reclaim_host(first.host)
    with pytest.raises(UsageError, match="a, seed 0: this claim is over, the cell is new"):
        store.finish(first)
    store.claim("w")
    with pytest.raises(UsageError, match="this claim is over"):
        store.fail(first, "late")
    assert store.status()[0].state == "running"


def test_a_cell_ends_once(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a"], range(1))
    cell = store.claim("w")
    store.finish(cell)
    with pytest.raises(UsageError, match="the cell is done"):
        store.fail(cell, "after all")
    assert store.status()[0].state == "done"


def test_every_variant_has_a_folder_of_its_own(tmp_path):
    texts = [
        "timm:resnet18 inflate()",
        "timm:resnet18 Inflate()",
        "timm:resnet18  inflate()",
        "x" * 300,
        "ä",
        "",
    ]
    assert len({slug(text) for text in texts}) == len(texts)
    assert all(len(slug(text)) < 64 and slug(text).isascii() for text in texts)
    folder = Store(tmp_path).run_folder(Cell(1, "", "a b", "", 3))
    assert folder == tmp_path / "runs" / slug("a b") / "seed-3"


def test_conditions_and_choices_have_folders_of_their_own(tmp_path):
    cells = [Cell(1, condition, "v", choice, 0) for condition in ("", "c", "d") for choice in ("", "x", "y")]
    assert len({Store(tmp_path).run_folder(cell) for cell in cells}) == len(cells)


def test_a_variant_waits_for_its_selection_runs_and_for_no_others(tmp_path):
    store = Store(tmp_path)
    for condition in ("few", "many"):
        store.add_cells(["a", "b"], range(2), condition)
    store.add_cells(["b"], [7], "few", "rate=1")
    tried = store.claim("w")
    assert (tried.condition, tried.variant, tried.choice, tried.seed) == ("few", "b", "rate=1", 7)
    claimed = [store.claim("w") for _ in range(6)]
    assert [(c.condition, c.variant, c.seed) for c in claimed] == [
        ("few", "a", 0), ("many", "a", 0), ("many", "b", 0),
        ("few", "a", 1), ("many", "a", 1), ("many", "b", 1),
    ]  # fmt: skip
    assert store.claim("w") is None  # b has to wait
    store.finish(tried)
    assert [(c.variant, c.seed) for c in (store.claim("w"), store.claim("w"))] == [("b", 0), ("b", 1)]


def test_the_first_choice_stays_and_later_ones_are_remembered(tmp_path):
    store = Store(tmp_path)
    assert store.choose("", "a", "rate=1", "70 %") == "rate=1"
    assert store.choose("", "a", "rate=1", "70 %") == "rate=1"
    assert store.choose("", "a", "rate=2", "80 %") == "rate=1"
    assert store.choose("other", "a", "rate=3", "60 %") == "rate=3"
    assert store.choices("", "a") == ("rate=1", "rate=2")


def test_an_index_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "study.sqlite") as old:
        old.execute("CREATE TABLE cells (variant TEXT, seed INTEGER)")
    with pytest.raises(DataError, match="another timelift"):
        Store(tmp_path)


def test_the_first_stated_seeds_and_all_looks_are_remembered(tmp_path):
    assert Store(tmp_path).state_seeds(5, 30) == (5, 30)
    assert Store(tmp_path).state_seeds(10, 10) == (5, 30)
    assert [Store(tmp_path).record_look(seeds) for seeds in (5, 5, 10)] == [(5,), (5,), (5, 10)]


def test_a_broken_index_is_one_clear_line(tmp_path):
    (tmp_path / "study.sqlite").write_text("no database, but long enough to be read as one " * 30)
    with pytest.raises(DataError, match=r"study\.sqlite cannot be read"):
        Store(tmp_path)


def test_this_process_lives_and_an_ended_one_does_not():
    assert is_alive(os.getpid(), process_birth(os.getpid()))
    assert is_alive(os.getpid(), "")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    birth = process_birth(ended.pid)
    ended.wait()
    assert not is_alive(ended.pid, birth)
    assert Cell(1, "", "a", "", 0).state == "new"
