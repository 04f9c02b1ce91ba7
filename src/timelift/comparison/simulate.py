"""How often each method calls two equal variants different: `python -m timelift.comparison.simulate`.

Two variants of equal worth answer the same test videos after training with the same seeds. What is difficult
is shared; beyond that every variant has its own luck with groups, videos and seeds. Any verdict is false.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison.twoway import components, t_p


@dataclass(frozen=True)
class World:
    """Standard deviations, in logits, of what decides whether a run is right on a video."""

    runs: int = 5
    sizes: tuple[int, ...] = (6,) * 14 + (5,) * 42  # videos of each group: 294 in 56
    ability: float = 1.2  # mean over everything: about 72 % right
    group: float = 1.0  # shared difficulty
    video: float = 1.5
    variant_group: float = 0.75  # a variant's own luck
    variant_video: float = 0.7
    run: float = 0.22
    run_group: float = 0.3  # beside the logistic noise of every answer


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


def group_numbers(world: World) -> np.ndarray:
    """(videos,) the group of every video."""
    return np.repeat(np.arange(len(world.sizes)), world.sizes)


def equal_variants(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two draws of (runs, videos) correctness from one world."""
    member = group_numbers(world)
    groups, videos = len(world.sizes), len(member)
    shared = world.ability + world.group * rng.standard_normal(groups)[member]
    shared = shared + world.video * rng.standard_normal(videos)
    a, b = (_variant(world, shared, member, rng) for _ in range(2))
    return a, b


def _variant(world: World, shared: np.ndarray, member: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    groups, videos = len(world.sizes), len(member)
    logits = shared + world.variant_group * rng.standard_normal(groups)[member]
    logits = logits + world.variant_video * rng.standard_normal(videos)
    runs = world.run * rng.standard_normal((world.runs, 1))
    on_groups = world.run_group * rng.standard_normal((world.runs, groups))[:, member]
    noise = rng.logistic(size=(world.runs, videos))
    return (logits + runs + on_groups + noise > 0).astype(np.float64)


def by_seeds(difference: np.ndarray, groups: np.ndarray) -> float:
    """P of the paired t test over runs."""
    runs = len(difference)
    means = difference.mean(axis=1)
    return t_p(means.mean(), means.var(ddof=1) / runs, runs - 1)


def by_video_bootstrap(difference: np.ndarray, groups: np.ndarray) -> float:
    """P of a bootstrap over videos as if independent, in the normal limit of many draws."""
    videos = difference.mean(axis=0)
    error = videos.std() / np.sqrt(len(videos))
    return float(2 * stats.norm.sf(abs(videos.mean()) / error)) if error > 0 else 1.0


def by_groups(difference: np.ndarray, groups: np.ndarray) -> float:
    """P with groups of videos as the only chance."""
    parts = components(difference, groups)
    return t_p(difference.mean(), parts.groups, parts.group_df)


def by_both(difference: np.ndarray, groups: np.ndarray) -> float:
    """P over seeds and groups of videos together: what verdicts use."""
    parts = components(difference, groups)
    return max(t_p(difference.mean(), parts.variance, parts.df), by_seeds(difference, groups))


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
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
    for _ in range(studies):
        a, b = equal_variants(world, rng)
        for name, method in METHODS.items():
            wrong[name] += method(b - a, groups) <= level
    return {name: count / studies for name, count in wrong.items()}


def main() -> None:
    """Print the table of false verdicts, with binomial standard errors, in percent."""
    parser = argparse.ArgumentParser(prog="python -m timelift.comparison.simulate", description=__doc__)
    parser.add_argument("--studies", type=int, default=4000, help="simulated studies a row")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    print("false verdicts, % +- standard error, at a level of 5 %")
    print(f"{'':42}" + "".join(f"{name:>18}" for name in METHODS))
    for name, world in WORLDS.items():
        rates = false_verdicts(world, told.studies, np.random.default_rng(told.seed))
        cells = (f"{100 * r:.1f} +- {100 * np.sqrt(r * (1 - r) / told.studies):.1f}" for r in rates.values())
        print(f"{name:42}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
