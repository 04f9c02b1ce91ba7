"""TokenConv: a convolution through time behind a norm of a network that works on tokens.

The residual branches of a transformer or an MLP network start at a norm over the last dimension. A depthwise
convolution through time behind it lets every token see itself in the frames around, as Factorize's does for
every pixel of a map (Xie et al. 2018, S3D): the same fold, the same identity start.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from timelift.clip import fold_tokens
from timelift.conversions.errors import ConversionError
from timelift.conversions.inflate import check_frames
from timelift.conversions.padding import Window, pad_time
from timelift.conversions.since import since
from timelift.conversions.temporal import identity_through_time, random_through_time
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class TokenConv:
    """The held norm, and behind it one filter of `frames` taps for each of its D channels.

    start: "identity" answers exactly what the norm answers; "random" draws the filters.
    Its place is `tokens`: `lift(net, TokenConv() @ tokens)`.
    """

    frames: int = 3
    start: Literal["identity", "random"] = "identity"
    causal: bool = False
    padding: Literal["replicate", "zeros"] = "replicate"

    stride = "none"  # tokens keep their number of frames: a residual path runs beside them
    __repr__ = typed

    def __post_init__(self):
        check_frames(self.frames)
        if self.start not in ("identity", "random"):
            raise ConversionError(f"start={self.start!r}: there are identity and random")
        if self.padding not in ("replicate", "zeros"):
            raise ConversionError(f"padding={self.padding!r}: there are replicate and zeros")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        kept = {"causal"} if self.causal or self.frames == 1 else set()
        return frozenset(kept | {"identity_start", "still_clip"} if self.start == "identity" else kept)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The norm and its filters, on token clips (B, T, ..., D).

        Raises:
            ConversionError: for a layer that is no norm over the last dimension.
        """
        width = norm_width(layer)
        if width is None:
            raise ConversionError(
                f"is a {type(layer).__name__}: TokenConv stands behind norms over the last dimension of "
                "tokens; write TokenConv() @ tokens"
            )
        like = next((p.detach() for p in layer.parameters() if p.is_floating_point()), torch.empty(0))
        if self.start == "random":
            taps = random_through_time(like, width, width, width, self.frames)
        else:
            taps = identity_through_time(like, width, width, self.frames, self.causal)
        return NormThenTime(copy.deepcopy(layer), taps.flatten(1), self.padding, self.causal)


def norm_width(layer: nn.Module) -> int | None:
    """D of a norm, or an affine map, over a last dimension of D; None for any other layer."""
    shape = getattr(layer, "normalized_shape", None)
    if shape is not None:
        return int(shape[-1]) if len(shape) == 1 else None
    own = list(layer.parameters(recurse=False))
    sizes = {p.numel() for p in own}
    along_the_last = all(p.dim() and p.shape[-1] == p.numel() for p in own)
    simple = not list(layer.children()) and not list(layer.buffers()) and not isinstance(layer, nn.Linear)
    return sizes.pop() if simple and along_the_last and len(sizes) == 1 else None


class NormThenTime(nn.Module):
    """(B, T, ..., D) -> (B, T, ..., D): the norm, then each channel convolved through time, weight (D, k)."""

    def __init__(self, norm: nn.Module, weight: Tensor, padding: Literal["replicate", "zeros"], causal: bool):
        super().__init__()
        self.norm = norm
        self.weight = nn.Parameter(weight)
        self.padding = padding
        self.causal = causal

    def forward(self, clip: Tensor) -> Tensor:
        """Every token with itself in the frames around."""
        normed = self._normed(clip)
        one_channel = normed.unsqueeze(1)  # (B, 1, T, ..., D): time where maps have it
        kernel = self.weight.shape[1]
        return self._convolved(pad_time(one_channel, kernel, 1, self.padding, self.causal).squeeze(1))

    @property
    def window(self) -> Window:
        """The frames that an answer sees."""
        return Window(self.weight.shape[1], padding=self.padding, causal=self.causal)

    def advance(self, clip: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        """The answer to the next piece of a clip, and what the one behind it needs: the last k - 1 frames.

        Raises:
            ConversionError: unless it is causal.
        """
        if self.window.behind:
            raise ConversionError("sees frames behind its own: an answer for good takes causal=True")
        kernel = self.weight.shape[1]
        normed = self._normed(clip)
        first = normed[:, :1] if self.padding == "replicate" else torch.zeros_like(normed[:, :1])
        before = since(state, lambda: torch.cat([normed[:, :0], *[first] * (kernel - 1)], dim=1))
        seen = torch.cat([before, normed], dim=1)
        return self._convolved(seen), seen[:, seen.shape[1] - (kernel - 1) :]

    def _normed(self, clip: Tensor) -> Tensor:
        return self.norm(fold_tokens(clip)).unflatten(0, clip.shape[:2])

    def _convolved(self, padded: Tensor) -> Tensor:
        kernel = self.weight.shape[1]
        length = padded.shape[1] - (kernel - 1)
        answer = padded[:, :length] * self.weight[:, 0]
        for i in range(1, kernel):
            answer = torch.addcmul(answer, padded[:, i : i + length], self.weight[:, i])
        return answer

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"{tuple(self.weight.shape)}, padding={self.padding!r}, causal={self.causal}"
