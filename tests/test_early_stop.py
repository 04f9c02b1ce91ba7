"""Early stop: a rule on validation videos that saves runs, whatever their order, and draws no verdict."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.continuing import continue_study
from timelift.comparison.early_stop import EarlyStop, judge_round, worse_p
from timelift.comparison.family import compare_pairs
from timelift.comparison.gates import gates, set_gates, stop_at_gate
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study, write_study
from timelift.comparison.table import study_table
from timelift.comparison.table_text import to_csv, to_markdown
from timelift.records import Manifest, Predictions, Recipe, Run, UsageError, Video
from timelift.records.run import write_run
from timelift.runs.data import PreparedData
from timelift.runs.early_stop import check_early_stop, open_rounds
from timelift.runs.train_one import VALIDATION
from timelift.runs.worker import claimed

RULE = EarlyStop(every=3, level=0.02)
STUDY = Study(
    name="s",
    data="d",
    variants=("base", "bad", "good"),
    seeds=8,
    linear_probe=False,
    videos_per_class=(5, 10),
    early_stop=RULE,
)


def run_of(variant: str, seed: int, accuracy: float) -> Run:
    return Run(
        variant=variant,
        seed=seed,
        recipe=Recipe(),
        classes=("a", "b"),
        data_digest="data",
        train_digest=f"train {seed}",
        started_from="random",
        selection="best validation epoch 2 of 3",
        parameters=10,
        metrics={VALIDATION: accuracy},
    )


def accuracy_of(variant: str, seed: int) -> float:
    noise = 0.01 * np.random.default_rng([len(variant), seed]).standard_normal()
    return 0.8 + noise - (0.2 if variant == "bad" else 0.0)


def opened(study: Study, folder: Path) -> Store:
    store = Store(folder)
    for condition in study.conditions:
        store.add_cells(study.cells, range(study.seeds), str(condition))
    open_rounds(study, store)
    return store


def end(store: Store, cell) -> None:
    folder = store.run_folder(cell)
    folder.mkdir(parents=True)
    write_run(run_of(cell.variant, cell.seed, accuracy_of(cell.variant, cell.seed)), folder)
    store.finish(cell)


def all_run(study: Study, store: Store, at_once: int = 1) -> None:
    """As many claimed at a time as there are workers; the last claimed ends first."""
    running = []
    while True:
        while len(running) < at_once and (cell := claimed_now(study, store)) is not None:
            running.append(cell)
        if not running:
            return
        end(store, running.pop())


def claimed_now(study: Study, store: Store):
    from timelift.runs.early_stop import close_rounds

    close_rounds(study, store)
    return store.claim("w")


def states(store: Store) -> dict[tuple[str, str, int], str]:
    return {(cell.condition, cell.variant, cell.seed): cell.state for cell in store.status()}


@pytest.mark.parametrize("seed", range(5))
def test_the_p_of_a_round_is_that_of_scipys_one_sided_paired_t(seed):
    a, b = np.random.default_rng(seed).random((2, 4 + seed))
    found = judge_round(RULE, 99, dict(enumerate(a)), dict(enumerate(b)))
    assert found.p == pytest.approx(stats.ttest_rel(b, a, alternative="less").pvalue, abs=1e-12)
    assert found.mean == pytest.approx((b - a).mean())


def test_a_round_takes_the_seeds_before_it_that_both_have():
    baseline, variant = {0: 0.5, 1: 0.6, 2: 0.4, 3: 0.9, 5: 0.1}, {0: 0.4, 2: 0.2, 3: 0.7, 4: 0.0, 5: 1.0}
    found = judge_round(RULE, 5, baseline, variant)
    assert (found.seeds, found.pairs) == (5, 3)
    assert found.mean == pytest.approx((-0.1 - 0.2 - 0.2) / 3)


def test_too_few_pairs_or_no_spread_stop_nothing():
    assert worse_p(np.array([-0.5, -0.6])) == 1.0
    assert worse_p(np.array([-0.5, -0.5, -0.5])) == 1.0
    assert judge_round(RULE, 3, {}, {}).p == 1.0


def test_the_levels_of_all_rounds_together_stay_below_the_level():
    levels = [RULE.level_at(RULE.every * number) for number in range(1, 2000)]
    assert levels[0] == RULE.level / 2
    assert np.diff(levels).max() < 0
    assert 0.99 * RULE.level < sum(levels) < RULE.level


def test_an_equal_variant_is_stopped_no_more_often_than_the_level_says():
    rule, studies, stopped = EarlyStop(every=5, level=0.1), 2000, 0
    rng = np.random.default_rng(1)
    for _ in range(studies):
        base, other = (dict(enumerate(rng.standard_normal(30))) for _ in range(2))
        stopped += any(judge_round(rule, seeds, base, other).stops for seeds in range(5, 30, 5))
    assert 0.04 < stopped / studies < 0.1


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"every": 2}, "early_stop.every: 2 came"), ({"level": 0.0}, "early_stop.level: 0.0 came")],
)
def test_impossible_rules_are_refused(changed, words):
    with pytest.raises(UsageError, match=words):
        EarlyStop(**changed)


def test_a_rule_that_would_never_come_to_a_round_is_refused():
    with pytest.raises(UsageError, match=r"early_stop\.every: 8 came: a study of at most 8 seeds"):
        dataclasses.replace(STUDY, early_stop=EarlyStop(every=8))


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_hopeless_variant_is_stopped_at_its_round_and_the_others_run_on(tmp_path, at_once):
    store = opened(STUDY, tmp_path)
    all_run(STUDY, store, at_once)
    for condition in map(str, STUDY.conditions):
        found = {v: [states(store)[condition, v, s] for s in range(8)] for v in STUDY.variants}
        assert found == {
            "base": ["done"] * 8,
            "bad": ["done"] * 3 + ["stopped"] * 5,
            "good": ["done"] * 8,
        }
    stopped = [gate for gate in gates(store) if gate.stopped]
    assert [(gate.variant, gate.seeds) for gate in stopped] == [("bad", 3)] * 2
    assert "points from the baseline on validation videos" in stopped[0].why


def test_a_worker_ends_when_all_that_is_left_is_stopped(tmp_path):
    store = opened(STUDY, tmp_path)
    while (cell := claimed(STUDY, store, "w", every_seconds=0.0)) is not None:
        end(store, cell)
    assert {cell.state for cell in store.status()} == {"done", "stopped"}


def test_seeds_added_to_a_stopped_variant_are_stopped_too(tmp_path):
    store = opened(STUDY, tmp_path)
    all_run(STUDY, store)
    more = dataclasses.replace(STUDY, seeds=10, max_seeds=10)
    all_run(more, opened(more, tmp_path))
    found = states(store)
    assert found["videos_per_class=5", "good", 9] == "done"
    assert found["videos_per_class=5", "bad", 9] == "stopped"


def test_a_round_waits_for_runs_under_way_and_not_for_failed_ones(tmp_path):
    study = dataclasses.replace(
        STUDY, variants=("base", "bad"), videos_per_class=None, vary_training_videos=False
    )
    store = opened(study, tmp_path)
    first = [claimed_now(study, store) for _ in range(6)]  # seeds 0, 1 and 2 of both
    for cell in first[:5]:
        end(store, cell)
    waiting = claimed_now(study, store)
    assert (waiting.variant, waiting.seed) == ("base", 3)
    assert [claimed_now(study, store).seed for _ in range(4)] == [4, 5, 6, 7]  # the baseline never waits
    assert claimed_now(study, store) is None
    store.fail(first[5], "no")
    after = claimed_now(study, store)  # two pairs are too few to stop anything
    assert (after.variant, after.seed) == ("bad", 3)


def test_switching_it_off_runs_what_was_stopped_and_switching_it_on_later_is_refused(tmp_path):
    store = opened(STUDY, tmp_path)
    all_run(STUDY, store)
    off = continue_study(STUDY, dataclasses.replace(STUDY, early_stop=None))
    assert off.early_stop is None
    assert open_rounds(off, store) == 10
    all_run(off, store)
    assert set(states(store).values()) == {"done"}
    with pytest.raises(UsageError, match="early_stop = None, not EarlyStop"):
        continue_study(off, STUDY)
    with pytest.raises(UsageError, match="early_stop = EarlyStop"):
        continue_study(STUDY, dataclasses.replace(STUDY, early_stop=EarlyStop(every=4)))


def test_selection_runs_do_not_wait_at_gates_and_are_not_stopped(tmp_path):
    store = Store(tmp_path)
    store.add_cells(["a"], [1_000_000], choice="rate=1")
    set_gates(store, "", ["a"], 3)
    stop_at_gate(store, gates(store)[0], "hopeless")
    assert store.claim("w").choice == "rate=1"


def test_without_validation_videos_it_is_refused():
    videos = tuple(Video(f"{i}.avi", "a", split) for i, split in enumerate(("train", "test")))
    data = PreparedData(Manifest("/", ("a",), videos), "last epoch", ())
    with pytest.raises(UsageError, match="early_stop: there are no validation videos"):
        check_early_stop(STUDY, data)
    check_early_stop(dataclasses.replace(STUDY, early_stop=None), data)


def test_the_study_file_keeps_the_rule(tmp_path):
    write_study(STUDY, tmp_path)
    assert parse_study(tmp_path / "study.toml").early_stop == RULE


def answers(accuracy: float, seed: int) -> Predictions:
    labels = np.arange(60) % 2
    right = np.random.default_rng(0).random(60) + 0.05 * np.random.default_rng(seed).random(60) < accuracy
    logits = np.zeros((60, 1, 2), np.float32)
    logits[np.arange(60), 0, np.where(right, labels, 1 - labels)] = 1
    return Predictions(tuple(f"{i}" for i in range(60)), ("",) * 60, labels, ("a", "b"), logits)


def table_of(runs_of_bad: int, stopped: dict[str, str], open: int = 0):
    study = Study(name="s", data="d", variants=("base", "bad", "good"), seeds=5, linear_probe=False)
    worth = {"base": 0.6, "bad": 0.2, "good": 0.9}
    runs = [(name, seed) for name in worth for seed in range(5) if name != "bad" or seed < runs_of_bad]
    return study_table(
        [run_of(name, seed, 0.5) for name, seed in runs],
        [answers(worth[name], seed + 10 * len(name)) for name, seed in runs],
        study,
        stopped=stopped,
        open=open,
    )


def test_a_stopped_variant_has_numbers_and_no_verdict():
    table = table_of(3, {"bad": "after 3 seeds (why)"})
    rows = {row.variant: row for row in table.rows}
    bad = rows["bad"]
    assert (bad.verdict, bad.runs, bad.difference.verdict) == ("stopped early", 3, "stopped early")
    assert bad.difference.interval[1] < 0  # a test that ignored the stop would say worse
    assert bad.sentence.startswith("bad was stopped early, after 3 seeds (why). No verdict is drawn")
    assert rows["good"].verdict == "better"
    assert table.headline.endswith("Stopped early: bad.")
    assert any("stopped early, by a rule on validation videos" in note for note in table.notes)
    assert "stopped early" in to_csv(table)
    assert "stopped early" in to_markdown(table)


def test_a_stopped_variant_makes_the_judgement_of_the_others_no_milder():
    with_it, without = table_of(3, {"bad": "why"}), table_of(3, {})
    good = {row.variant: row for row in with_it.rows}["good"].difference
    assert good.level == pytest.approx(0.05 / 2)
    assert good.p_adjusted == pytest.approx(2 * good.p)
    assert good.interval == {row.variant: row for row in without.rows}["good"].difference.interval


def test_what_is_undecided_does_not_help_others_in_holms_procedure():
    base, spread = np.full(5, 0.5), np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
    pairs = {"bad": (base, base - 0.4 + spread), "good": (base, base + 0.021 + spread)}
    plain, careful = (compare_pairs(pairs, "base", undecided=names) for names in ((), ("bad",)))
    assert 0.025 < plain[1].p < 0.05
    assert (plain[1].verdict, careful[1].verdict) == ("better", "inconclusive")
    assert careful[1].p_adjusted == pytest.approx(2 * plain[1].p)


def test_a_stopped_variant_is_said_to_be_while_others_run():
    rows = {row.variant: row.verdict for row in table_of(3, {"bad": "why"}, open=2).rows}
    assert rows == {"base": "", "bad": "stopped early", "good": "not finished"}
