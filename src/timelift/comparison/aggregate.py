"""One figure over several data sets or conditions: interquartile mean, and probability of improvement.

Agarwal, Schwarzer, Castro, Courville and Bellemare (2021), "Deep Reinforcement Learning at the Edge of the
Statistical Precipice". Scores are one array (runs,) a data set, higher is better. Intervals resample runs
within each data set (stratified): they are about these data sets, trained again, not about further ones. They
are BCa (Efron 1987), not percentile intervals, at a level made stricter for few runs (Hesterberg 2015).
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from timelift.comparison.bootstrap import DRAWS, FEWEST_RUNS, UNKNOWN, bca, resamples
from timelift.comparison.twoway import Interval
from timelift.records.errors import UsageError

Scores = Sequence[np.ndarray]  # (runs,) of each data set
Statistic = Callable[[Sequence[np.ndarray]], np.ndarray]  # numbers of runs, (draws, runs) a set -> (draws,)


def interquartile_mean(scores: Scores) -> float:
    """The mean of the middle half of all runs on all data sets: a quarter is cut off at either end.

    Raises:
        UsageError: without scores, or where one is not finite.
    """
    return float(_interquartile_means(np.concatenate(_checked(scores))[None])[0])


def interquartile_mean_interval(
    scores: Scores, level: float, rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """The stratified (1 - level) interval of the interquartile mean; nan under 5 runs of any data set."""
    sets = _checked(scores)

    def statistic(picks: Sequence[np.ndarray]) -> np.ndarray:
        drawn = [one[pick] for one, pick in zip(sets, picks, strict=True)]
        return _interquartile_means(np.concatenate(drawn, axis=1))

    return _stratified(statistic, [len(one) for one in sets], level, rng, draws)


def probability_of_improvement(baseline: Scores, variant: Scores) -> float:
    """Chance that a run of `variant` beats a run of `baseline`, ties half, averaged over data sets.

    On each data set it is Mann and Whitney's (1947) U over the number of pairs. 0.5 is no difference. It says
    how often a run is better, not by how much.

    Raises:
        UsageError: unless both have the same numbers of runs on the same data sets.
    """
    pairs = _paired(baseline, variant)
    return float(np.mean([_shares_better(a[None], b[None])[0] for a, b in pairs]))


def probability_of_improvement_interval(
    baseline: Scores, variant: Scores, level: float, rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """Its stratified (1 - level) interval; run i of both is drawn together. nan under 5 runs of any data set.

    nan, too, where every run of one beats every run of the other: nothing then shows how far it could vary.
    """
    pairs = _paired(baseline, variant)

    def statistic(picks: Sequence[np.ndarray]) -> np.ndarray:
        shares = [_shares_better(a[pick], b[pick]) for (a, b), pick in zip(pairs, picks, strict=True)]
        return np.mean(shares, axis=0)

    return _stratified(statistic, [len(a) for a, _ in pairs], level, rng, draws)


def expanded_level(level: float, runs: Sequence[int]) -> float:
    """The level at which a bootstrap interval is about as wide as the t interval at `level`.

    Resamples of n runs vary by (n - 1) / n too little, and know nothing of t (Hesterberg 2015, "What Teachers
    Should Know About the Bootstrap"). runs: of each data set; their degrees of freedom add up.
    """
    fewest, df = min(runs), sum(runs) - len(runs)
    return float(2 * stats.norm.sf(np.sqrt(fewest / (fewest - 1)) * stats.t.isf(level / 2, df)))


def _stratified(
    statistic: Statistic, runs: Sequence[int], level: float, rng: np.random.Generator, draws: int
) -> Interval:
    if min(runs) < FEWEST_RUNS:
        return UNKNOWN
    resampled = statistic([resamples(count, draws, rng) for count in runs])
    if np.ptp(resampled) <= 1e-12:
        return UNKNOWN
    observed = float(statistic([np.arange(count)[None] for count in runs])[0])
    left_out = [statistic(_without_each_of(i, runs)) for i in range(len(runs))]
    return bca(resampled, observed, left_out, expanded_level(level, runs))


def _without_each_of(data_set: int, runs: Sequence[int]) -> list[np.ndarray]:
    """Numbers of runs of every set, with each run of one set left out in turn."""
    count = runs[data_set]
    picks = [np.broadcast_to(np.arange(one), (count, one)) for one in runs]
    picks[data_set] = np.array([np.delete(np.arange(count), i) for i in range(count)])
    return picks


def _interquartile_means(values: np.ndarray) -> np.ndarray:
    """(draws, runs) -> (draws,)."""
    cut = values.shape[1] // 4
    return np.sort(values, axis=1)[:, cut : values.shape[1] - cut].mean(axis=1)


def _shares_better(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(draws, runs), (draws, runs) -> (draws,): of all pairs, those in which b is higher; ties half."""
    above = np.sign(b[:, :, None] - a[:, None, :])
    return (above.mean(axis=(1, 2)) + 1) / 2


def _checked(scores: Scores) -> list[np.ndarray]:
    sets = [np.asarray(one, dtype=np.float64) for one in scores]
    if not sets or any(one.ndim != 1 or one.size == 0 or not np.isfinite(one).all() for one in sets):
        raise UsageError(
            f"scores have the shapes {[one.shape for one in sets]}; "
            "one finite (runs,) array a data set is wanted"
        )
    return sets


def _paired(baseline: Scores, variant: Scores) -> list[tuple[np.ndarray, np.ndarray]]:
    a, b = _checked(baseline), _checked(variant)
    if [len(one) for one in a] != [len(one) for one in b]:
        raise UsageError(
            f"{[len(one) for one in a]} and {[len(one) for one in b]} runs a data set; "
            "paired scores need the same runs on the same data sets"
        )
    return list(zip(a, b, strict=True))
