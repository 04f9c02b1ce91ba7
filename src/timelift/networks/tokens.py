"""Which norms of a network work on tokens: over the last dimension of (frames, ..., D), in the trunk.

Told by what reaches them in one forward of several frames: where windows are folded into the first dimension
(Swin), it is no longer the number of frames. Norms inside attention, on queries, keys or pooled answers, are
not of the trunk.
"""

import re

from torch import Tensor, nn

from timelift.conversions.tokens import norm_width

_NORM = re.compile(r"(?!\w*2d)\w*(Layer|R(MS|ms)|Simple)Norm\w*|Affine")  # timm's, torchvision's, PyTorch's
_ATTENTION = re.compile(r"\w*(Attention|Attn)\w*")


def token_norms(net: nn.Module) -> frozenset[nn.Module]:
    """The norms over a last dimension that stand outside attention."""
    attention = tuple(
        f"{name}." for name, m in net.named_modules() if name and _ATTENTION.fullmatch(type(m).__name__)
    )
    return frozenset(
        module
        for name, module in net.named_modules()
        if _NORM.fullmatch(type(module).__name__)
        and not list(module.children())
        and not name.startswith(attention)
        and norm_width(module) is not None
    )


def are_tokens(norm: nn.Module, taken: Tensor, frames: int) -> bool:
    """Whether what a norm took is (frames, ..., D), D the width that it normalises."""
    return taken.dim() >= 3 and len(taken) == frames and taken.shape[-1] == norm_width(norm)


def token_size(tokens: Tensor) -> tuple[int, int]:
    """(frames, N, D) -> (N, 1); (frames, H, W, D) -> (H, W)."""
    return tokens.shape[1], tokens.shape[2:-1].numel()
