"""What a layer remembers of a stream, where whether there was a frame before is itself a tensor.

In Python a state is None before the first frame. A step that is exported takes tensors alone: its states come
with one that says whether they hold yet, and both beginnings are in the one graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Since:
    """A state that holds once `begun`, a boolean tensor without dimensions, is true."""

    begun: Tensor
    state: Tensor


def since(
    state: Any, start: Callable[[], Tensor], then: Callable[[Tensor], Tensor] = lambda state: state
) -> Tensor:
    """`start()` before the first frame, `then(state)` behind it; state: a tensor, None or a Since."""
    if state is None:
        return start()
    if isinstance(state, Since):
        return torch.where(state.begun, then(state.state), start())
    return then(state)
