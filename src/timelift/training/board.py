"""TensorBoard event files, where the package `tensorboard` is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from timelift.training.standing import EpochRow


@contextmanager
def tensorboard(folder: Path, taken: int) -> Iterator[Any | None]:
    """A writer into `folder`, None without the package; a resumed run hides steps past `taken`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield None
        return
    # a thread writes now and then: waiting for it after every epoch would slow short epochs down
    with SummaryWriter(str(folder), purge_step=taken + 1 if taken else None, flush_secs=20) as writer:
        yield writer


def board_step(board: Any | None, taken: int, loss: float, rates: dict[str, float]) -> None:
    """One optimiser step: its loss and the groups' learning rates."""
    if board is not None:
        board.add_scalar("step/loss", loss, taken)
        for group, rate in rates.items():
            board.add_scalar(f"learning_rate/{group}", rate, taken)


def board_epoch(board: Any | None, row: EpochRow) -> None:
    """One epoch: loss and accuracies."""
    if board is not None:
        board.add_scalar("epoch/loss", row.loss, row.step)
        board.add_scalar("epoch/training_accuracy", row.accuracy, row.step)
        if row.validation_accuracy is not None:
            board.add_scalar("epoch/validation_accuracy", row.validation_accuracy, row.step)
