"""The layers that every conversion is tried on: each stride, dilation, group and padding at least once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A layer to make, and the height and width of the maps that it gets."""

    build: Callable[[], nn.Conv2d]
    size: tuple[int, int]


class SamePadded(nn.Conv2d):
    """TensorFlow's SAME: pads by the input's size, the odd pixel last."""

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        totals = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(frames.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True)
        ]
        rows, columns = totals
        padded = nn.functional.pad(
            frames, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        )
        return nn.functional.conv2d(
            padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


class Standardised(nn.Conv2d):
    """Every filter brought to mean 0 and variance 1 before it convolves (Qiao et al. 2019)."""

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (var + 1e-6).sqrt()
        return self._conv_forward(frames, weight, self.bias)


class Gained(nn.Conv2d):
    """A learned factor on every answer."""

    def __init__(self, *arguments: int, **choices: int):
        super().__init__(*arguments, **choices)  # type: ignore[arg-type]
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, self.out_channels).view(-1, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return super().forward(frames) * self.gain


def cases() -> Iterator[tuple[str, Case]]:
    """Every layer with its name."""
    for text, build in _BUILDERS.items():
        sizes = [(9, 7), (8, 8)] if max(build().stride) > 1 else [(9, 7)]
        for size in sizes:
            yield f"{text} on {size[0]}x{size[1]}", Case(build, size)


_BUILDERS: dict[str, Callable[[], nn.Conv2d]] = {
    "Conv2d(4, 6, 1)": lambda: nn.Conv2d(4, 6, 1),
    "Conv2d(4, 6, 1, stride=2, bias=False)": lambda: nn.Conv2d(4, 6, 1, stride=2, bias=False),
    "Conv2d(4, 6, 3, padding=1)": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "Conv2d(4, 6, 3, bias=False)": lambda: nn.Conv2d(4, 6, 3, bias=False),
    "Conv2d(4, 6, 3, stride=2, padding=1)": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "Conv2d(4, 4, 5, stride=3, padding=2)": lambda: nn.Conv2d(4, 4, 5, stride=3, padding=2),
    "Conv2d(4, 6, 3, padding=2, dilation=2)": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "Conv2d(4, 6, 3, padding=1, groups=2)": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "Conv2d(4, 4, 3, padding=1, groups=4)": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "Conv2d(4, 8, 3, stride=2, padding=1, groups=4)": lambda: nn.Conv2d(
        4, 8, 3, stride=2, padding=1, groups=4
    ),
    "Conv2d(4, 6, 2)": lambda: nn.Conv2d(4, 6, 2),
    "Conv2d(4, 6, 4, stride=2, padding=1)": lambda: nn.Conv2d(4, 6, 4, stride=2, padding=1),
    "Conv2d(4, 6, (1, 5), padding=(0, 2))": lambda: nn.Conv2d(4, 6, (1, 5), padding=(0, 2)),
    "Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0))": lambda: nn.Conv2d(
        4, 6, (3, 1), stride=(2, 1), padding=(1, 0)
    ),
    "Conv2d(4, 6, 3, padding='same')": lambda: nn.Conv2d(4, 6, 3, padding="same"),
    "Conv2d(4, 6, 3, padding=1, padding_mode='reflect')": lambda: nn.Conv2d(
        4, 6, 3, padding=1, padding_mode="reflect"
    ),
    "SamePadded(4, 6, 3, stride=2)": lambda: SamePadded(4, 6, 3, stride=2),
    "SamePadded(4, 4, 5, groups=4)": lambda: SamePadded(4, 4, 5, groups=4),
    "Standardised(4, 6, 3, padding=1)": lambda: Standardised(4, 6, 3, padding=1),
    "Gained(4, 6, 3, padding=1)": lambda: Gained(4, 6, 3, padding=1),
}
