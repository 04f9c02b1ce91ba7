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
BLOCK = 64  # studies at a time


@dataclass(frozen=True, eq=False)
class SignFlip:
    """Subset means, sorted, of non-empty subsets of the runs; `total` counts the empty subset too."""

    means: np.ndarray
    total: int

    def p(self) -> float:
        """Two-sided p of a mean difference of 0; never below 2 / 2^runs."""
        return float(_two_sided(self.means))

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
    subsets = _subsets(len(difference), rng)
    sums = _subset_sums(difference[None], subsets)[0]
    return SignFlip(means=np.sort(sums / subsets.sum(axis=1)), total=len(subsets) + 1)


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`SignFlip.p` of many studies, (studies, runs) -> (studies,); drawn subsets are the same for all."""
    subsets = _subsets(differences.shape[1], rng)
    blocks = np.array_split(differences, max(len(differences) // BLOCK, 1))
    return np.concatenate([_two_sided(_subset_sums(block, subsets)) for block in blocks])


def _two_sided(sums: np.ndarray) -> np.ndarray:
    """(..., non-empty subsets) -> (...): the p of 0 among them."""
    tail = np.minimum((sums <= 0).sum(axis=-1), (sums >= 0).sum(axis=-1))
    return np.minimum(1.0, 2 * (tail + 1) / (sums.shape[-1] + 1))


def _subset_sums(differences: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """(studies, runs), (subsets, runs) -> (studies, subsets)."""
    sums = differences @ subsets.T
    ties = 1e-12 * np.abs(differences).sum(axis=1, keepdims=True)
    sums[np.abs(sums) <= ties] = 0.0  # ties that floats would break
    return sums


def _subsets(runs: int, rng: np.random.Generator) -> np.ndarray:
    """Every non-empty subset, or drawn ones: (subsets, runs) of 0 and 1."""
    if runs > EXACT_RUNS:
        return _drawn(runs, rng)
    numbers = np.arange(1, 2**runs)
    return ((numbers[:, None] >> np.arange(runs)) & 1).astype(float)


def _drawn(runs: int, rng: np.random.Generator) -> np.ndarray:
    subsets = rng.integers(2, size=(DRAWN_SUBSETS, runs)).astype(float)
    subsets[subsets.sum(axis=1) == 0, 0] = 1.0  # rarer than one in a thousand tables
    return subsets
