"""Answers beside the network's own, for the loss alone: auxiliary classifiers (Szegedy et al. 2015, 2016).

Whoever minimises asks for them around one forward; a head inside the network then gives its logits and the
weight of their loss. Nobody asks, nothing is computed, and no module keeps a tensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Beside:
    """Logits (B*T, K), clip by clip in order of time, and the weight of their loss."""

    logits: Tensor
    weight: float


_asked: ContextVar[list[Beside] | None] = ContextVar("timelift_auxiliary", default=None)


@contextmanager
def auxiliary_answers() -> Iterator[list[Beside]]:
    """The scope of a forward in which auxiliary heads answer: the list fills as they do."""
    given: list[Beside] = []
    token = _asked.set(given)
    try:
        yield given
    finally:
        _asked.reset(token)


def is_asked() -> bool:
    """Whether a head's answer has a taker."""
    return _asked.get() is not None


def answer_beside(logits: Tensor, weight: float) -> None:
    """Give a head's answer to whoever asked."""
    given = _asked.get()
    if given is not None:
        given.append(Beside(logits, weight))
