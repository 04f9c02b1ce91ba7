"""How often other methods would call two equal variants different on new videos, beside the verdict."""

from collections.abc import Callable

import numpy as np

from timelift.comparison.calibrate.verdicts import paired_t_p, verdict_p
from timelift.comparison.simulate import World, answers, draw_test_sets, group_numbers
from timelift.comparison.twoway import components, sums_by_group, t_p

WORLDS = {
    "5 seeds, 294 videos in 56 groups": World(),
    "... seeds matter most": World(run=0.5, variant_group=0.3),
    "... seeds matter nothing": World(run=0.0, run_group=0.0),
    "... groups matter most": World(variant_group=1.2, variant_video=1.0),
    "... nothing but noise": World(variant_group=0.0, variant_video=0.0, run=0.0, run_group=0.0),
    "3 seeds": World(runs=3),
    "10 seeds": World(runs=10),
    "30 seeds": World(runs=30),
    "5 seeds, 60 videos in 6 groups": World(sizes=(10,) * 6),
    "5 seeds, 282 videos in 47 unequal groups": World(sizes=(60, 40, 30) + (5,) * 20 + (2,) * 26),
    "30 seeds, the same": World(runs=30, sizes=(60, 40, 30) + (5,) * 20 + (2,) * 26),
    "5 seeds, 294 videos without groups": World(
        sizes=(1,) * 294, group=0.0, variant_group=0.0, run_group=0.0
    ),
}
STEP = 50  # studies at a time


def by_seeds(difference: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """P of the paired t test over runs: (..., runs, videos), (videos,) -> (...)."""
    return paired_t_p(difference.mean(axis=-1))


def by_video_bootstrap(difference: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """P of a bootstrap over videos as if independent, in the normal limit of many draws."""
    videos = difference.mean(axis=-2)
    return t_p(videos.mean(axis=-1), videos.var(axis=-1) / videos.shape[-1], np.inf)


def by_groups(difference: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """P with groups of videos as the only chance."""
    parts = components(difference, groups)
    return t_p(difference.mean(axis=(-2, -1)), parts.groups, parts.group_df)


def by_both(difference: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """P over seeds and groups of videos together: the verdict's."""
    _, member = np.unique(groups, return_inverse=True)
    return verdict_p(sums_by_group(difference, member), np.bincount(member), 0.05, 1.0)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "seeds": by_seeds,
    "video bootstrap": by_video_bootstrap,
    "groups": by_groups,
    "seeds + groups": by_both,
}


def false_verdicts(
    world: World, studies: int, rng: np.random.Generator, level: float = 0.05
) -> dict[str, float]:
    """Share of `studies` of two equal variants in which each method's p is at most `level`."""
    groups = group_numbers(world)
    wrong = dict.fromkeys(METHODS, 0)
    for start in range(0, studies, STEP):
        right = answers(world, draw_test_sets(world, min(STEP, studies - start), 2, rng), world.runs, rng)
        difference = right[:, 1].astype(np.float64) - right[:, 0]
        for name, method in METHODS.items():
            wrong[name] += int((method(difference, groups) <= level).sum())
    return {name: count / studies for name, count in wrong.items()}
