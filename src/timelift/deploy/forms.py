"""Forms of one network held against each other: how far answers are apart, and which form is worth taking."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from timelift.records import UsageError

TOLERANCE = 1e-4  # in float32, of the largest answer
WORTH = 0.98  # of the time of a plainer form: less than this is taken for chance


def apart(pairs: Sequence[tuple[Any, Any]]) -> float:
    """The largest difference of what came from what was wanted, of the largest wanted; NaN if any is."""
    differences = torch.stack([(came - wanted).abs().max() for came, wanted in pairs])
    largest = torch.stack([wanted.abs().max() for _, wanted in pairs]).max()
    return float(differences.max() / largest.clamp_min(1e-30))


def too_far(difference: float, allowed: float = TOLERANCE) -> str:
    """Why a form that is so far off is left out; "" for one that is near enough."""
    if difference <= allowed:
        return ""
    return f"answers differ by {difference:.0e} of the largest, more than {allowed:.0e}"


def check_float32(video: nn.Module, *inputs: Tensor) -> None:
    """Raise a UsageError for weights or inputs in another number format."""
    tensors = (*inputs, *video.parameters(), *video.buffers())
    if {t.dtype for t in tensors if t.is_floating_point()} != {torch.float32}:
        raise UsageError("a network in float32, for inputs in float32, is optimized: call .float() first")


def until_done(run: Callable[[Tensor], object], given: Tensor) -> None:
    """One call, until the device has its answer: what a clock can be held to."""
    run(given)
    if given.device.type in ("cuda", "mps"):
        getattr(torch, given.device.type).synchronize()


@contextmanager
def full_float32() -> Iterator[None]:
    """Without the 10 bits of TF32 in which a GPU may compute: folded weights are rounded otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
