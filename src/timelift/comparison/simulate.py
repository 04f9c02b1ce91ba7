"""Simulated studies, as predictions a video: who is right where, in which run.

What is difficult is shared. Beyond that every variant has its own luck with groups and videos, every seed its
luck that all variants share, and every run its own.
"""

import math
from dataclasses import dataclass

import numpy as np


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
    seed: float = 0.0  # run i of all variants
    run: float = 0.22
    run_group: float = 0.3  # beside the logistic noise of every answer

    @property
    def training_luck(self) -> float:
        """Standard deviation of all that another training would change."""
        return math.hypot(self.seed, self.run, self.run_group)

    @property
    def luck(self) -> float:
        """Standard deviation of all that another training or another video would change."""
        videos = (self.group, self.video, self.variant_group, self.variant_video)
        return math.hypot(self.training_luck, *videos)


def group_numbers(world: World) -> np.ndarray:
    """(videos,) the group of every video; videos of a group are neighbours."""
    return np.repeat(np.arange(len(world.sizes)), world.sizes)


def draw_test_sets(world: World, count: int, variants: int, rng: np.random.Generator) -> np.ndarray:
    """Logits of every variant on the videos of `count` new test sets: (count, variants, videos)."""
    member = group_numbers(world)
    groups, videos = len(world.sizes), len(member)
    shared = world.group * rng.standard_normal((count, 1, groups))[..., member]
    shared = shared + world.video * rng.standard_normal((count, 1, videos))
    own = world.variant_group * rng.standard_normal((count, variants, groups))[..., member]
    return world.ability + shared + own + world.variant_video * rng.standard_normal((count, variants, videos))


def answers(world: World, logits: np.ndarray, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Whether each run is right: (studies, variants, videos) -> (studies, variants, runs, videos) bool."""
    studies, variants, _ = logits.shape

    def luck(deviation: float, *shape: int) -> np.ndarray:
        return np.float32(deviation) * rng.standard_normal(shape, dtype=np.float32)

    trained = luck(world.seed, studies, 1, runs, 1) + luck(world.run, studies, variants, runs, 1)
    trained = trained + luck(world.run_group, studies, variants, runs, len(world.sizes))
    odds = np.repeat(trained, world.sizes, axis=-1)
    odds += logits[:, :, None].astype(np.float32)
    np.exp(-odds, out=odds)
    return (1 + odds) * rng.random(odds.shape, dtype=np.float32) < 1


def equal_variants(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Correctness of two variants of equal worth in one study: two of (runs, videos)."""
    a, b = answers(world, draw_test_sets(world, 1, 2, rng), world.runs, rng)[0].astype(np.float64)
    return a, b
