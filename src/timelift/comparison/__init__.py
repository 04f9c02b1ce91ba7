"""Studies, pairing, statistics, verdicts: numpy and scipy, no torch."""

from timelift.comparison.family import compare_family
from timelift.comparison.paired import PairedDifference, compare_paired
from timelift.comparison.table import StudyTable, make_table, study_table
from timelift.comparison.table_text import to_csv, to_markdown

__all__ = [
    "PairedDifference",
    "StudyTable",
    "compare_family",
    "compare_paired",
    "make_table",
    "study_table",
    "to_csv",
    "to_markdown",
]
