"""How the scores of a video's views become one: their mean, or weighted by how sure each view is.

The sparsity concentration index is Wright et al. 2009's; Sun et al. 2015 (FstCN) fuse a video's clips by it.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Fusion = Literal["mean", "sci"]


def fused(probabilities: np.ndarray, fusion: Fusion) -> np.ndarray:
    """(..., M views, K) -> (..., K); a view of NaN is not there."""
    if fusion == "sci":
        return sci_fusion(probabilities)
    return np.nanmean(probabilities, axis=-2)


def sparsity_concentration_index(probabilities: ArrayLike) -> np.ndarray:
    """(..., K) -> (...): (K max p / sum p - 1) / (K - 1), 1 for one class alone and 0 for all alike.

    Of a single class, K = 1, it is 0.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    classes = p.shape[-1]
    return (classes * p.max(axis=-1) / p.sum(axis=-1) - 1) / max(classes - 1, 1)


def sci_fusion(probabilities: ArrayLike) -> np.ndarray:
    """(..., M, K) -> (..., K): the mean over M, each weighted by its sparsity concentration index.

    Where every index is 0, the plain mean. What holds NaN is not there.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    weights = sparsity_concentration_index(p)  # (..., M)
    there = ~np.isnan(weights)
    weights = np.where(there, np.maximum(weights, 0.0), 0.0)  # all alike may come out a rounding below 0
    total = weights.sum(axis=-1, keepdims=True)
    shares = np.where(total > 0, weights, there) / np.where(total > 0, total, there.sum(-1, keepdims=True))
    return np.nansum(p * shares[..., None], axis=-2)
