"""New videos like these, trained again: what the verdict promises, and what it keeps.

Every study has new videos and new seeds; the truth is the difference of expected accuracies over all videos.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from timelift.comparison.calibrate.criteria import Criterion, Row
from timelift.comparison.calibrate.expected import accuracy_on_new_videos
from timelift.comparison.calibrate.grown import ALPHA, LOOKS, grown, levels
from timelift.comparison.calibrate.these_videos import MARGIN, SIZES
from timelift.comparison.calibrate.verdicts import verdict_p
from timelift.comparison.family import holm_adjusted
from timelift.comparison.power import smallest_detectable
from timelift.comparison.simulate import World, answers, draw_test_sets, group_numbers
from timelift.comparison.twoway import components_of_sums, sums_by_group

EQUAL, AT_MARGIN, DETECTABLE = [0, 1, 2], 3, [4, 5, 6]
PILOTS = 200
CELLS = 500_000  # answers at a time
STEP = 500  # studies judged at a time


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What is decided with one number of seeds: p of (studies,), exact where it is ALPHA or less."""

    equal: np.ndarray  # (studies, 3)
    truth: np.ndarray  # of a true difference of the margin; the interval has it where p is above its level
    equivalent: np.ndarray  # there, of either end of the margin; 1 outside
    detectable: np.ndarray  # at the difference that studies of this size call just detectable; else empty


def group_sums(world: World, studies: int, worse: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Differences from a baseline, summed over groups: (studies, len(worse), runs, groups).

    worse: (variants,) how much less able each is than the baseline, in logits.
    """
    member, found = group_numbers(world), []
    step = max(CELLS // (LOOKS[-1] * len(member) * (1 + len(worse))), 1)
    for start in range(0, studies, step):
        logits = draw_test_sets(world, min(step, studies - start), 1 + len(worse), rng)
        logits[:, 1:] -= worse[:, None]
        right = sums_by_group(answers(world, logits, LOOKS[-1], rng), member)
        found.append(right[:, 1:] - right[:, :1])
    return np.concatenate(found)


def less_able(world: World, difference: float) -> float:
    """How much less able a variant is whose expected accuracy on new videos is less by `difference`."""
    wanted = accuracy_on_new_videos(world) - difference

    def excess(lag: float) -> float:
        return accuracy_on_new_videos(dataclasses.replace(world, ability=world.ability - lag)) - wanted

    return float(optimize.brentq(excess, 0.0, 30.0))


def detectable(world: World, rng: np.random.Generator) -> list[float]:
    """The smallest detectable difference that studies of each size state: the median of some."""
    sums, sizes = group_sums(world, PILOTS, np.zeros(1), rng)[:, 0], np.array(world.sizes)
    found = []
    for seeds in SIZES:
        parts = components_of_sums(sums[:, :seeds], sizes)
        each = [smallest_detectable(v, df, ALPHA) for v, df in zip(parts.variance, parts.df, strict=True)]
        found.append(float(np.median(each)))
    return found


def draw_verdicts(world: World, studies: int, rng: np.random.Generator) -> dict[int, Verdicts]:
    """Verdicts with each number of seeds in LOOKS, of studies that keep their videos as they grow."""
    differences = [0.0] * len(EQUAL) + [MARGIN, *detectable(world, rng)]
    worse = np.array([less_able(world, one) for one in differences])
    counts = [min(STEP, studies - start) for start in range(0, studies, STEP)]
    blocks = [judge(group_sums(world, count, worse, rng), np.array(world.sizes)) for count in counts]
    return {seeds: _joined([block[seeds] for block in blocks]) for seeds in LOOKS}


def judge(sums: np.ndarray, sizes: np.ndarray) -> dict[int, Verdicts]:
    """(studies, kinds, runs, groups), (groups,) -> with each number of seeds."""
    strictest = min(levels()) / len(EQUAL)

    def p(differences: np.ndarray) -> np.ndarray:
        return verdict_p(differences, sizes, strictest, ALPHA)

    found = {}
    for seeds in LOOKS:
        at_margin = sums[:, AT_MARGIN, :seeds]
        inside = np.abs(at_margin.sum(axis=(-2, -1)) / (seeds * sizes.sum())) < MARGIN
        truth, other = p(at_margin + MARGIN * sizes), p(at_margin - MARGIN * sizes)
        kinds = [kind for kind, size in zip(DETECTABLE, SIZES, strict=True) if size == seeds]
        found[seeds] = Verdicts(
            equal=p(sums[:, EQUAL, :seeds]),
            truth=truth,
            equivalent=np.where(inside, np.maximum(truth, other), 1.0),
            detectable=p(sums[:, kinds, :seeds]).reshape(-1),
        )
    return found


def _joined(blocks: list[Verdicts]) -> Verdicts:
    names = [field.name for field in dataclasses.fields(Verdicts)]
    return Verdicts(**{name: np.concatenate([getattr(one, name) for one in blocks]) for name in names})


def criteria(test_set: str, drawn: dict[int, Verdicts]) -> Iterator[Criterion]:
    """Every figure of the verdict on one kind of test set."""
    for seeds in SIZES:
        found, pair, family = drawn[seeds], Row(2, seeds, test_set), Row(4, seeds, test_set)
        adjusted = holm_adjusted(found.equal)
        yield pair.share("false better or worse", found.equal[:, 0] <= ALPHA, high=0.06)
        yield family.share("any false better or worse", (adjusted <= ALPHA).any(axis=1), high=0.06)
        yield pair.share("interval covers", found.truth > ALPHA, low=0.93)
        yield pair.share("found, at the smallest detectable difference", found.detectable <= ALPHA)
        for row, level in ((pair, ALPHA), (family, ALPHA / 3)):
            yield row.share("falsely equivalent, at the margin", found.equivalent <= level, high=0.06)
    yield from grown(test_set, {seeds: found.equal for seeds, found in drawn.items()})
