"""One trained network against one other on the same videos: nothing about training again."""

import numpy as np
from scipy import stats


def exact_mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided exact p (McNemar 1947) that two networks, as trained, are equally often right.

    a, b: (videos,) of 0 and 1. Videos count as independent of each other.
    """
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)
