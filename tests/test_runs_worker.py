"""What a worker does when nothing is to be claimed at the moment, and cells that are given back."""

import threading
import time

from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.runs.worker import claimed

VARIANTS = ("lenet5_3d", "lenet5_3dttn")
STUDY = Study(name="s", data="videos", variants=VARIANTS, seeds=2)


def store_with_a_selection_run(folder) -> Store:
    store = Store(folder)
    store.add_cells(VARIANTS[:1], [1_000_000], choice="a choice")
    store.add_cells(VARIANTS[:1], range(1))
    return store


def test_a_worker_waits_for_the_selection_runs_of_others(tmp_path):
    store = store_with_a_selection_run(tmp_path)
    selection = store.claim("another")
    found = []
    waiting = threading.Thread(target=lambda: found.append(claimed(STUDY, store, "mine", every_seconds=0.01)))
    waiting.start()
    time.sleep(0.1)
    assert not found
    store.finish(selection)
    waiting.join(timeout=30)
    assert [(place.seed, place.worker) for place in found] == [(0, "mine")]
    assert claimed(STUDY, store, "mine") is None  # nothing is left, and it does not wait


def test_a_worker_takes_over_what_it_waits_for_when_that_died(tmp_path, monkeypatch):
    store = store_with_a_selection_run(tmp_path)
    store.claim("another")
    monkeypatch.setattr("timelift.comparison.store.is_alive", lambda pid, birth: False)
    assert claimed(STUDY, store, "mine", every_seconds=0.01).choice == "a choice"


def test_a_cell_is_given_back_by_its_claim_only(tmp_path):
    store = Store(tmp_path)
    store.add_cells(VARIANTS[:1], [0])
    old = store.claim("first")
    store.release(old, "stopped")
    assert store.claim("second").worker == "second"
    store.release(old, "stopped again")
    (cell,) = store.status()
    assert (cell.state, cell.worker) == ("running", "second")
