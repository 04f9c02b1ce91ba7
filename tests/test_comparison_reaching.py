"""Steps and seconds to a share of the best accuracy, as an outcome of a study: fabricated logs."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.checks import read_checks
from timelift.comparison.continuing import continue_study
from timelift.comparison.reaching import UNITS, study_times
from timelift.comparison.reaching_text import COLUMNS, time_headline, time_lines, time_values, what_it_is
from timelift.comparison.sooner import compare_times, compare_times_family
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.study_file import parse_study, study_to_toml
from timelift.comparison.timeto import Times, joined, median_time
from timelift.records import Recipe, Run
from timelift.records.errors import DataError, UsageError

BASE, FAST, SLOW = "base", "fast", "slow"
EPOCHS, STEPS_AN_EPOCH = 24, 10
TAU = {BASE: 4.0, FAST: 1.5, SLOW: 80.0}  # epochs that an accuracy of 1 - exp(-epoch / tau) takes
STUDY = Study(name="s", data="/d", variants=(BASE, FAST, SLOW), seeds=5)


def run_of(variant, seed):
    return Run(
        variant=variant,
        seed=seed,
        recipe=Recipe(),
        classes=("a", "b"),
        data_digest="d",
        train_digest="t",
        started_from="nothing",
        selection="last epoch",
        parameters=1,
    )


def accuracy_of(variant, seed, epoch):
    luck = np.random.default_rng([seed, *variant.encode()]).uniform(0.8, 1.25)
    return 0.8 * (1 - math.exp(-epoch / (luck * TAU[variant])))


def write_log(folder, variant, seed, every=2):
    """A log as training writes it: a line an epoch, an accuracy at every `every`-th and at the last."""
    folder.mkdir(parents=True)
    speed = 1.0 + 0.1 * seed
    lines = ["epoch,step,loss,accuracy,validation_accuracy,seconds"]
    for epoch in range(1, EPOCHS + 1):
        judged = every and (epoch % every == 0 or epoch == EPOCHS)
        found = repr(accuracy_of(variant, seed, epoch)) if judged else ""
        lines.append(f"{epoch},{epoch * STEPS_AN_EPOCH},1.0,0.5,{found},{speed}")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def logs(tmp_path):
    """(runs, folders) of 5 seeds of three variants."""
    runs = [run_of(variant, seed) for seed in range(5) for variant in (BASE, FAST, SLOW)]
    folders = [tmp_path / f"{run.variant}-{run.seed}" for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        write_log(folder, run.variant, run.seed)
    return runs, folders


def loop_time(variant, seed, target):
    """(steps, seconds, reached) by going through the epochs."""
    for epoch in range(2, EPOCHS + 1, 2):
        if accuracy_of(variant, seed, epoch) >= target:
            return epoch * STEPS_AN_EPOCH, epoch * (1.0 + 0.1 * seed), True
    return EPOCHS * STEPS_AN_EPOCH, EPOCHS * (1.0 + 0.1 * seed), False


def test_the_target_and_every_time_are_those_of_a_loop_over_the_epochs(logs):
    found = study_times(*logs, STUDY, 0.05)
    finals = {v: np.mean([accuracy_of(v, s, EPOCHS) for s in range(5)]) for v in TAU}
    assert found.best == max(finals, key=finals.get) == FAST
    assert found.target == pytest.approx(0.9 * finals[FAST], rel=1e-12)
    assert found.check_steps == (20, 20)
    assert [(row.unit, row.variant) for row in found.rows] == [(u, v) for u in UNITS for v in STUDY.variants]
    for place, unit in enumerate(UNITS):
        times = {v: [loop_time(v, s, found.target) for s in range(5)] for v in TAU}
        base, fast, slow = found.of(unit)
        assert (base.difference, base.verdict, base.sentence) == (None, "", "")
        assert (base.reached, fast.reached, slow.reached) == (5, 5, 0)
        assert fast.median == pytest.approx(np.median([one[place] for one in times[FAST]]))
        assert slow.median == math.inf
        difference = [f[place] - b[place] for b, f in zip(times[BASE], times[FAST], strict=True)]
        assert fast.difference.restricted_mean == pytest.approx(np.mean(difference))
        oracle = stats.ttest_1samp(difference, 0)
        assert fast.difference.p == pytest.approx(oracle.pvalue, rel=1e-10)
        assert fast.difference.interval == pytest.approx(
            oracle.confidence_interval(1 - fast.difference.level), rel=1e-10
        )
        assert (fast.verdict, slow.verdict) == ("sooner", "later")
        assert slow.difference.only_baseline == 5
        assert "5 of slow did not reach it" in slow.sentence


def test_another_share_moves_the_target(logs):
    whole = study_times(*logs, dataclasses.replace(STUDY, share=1.0), 0.05)
    half = study_times(*logs, dataclasses.replace(STUDY, share=0.5), 0.05)
    assert half.target == pytest.approx(whole.target / 2)
    assert all(a.median <= b.median for a, b in zip(half.rows, whole.rows, strict=True))
    assert "50 % of the mean that fast" in what_it_is(half)


def test_an_unfinished_study_has_numbers_and_no_verdict(logs):
    found = study_times(*logs, STUDY, 0.05, open=2)
    assert [row.verdict for row in found.of("steps")] == ["", "not finished", "not finished"]
    assert not any(row.sentence for row in found.rows)
    assert found.of("steps")[1].difference is not None


def test_only_seeds_of_both_are_paired_and_a_probe_has_no_times(logs, tmp_path):
    runs, folders = logs
    kept = [i for i, run in enumerate(runs) if (run.variant, run.seed) not in ((FAST, 0), (BASE, 3))]
    runs, folders = [runs[i] for i in kept], [folders[i] for i in kept]
    (tmp_path / "probe").mkdir()
    runs, folders = [*runs, run_of(LINEAR_PROBE, 0)], [*folders, tmp_path / "probe"]
    found = study_times(runs, folders, STUDY, 0.05)
    assert [row.runs for row in found.of("steps")] == [4, 4, 5]
    assert [row.difference.pairs for row in found.of("steps")[1:]] == [3, 4]


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ((BASE, FAST, SLOW), "No run was judged"),
        ((BASE,), "No run of the baseline base"),
        ((FAST, SLOW), "No run of another variant than base"),
    ],
)
def test_runs_without_validation_have_no_such_outcome_and_it_is_said(tmp_path, without, words):
    runs = [run_of(variant, seed) for seed in range(2) for variant in STUDY.variants]
    folders = [tmp_path / f"{run.variant}-{run.seed}" for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        write_log(folder, run.variant, run.seed, every=0 if run.variant in without else 1)
    found = study_times(runs, folders, STUDY, 0.05)
    assert found.rows == ()
    assert found.missing.startswith(words)
    assert words in what_it_is(found) == time_headline(found)
    assert time_lines(found)[-1].endswith("So there is no time to an accuracy.")
    assert time_values(found, BASE) == {}


def test_validations_may_be_rare_and_the_last_epoch_counts(tmp_path):
    write_log(tmp_path / "r", BASE, 1, every=5)
    found = read_checks(tmp_path / "r" / "log.csv")
    np.testing.assert_allclose(found.at("steps"), [50, 100, 150, 200, 240])
    np.testing.assert_allclose(found.at("seconds"), [5.5, 11, 16.5, 22, 26.4])
    np.testing.assert_allclose(found.accuracy, [accuracy_of(BASE, 1, epoch) for epoch in (5, 10, 15, 20, 24)])


@pytest.mark.parametrize(
    "text", ["epoch,step\n1,2\n", "step,validation_accuracy,seconds\n1,much,2\n", "\xff"]
)
def test_a_log_that_is_none_is_named(tmp_path, text):
    (tmp_path / "log.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"log\.csv is not the log of a run"):
        read_checks(tmp_path / "log.csv")


def test_the_family_is_holms_and_its_intervals_agree_with_it():
    rng = np.random.default_rng(4)
    base = rng.uniform(400, 600, 6)
    others = {
        name: base + shift + 40 * rng.standard_normal(6)
        for name, shift in zip("abc", (-90, -50, 5), strict=True)
    }
    pairs = {name: (all_reached(base), all_reached(other)) for name, other in others.items()}
    found = compare_times_family(pairs, "base", 0.05, unit="seconds")
    alone = [compare_times(*pair) for pair in pairs.values()]
    order = np.argsort([one.p for one in alone])
    largest = 0.0
    for step, place in enumerate(order):
        largest = max(largest, (3 - step) * alone[place].p)
        assert found[place].p_adjusted == pytest.approx(min(1.0, largest))
    for one in found:
        lower, upper = one.interval
        assert (one.p_adjusted <= 0.05) == (not lower <= 0 <= upper) == (one.verdict != "inconclusive")
        assert (one.baseline, one.unit) == ("base", "seconds")
        rejected_late = one.p_adjusted <= 0.05 and one.p > 0.05 / 3
        assert one.level == pytest.approx(0.05 / 3) or rejected_late
    assert found[2].level == pytest.approx(0.05 / 3)


def all_reached(times):
    return Times(np.asarray(times, dtype=float), np.ones(len(times), dtype=bool))


def test_from_ten_runs_the_sign_flip_test_decides_also_where_all_differ_by_the_same():
    a = np.full(10, 300.0)
    few = compare_times(all_reached(a[:9]), all_reached(a[:9] - 100))
    many = compare_times(all_reached(a), all_reached(a - 100))
    assert few.verdict == "inconclusive"
    assert few.interval == (-math.inf, math.inf)
    assert (many.verdict, many.interval, many.p) == ("sooner", (-100, -100), 2 / 2**10)
    rng = np.random.default_rng(0)
    b = a + rng.standard_normal(10) + 0.3
    oracle = stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert compare_times(all_reached(a), all_reached(b)).p == pytest.approx(oracle.pvalue, rel=1e-10)


def test_two_pairs_are_too_few_and_a_pair_that_never_gets_there_says_so():
    two = all_reached([3.0, 4.0])
    assert compare_times(two, two).verdict == "too few runs"
    never = Times(np.full(4, 9.0), np.zeros(4, dtype=bool))
    assert compare_times(never, never).sentence.startswith("b and a never reach the target.")


@pytest.mark.parametrize("seed", range(4))
def test_the_median_is_that_of_the_kaplan_meier_curve(seed):
    rng = np.random.default_rng(seed)
    time, reached = np.round(rng.exponential(10, 15), 1) + 1, rng.random(15) < 0.7
    share, median = 1.0, math.inf
    for t in np.unique(time):
        share *= 1 - (reached & (time == t)).sum() / (time >= t).sum()
        if share <= 0.5 + 1e-12:
            median = t
            break
    assert median_time(Times(time, reached)) == median
    assert median_time(all_reached([4.0, 1.0, 3.0])) == 3
    assert median_time(all_reached([4.0, 1.0, 3.0, 2.0])) == 2  # half have it exactly


def test_times_are_joined_in_order_and_none_are_refused():
    both = joined([all_reached([1.0]), Times(np.array([2.0]), np.array([False]))])
    assert (both.time.tolist(), both.reached.tolist()) == ([1, 2], [True, False])
    with pytest.raises(UsageError, match="at least one run"):
        joined([])


def test_words_columns_and_lines_have_every_number(logs):
    found = study_times(*logs, STUDY, 0.05)
    told = time_headline(found)
    assert "In steps: sooner: fast; later: slow. In seconds: sooner: fast; later: slow." in told
    values = time_values(found, FAST)
    assert set(values) <= set(COLUMNS)
    fast = found.of("seconds")[1]
    assert values["seconds_difference"] == fast.difference.restricted_mean
    assert (values["target"], values["reached"]) == (found.target, 5)
    lines = "\n".join(time_lines(found))
    assert "| slow | seconds | 0 of 5 | not reached |" in lines
    assert all(row.sentence in lines for row in found.rows)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
def test_a_share_that_is_none_is_refused_with_its_line(tmp_path, share):
    path = tmp_path / "s.toml"
    path.write_text(f'data = "v"\nvariants = ["a"]\nshare = {share}\n')
    with pytest.raises(UsageError, match=r"line 3: share: .* a fraction above 0 and up to 1"):
        parse_study(path)


def test_the_share_is_written_read_back_and_cannot_change_later(tmp_path):
    study = dataclasses.replace(STUDY, share=0.75)
    (tmp_path / "s.toml").write_text(study_to_toml(study))
    assert parse_study(tmp_path / "s.toml").share == 0.75
    (tmp_path / "old.toml").write_text('data = "v"\nvariants = ["a"]\n')
    assert parse_study(tmp_path / "old.toml").share == 0.9
    with pytest.raises(UsageError, match=r"share = 0\.9, not 0\.75"):
        continue_study(STUDY, study)
