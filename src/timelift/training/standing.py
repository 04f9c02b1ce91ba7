"""Where a run stands: everything that a checkpoint holds beside tensors."""

import dataclasses
from dataclasses import dataclass, field

from timelift.training.schedules import Plateau


@dataclass(frozen=True)
class EpochRow:
    """One finished epoch: a row of log.csv. Rates are those of its last step, 0 while a group is frozen."""

    epoch: int  # from 1
    step: int  # optimiser steps since the start
    learning_rate_new: float
    learning_rate_lifted: float
    learning_rate_kept: float
    loss: float  # mean over the training clips
    accuracy: float  # of the training clips, as they were seen
    validation_accuracy: float | None
    seconds: float  # of this epoch, validation included
    seconds_waiting: float = 0.0  # of these, for clips that were not there yet (0 in older logs)


@dataclass
class Standing:
    """Counts that move while the loop runs."""

    epoch: int = 1  # being trained, or the next
    step: int = 0  # optimiser steps of that epoch that are done
    taken: int = 0  # optimiser steps since the start
    loss: float = 0.0  # sum over the clips of this epoch so far
    hits: float = 0.0
    clips: int = 0
    seconds: float = 0.0
    waited: float = 0.0  # seconds of this epoch so far in which no clips were there
    best_accuracy: float | None = None
    best_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    stopped: bool = False  # early
    history: list[EpochRow] = field(default_factory=list)


def is_finished(standing: Standing, epochs: int) -> bool:
    """Whether nothing is left to train."""
    return standing.stopped or standing.epoch > epochs


def standing_to_dict(standing: Standing) -> dict:
    """Plain values that `parse_standing` reads back."""
    return dataclasses.asdict(standing)


def parse_standing(data: dict) -> Standing:
    """What `standing_to_dict` wrote."""
    plateau, history = Plateau(**data["plateau"]), [EpochRow(**row) for row in data["history"]]
    return Standing(**{**data, "plateau": plateau, "history": history})
