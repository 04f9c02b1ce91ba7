"""When a run was judged on validation videos while it trained, and how well it did: from its log.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.records.errors import DataError


@dataclass(frozen=True, eq=False)
class Checks:
    """One run's validations in order; empty where it had none."""

    accuracy: np.ndarray  # (checks,) fractions
    steps: np.ndarray  # (checks,) optimiser steps done by then
    seconds: np.ndarray  # (checks,) since the start, validations included

    def at(self, unit: str) -> np.ndarray:
        """(checks,) in "steps" or "seconds"."""
        return {"steps": self.steps, "seconds": self.seconds}[unit]


def read_checks(log: Path) -> Checks:
    """The validations in a run's log.csv, which has a line an epoch.

    Raises:
        DataError: naming the file, if it cannot be read, a column is missing or a value is no number.
    """
    try:
        with Path(log).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        checked = np.array([row["validation_accuracy"] not in ("", None) for row in rows], dtype=bool)
        accuracy = np.array([float(row["validation_accuracy"] or "nan") for row in rows])
        steps = np.array([float(row["step"]) for row in rows])
        seconds = np.cumsum([float(row["seconds"]) for row in rows])
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{log} is not the log of a run ({error!r}): train it again") from error
    return Checks(accuracy[checked], steps[checked], seconds[checked])
