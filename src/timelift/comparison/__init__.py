"""Studies, pairing, statistics, verdicts: numpy and scipy, no torch."""

from timelift.comparison.family import compare_family
from timelift.comparison.paired import PairedDifference, compare_paired

__all__ = ["PairedDifference", "compare_family", "compare_paired"]
