"""Early stop: which variants are hopeless, by validation accuracy alone. It saves runs, and is no verdict.

After every so many seeds a variant's runs are paired with the baseline's. It is stopped if it is worse by a
one-sided paired t test (Student 1908) at the round's share of the level. Round r may use level / (r (r + 1)):
however many rounds there will be, the shares add up to at most the level (Bonferroni). So a variant that is
no worse than the baseline on these validation videos is stopped with at most that chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison.wording import points
from timelift.records.errors import UsageError

FEWEST_PAIRS = 3


@dataclass(frozen=True)
class EarlyStop:
    """The rule, stated before the first run: a round every so many seeds, and the level of all together."""

    every: int = 5  # seeds
    level: float = 0.01

    def __post_init__(self):
        """Refuse what cannot be.

        Raises:
            UsageError: "early_stop.KEY: what came, what was wanted".
        """
        if self.every < FEWEST_PAIRS:
            raise UsageError(f"early_stop.every: {self.every} came; at least {FEWEST_PAIRS} seeds are wanted")
        if not 0 < self.level < 0.5:
            raise UsageError(
                f"early_stop.level: {self.level} came; a level between 0 and 0.5 is wanted, such as 0.01"
            )

    def level_at(self, seeds: int) -> float:
        """The level of the round after so many seeds."""
        number = seeds // self.every
        return self.level / (number * (number + 1))


@dataclass(frozen=True)
class Round:
    """What one round found about one variant."""

    seeds: int  # stated for the round
    pairs: int  # seeds that both have
    mean: float  # variant less baseline, validation accuracy; nan without pairs
    p: float  # one-sided: small if the variant is worse
    level: float

    @property
    def stops(self) -> bool:
        """Whether the variant is hopeless."""
        return self.p <= self.level

    def __str__(self) -> str:
        return (
            f"after {self.seeds} seeds {points(self.mean)} points from the baseline on validation videos "
            f"(one-sided paired t over {self.pairs} pairs: p = {self.p:.2g}; "
            f"this round stops at {self.level:.2g})"
        )


def judge_round(
    rule: EarlyStop, seeds: int, baseline: Mapping[int, float], variant: Mapping[int, float]
) -> Round:
    """The round after so many seeds, by those before it. baseline, variant: seed -> validation accuracy."""
    common = sorted(seed for seed in baseline.keys() & variant.keys() if seed < seeds)
    difference = np.array([variant[seed] - baseline[seed] for seed in common])
    mean = float(difference.mean()) if common else float("nan")
    return Round(seeds, len(common), mean, worse_p(difference), rule.level_at(seeds))


def worse_p(difference: np.ndarray) -> float:
    """One-sided p of the paired t test that (pairs,) differences are below 0 in the mean.

    1 under 3 pairs, and where all differ by the same: how much runs vary is then unknown.
    """
    if len(difference) < FEWEST_PAIRS or float(np.ptp(difference)) <= 1e-12:
        return 1.0
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return float(stats.t.cdf(difference.mean() / error, len(difference) - 1))
