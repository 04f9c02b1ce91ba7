"""Studies that were looked at with 5, 10, ... 30 seeds as planned, and ended at the first verdict."""

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from timelift.comparison.calibrate.criteria import GROWN, Criterion, Row
from timelift.comparison.looks import nominal_levels

ALPHA, LOOKS = 0.05, (5, 10, 15, 20, 25, 30)


@cache
def levels() -> tuple[float, ...]:
    """Of every look, by Pocock's spending."""
    return tuple(nominal_levels(LOOKS, LOOKS[-1], ALPHA))


def grown(test_set: str, p: Mapping[int, np.ndarray]) -> Iterator[Criterion]:
    """How often any look errs: number of seeds -> p of (studies, equal variants)."""
    of_level = np.array([p[seeds] / level for seeds, level in zip(LOOKS, levels(), strict=True)])
    one, any_variant = of_level[:, :, 0] <= 1, of_level.min(axis=2) * of_level.shape[2] <= 1
    what = "false better or worse at any look"
    yield Row(2, GROWN, test_set).share(what, one.any(axis=0), high=0.06)
    yield Row(4, GROWN, test_set).share(what, any_variant.any(axis=0), high=0.06)
