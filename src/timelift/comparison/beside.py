"""What stands beside a verdict and decides nothing: on exactly these videos, trained again."""

from dataclasses import dataclass

import numpy as np

from timelift.comparison.bootstrap import bca_interval, bootstrap_t_interval
from timelift.comparison.paired import PairedDifference
from timelift.comparison.twoway import Interval

SEED = 0  # of the resamples: a page made again shows the same


@dataclass(frozen=True)
class Beside:
    """Bootstrap intervals of the mean difference at the verdict's level; nan under 5 runs."""

    bca: Interval
    bootstrap_t: Interval
    more_runs: str  # what could settle it: "12 more", "not runs alone"; "" where it is settled or unknown


def beside(result: PairedDifference) -> Beside:
    """Of one comparison, from its runs' differences."""
    each = np.array(result.differences)
    return Beside(
        bca=bca_interval(each, result.level, np.random.default_rng(SEED)),
        bootstrap_t=bootstrap_t_interval(each, result.level, np.random.default_rng(SEED)),
        more_runs=_more_runs(result),
    )


def _more_runs(result: PairedDifference) -> str:
    if result.verdict != "inconclusive" or result.videos is None or result.groups == 1:
        return ""
    if result.runs_to_settle is None:
        return "not runs alone"
    return f"{result.runs_to_settle - result.runs} more"
