"""What is true in a simulated world: accuracies, and how much they vary over trainings, by quadrature."""

import dataclasses
import math

import numpy as np
from scipy import optimize

from timelift.comparison.simulate import World, group_numbers
from timelift.comparison.twoway import sums_by_group

STEPS = 12  # of Newton's method
POINTS, MASSES = np.polynomial.hermite_e.hermegauss(7)  # trainings differ little
WIDE_POINTS, WIDE_MASSES = np.polynomial.hermite_e.hermegauss(81)  # videos differ much
MASSES, WIDE_MASSES = MASSES / MASSES.sum(), WIDE_MASSES / WIDE_MASSES.sum()


def accuracy_on_new_videos(world: World) -> float:
    """Expected accuracy of any variant on videos that nobody has seen."""
    return float(WIDE_MASSES @ _chance(world.ability + world.luck * WIDE_POINTS))


def with_accuracy(world: World, accuracy: float) -> World:
    """The world, easier or harder, so that variants are right on this fraction of new videos."""

    def excess(ability: float) -> float:
        return accuracy_on_new_videos(dataclasses.replace(world, ability=ability)) - accuracy

    return dataclasses.replace(world, ability=optimize.brentq(excess, -20.0, 20.0, xtol=1e-13))


def accuracy_on(world: World, logits: np.ndarray) -> np.ndarray:
    """Expected accuracy on exactly these videos, over trainings: (..., videos) -> (...)."""
    return _mean_chances(logits, world.training_luck).mean(axis=-1)


def shift_to(world: World, logits: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Logits, (..., videos), moved together so that the expected accuracies are `accuracy`, (...)."""
    moved = np.array(logits)
    for _ in range(STEPS):
        chances = [_chance(moved + world.training_luck * point) for point in POINTS]
        found = sum(m * p.mean(axis=-1) for m, p in zip(MASSES, chances, strict=True))
        slope = sum(m * (p * (1 - p)).mean(axis=-1) for m, p in zip(MASSES, chances, strict=True))
        moved += np.clip((accuracy - found) / slope, -2.0, 2.0)[..., None]
    return moved


def worse_by(world: World, a: np.ndarray, b: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Logits of variants b, (n, videos), moved so that each is worse than a, (videos,), by its `deviations`.

    These, (n,), count in standard deviations of the difference of two runs, which change with the difference:
    it is found by the secant method.
    """
    best = accuracy_on(world, a)

    def missing(lag: np.ndarray) -> np.ndarray:
        return deviations * deviation_of_difference(world, a[None], shift_to(world, b, best - lag)) - lag

    before = np.zeros(len(deviations))
    missed = missing(before)
    lag = before + missed
    for _ in range(3):
        now = missing(lag)
        step = now * (lag - before) / np.where(now == missed, 1.0, now - missed)
        before, missed, lag = lag, now, lag - step
    return shift_to(world, b, best - lag)


def deviation_of_difference(world: World, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Standard deviation, over trainings, of the difference of two accuracies of one seed.

    a, b: (..., videos) -> (...).
    """
    together = _covariance(world, a, b) if world.seed else 0.0
    return np.sqrt(_variance(world, a) + _variance(world, b) - 2 * together)


def _variance(world: World, logits: np.ndarray) -> np.ndarray:
    """Of one run's accuracy on these videos: its answers', its luck with groups', and its own."""
    answers, by_groups, totals = np.zeros(logits.shape[:-1]), np.zeros(logits.shape[:-1]), []
    for point, mass in zip(POINTS, MASSES, strict=True):
        of_run = logits + math.hypot(world.seed, world.run) * point
        chances = _chance(
            of_run + world.run_group * POINTS.reshape(-1, *[1] * logits.ndim)
        )  # (points, ..., videos)
        answers += mass * np.tensordot(MASSES, (chances * (1 - chances)).sum(axis=-1), 1)
        sums = sums_by_group(chances, group_numbers(world))
        by_groups += mass * _spread(sums, MASSES).sum(axis=-1)
        totals.append(np.tensordot(MASSES, sums.sum(axis=-1), 1))
    return (answers + by_groups + _spread(np.array(totals), MASSES)) / logits.shape[-1] ** 2


def _covariance(world: World, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two variants' accuracies: what they share is the seed."""
    own = math.hypot(world.run, world.run_group)
    of_a, of_b = (
        np.array([_mean_chances(one + world.seed * point, own).mean(axis=-1) for point in POINTS])
        for one in (a, b)
    )
    product = np.tensordot(MASSES, of_a * of_b, 1)
    return product - np.tensordot(MASSES, of_a, 1) * np.tensordot(MASSES, of_b, 1)


def _spread(values: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Variance along the first axis."""
    return np.tensordot(masses, (values - np.tensordot(masses, values, 1)) ** 2, 1)


def _mean_chances(logits: np.ndarray, deviation: float) -> np.ndarray:
    chances = [mass * _chance(logits + deviation * point) for point, mass in zip(POINTS, MASSES, strict=True)]
    return np.sum(chances, axis=0)


def _chance(odds: np.ndarray) -> np.ndarray:
    """Logits -> probabilities."""
    return 1 / (1 + np.exp(-odds))
