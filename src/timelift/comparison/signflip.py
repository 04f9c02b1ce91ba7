"""The exact sign-flip test of paired differences, and the interval that it implies.

Under the null a difference is as likely to be +d as -d (Fisher 1935). Turned around, it says which means the
runs allow: the means of all subsets of the differences cut the line into equally likely pieces (Hartigan
1969, "typical values"). Above `EXACT_RUNS` the subsets are drawn.
"""

from dataclasses import dataclass

import numpy as np

from timelift.comparison.twoway import Interval

EXACT_RUNS = 16
DRAWN_SUBSETS = 2**16 - 1


@dataclass(frozen=True, eq=False)
class SignFlip:
    """Subset means, sorted, of non-empty subsets of the runs; `total` counts the empty subset too."""

    means: np.ndarray
    total: int

    def p(self) -> float:
        """Two-sided p of a mean difference of 0; never below 2 / 2^runs."""
        tail = min(int((self.means <= 0).sum()), int((self.means >= 0).sum()))
        return min(1.0, 2 * (tail + 1) / self.total)

    def interval(self, level: float) -> Interval:
        """All means that the test does not reject at `level`; unbounded where it can reject none."""
        rank = int(level * self.total / 2 + 1e-9)  # 1e-9: 0.05 * 40 / 2 is 1, whatever floats say
        if rank == 0:
            return float("-inf"), float("inf")
        return float(self.means[rank - 1]), float(self.means[-rank])


def floor(runs: int) -> float:
    """The smallest p that the test can give: 2 / 2^runs."""
    return min(1.0, 2.0 ** (1 - runs))


def sign_flip(difference: np.ndarray, rng: np.random.Generator) -> SignFlip:
    """The test of (runs,) paired differences; `rng` draws subsets above `EXACT_RUNS` runs."""
    subsets = _all_subsets(len(difference)) if len(difference) <= EXACT_RUNS else _drawn(difference, rng)
    sums = subsets @ difference
    sums[np.abs(sums) <= 1e-12 * np.abs(difference).sum()] = 0.0  # ties that floats would break
    return SignFlip(means=np.sort(sums / subsets.sum(axis=1)), total=len(subsets) + 1)


def _all_subsets(runs: int) -> np.ndarray:
    """Every non-empty subset: (2^runs - 1, runs) of 0 and 1."""
    numbers = np.arange(1, 2**runs)
    return ((numbers[:, None] >> np.arange(runs)) & 1).astype(float)


def _drawn(difference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    subsets = rng.integers(2, size=(DRAWN_SUBSETS, len(difference))).astype(float)
    subsets[subsets.sum(axis=1) == 0, 0] = 1.0  # rarer than one in a thousand tables
    return subsets
