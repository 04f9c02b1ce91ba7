"""Exactly these videos, trained again: what the paired t over runs promises, and what it keeps.

A study's truth is the difference of expected accuracies on its own test set. "Equal" variants differ in what
they have right and are moved until these expectations agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison.bootstrap import bca_interval, bootstrap_t_interval
from timelift.comparison.calibrate.criteria import Criterion, Row
from timelift.comparison.calibrate.expected import accuracy_on, shift_to, worse_by
from timelift.comparison.calibrate.grown import ALPHA, LOOKS, grown
from timelift.comparison.calibrate.verdicts import paired_t_p, seeds_p
from timelift.comparison.family import holm_adjusted
from timelift.comparison.power import power_of
from timelift.comparison.simulate import World, answers, draw_test_sets
from timelift.comparison.wording import plural

MARGIN = 0.02
SIZES = (5, 10, 30)
DEVIATIONS = np.array([1.0, 2.0, 3.0])
EQUAL, AS_DRAWN, WORSE, AT_MARGIN, KINDS = [0, 1, 2], 3, [4, 5, 6], 7, 8
STUDIES_A_SET = 20
BOOTSTRAPS, DRAWS = 2000, 999


@dataclass(frozen=True, eq=False)
class Studies:
    """Differences from the baseline of variants of every kind."""

    difference: np.ndarray  # (studies, kinds, runs) of accuracies
    truth: np.ndarray  # (studies, kinds)


def draw_studies(world: World, studies: int, rng: np.random.Generator) -> Studies:
    """Studies of 30 seeds, 20 on each of so many test sets."""
    differences, truths = [], []
    for _ in range(-(-studies // STUDIES_A_SET)):
        logits = _move(world, draw_test_sets(world, 1, 1 + KINDS, rng)[0])
        expected = accuracy_on(world, logits)
        found = np.array([_accuracies(world, logits, rng) for _ in range(STUDIES_A_SET)])
        differences.append(found[:, 1:] - found[:, :1])
        truths.append(np.tile(expected[1:] - expected[0], (STUDIES_A_SET, 1)))
    return Studies(np.concatenate(differences)[:studies], np.concatenate(truths)[:studies])


def _move(world: World, logits: np.ndarray) -> np.ndarray:
    """(1 + kinds, videos): the baseline stays."""
    moved, own = logits.copy(), logits[1:]
    best = accuracy_on(world, logits[0])
    others = moved[1:]
    others[EQUAL] = shift_to(world, own[EQUAL], np.full(len(EQUAL), best))
    others[WORSE] = worse_by(world, logits[0], own[WORSE], DEVIATIONS)
    others[AT_MARGIN] = shift_to(world, own[AT_MARGIN], best - MARGIN)
    return moved


def _accuracies(world: World, logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(variants, videos) -> (variants, runs)."""
    return answers(world, logits[None], LOOKS[-1], rng)[0].mean(axis=-1)


def criteria(test_set: str, drawn: Studies, rng: np.random.Generator) -> Iterator[Criterion]:
    """Every figure of the paired t over runs on one kind of test set."""
    for seeds in SIZES:
        part = Studies(drawn.difference[:, :, :seeds], drawn.truth)
        pair, family = Row(2, seeds, test_set), Row(4, seeds, test_set)
        yield from _errors(pair, family, part)
        yield from _power(pair, family, part)
        yield from _equivalence(pair, family, part)
        yield from _bootstraps(pair, part, rng)
    yield from grown(test_set, {n: paired_t_p(drawn.difference[:, EQUAL, :n]) for n in LOOKS})


def _errors(pair: Row, family: Row, drawn: Studies) -> Iterator[Criterion]:
    p = paired_t_p(drawn.difference)
    adjusted = holm_adjusted(p[:, EQUAL])
    one_worse = holm_adjusted(p[:, [WORSE[1], *EQUAL[:2]]])
    missed = paired_t_p(drawn.difference - drawn.truth[:, :, None])
    yield pair.share("false better or worse", p[:, 0] <= ALPHA, 0.035, 0.06)
    yield family.share("any false better or worse", (adjusted <= ALPHA).any(axis=1), high=0.06)
    yield family.share("the same, one truly worse", (one_worse[:, 1:] <= ALPHA).any(axis=1), high=0.06)
    yield pair.share("interval covers", missed[:, AS_DRAWN] > ALPHA, 0.93, 0.97)
    together = (missed[:, [AS_DRAWN, EQUAL[0], WORSE[1]]] > ALPHA / 3).all(axis=1)
    yield family.share("all intervals cover", together, low=0.93)
    if pair.seeds >= 10:
        flips = seeds_p(drawn.difference[:, 0], ALPHA)
        yield pair.share("false, by the sign-flip test", flips <= ALPHA, high=0.06)


def _power(pair: Row, family: Row, drawn: Studies) -> Iterator[Criterion]:
    p = paired_t_p(drawn.difference)
    for kind, deviations in zip(WORSE, DEVIATIONS, strict=True):
        effect, what = (
            deviations * np.sqrt(pair.seeds),
            f"found at {plural(int(deviations), 'standard deviation')}",
        )
        yield pair.share(what, p[:, kind] <= ALPHA, *_near(power_of(effect, pair.seeds - 1, ALPHA)))
        adjusted = holm_adjusted(p[:, [kind, *EQUAL[:2]]])[:, 0]
        expected = power_of(effect, family.seeds - 1, ALPHA / 3)
        yield family.share(what, adjusted <= ALPHA, *_near(expected))


def _near(power: float) -> tuple[float, float]:
    return max(power - 0.03, 1e-9), min(power + 0.03, 1.0)


def _equivalence(pair: Row, family: Row, drawn: Studies) -> Iterator[Criterion]:
    """At a true difference of exactly the margin, where "equivalent" is false."""
    difference = drawn.difference[:, AT_MARGIN]
    mean, error = difference.mean(axis=1), stats.sem(difference, axis=1)
    for row, level in ((pair, ALPHA), (family, ALPHA / 3)):
        reach = np.abs(mean) + stats.t.isf(level / 2, row.seeds - 1) * error
        yield row.share("falsely equivalent, at the margin", reach < MARGIN, high=0.06)


def _bootstraps(pair: Row, drawn: Studies, rng: np.random.Generator) -> Iterator[Criterion]:
    """For comparison: nothing is decided by these."""
    for name, interval in (("BCa", bca_interval), ("bootstrap-t", bootstrap_t_interval)):
        found = [interval(one, ALPHA, rng, DRAWS) for one in drawn.difference[:BOOTSTRAPS, AS_DRAWN]]
        lower, upper = np.array(found).T
        truth = drawn.truth[: len(found), AS_DRAWN]
        yield pair.share(f"{name} interval covers", (lower <= truth) & (truth <= upper))
