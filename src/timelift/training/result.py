"""How a training ended."""

from dataclasses import dataclass

from timelift.records import Optimisation
from timelift.training.standing import EpochRow, Standing


@dataclass(frozen=True)
class TrainResult:
    """How a training ended; the model itself holds the chosen weights."""

    selection: str  # "last epoch", or "best validation epoch 7 of 20"
    best_epoch: int  # whose weights were chosen, from 1
    history: tuple[EpochRow, ...]
    seconds: float  # of training and validation, summed over interruptions
    notes: tuple[str, ...]  # anything a reader of the report must know

    @property
    def seconds_waiting(self) -> float:
        """Of the seconds, those in which the network stood still because no clips were there."""
        return sum(row.seconds_waiting for row in self.history)


def conclude(at: Standing, choices: Optimisation, epochs: int, chosen: bool, notes: list[str]) -> TrainResult:
    """The result of a run that stands at its end; chosen: by the best validation accuracy."""
    last = at.history[-1].epoch
    if at.stopped:
        patience = choices.early_stopping_patience
        stop = f"stopped early after epoch {last} of {epochs}: no better validation accuracy"
        notes = [*notes, f"{stop} for {patience} epoch(s)"]
    selection, best = "last epoch", last
    if chosen:
        selection, best = f"best validation epoch {at.best_epoch} of {last}", at.best_epoch
    return TrainResult(selection, best, tuple(at.history), at.seconds, tuple(notes))
