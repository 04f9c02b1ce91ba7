"""Which form of a convolution's backward is taken: a fixed rule, so that a run's numbers can be had again.

Measured with oneDNN 3.12, float32, channels-last, as the share of the time of PyTorch's own kernel gradient
(docs/performance.md). With AVX2 (Zen 3), one and two threads: Winograd 0.38 to 0.55 from 64 channels on; on
contiguous copies 0.5 to 0.8 elsewhere. With AVX-512 (Zen 4), where oneDNN has better kernels of its own:
Winograd 0.47 to 0.9 from 64 channels on, on all but the smallest maps; contiguous copies do not help.
Wherever nothing was measured, PyTorch's stand.
"""

from typing import Literal

import torch
from torch import Tensor

from timelift.rewrite.steps import Steps
from timelift.rewrite.winograd import tiles

Form = Literal["pytorch", "contiguous", "winograd"]


def kernel_gradient_form(
    maps: Tensor, kernel: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int
) -> Form:
    """Of the convolution of maps (B, C, (T,) H, W) with a kernel (C', C, (k,) h, w)."""
    processor = torch.backends.cpu.get_cpu_capability()
    filters, channels = kernel.shape[:2]
    if maps.dtype != torch.float32 or processor not in ("AVX2", "AVX512"):
        return "pytorch"
    if groups > 1 or filters * channels < 4096 or kernel.shape[-2:] == (1, 1):
        return "pytorch"
    pays = _pays_with_avx2 if processor == "AVX2" else _pays_with_avx512
    if kernel.shape[-2:] == (3, 3) and max(stride[-2:]) == max(dilation) == 1:
        number = maps.numel() // (channels * maps.shape[-2] * maps.shape[-1]) * tiles(*maps.shape[-2:])
        if pays(number, filters, channels):
            return "winograd"
    return "contiguous" if processor == "AVX2" else "pytorch"


def _pays_with_avx2(number: int, filters: int, channels: int) -> bool:
    """Whether the products over so many tiles outweigh what is made of the points."""
    return number >= filters * channels / (filters + channels) / 4


def _pays_with_avx512(number: int, filters: int, channels: int) -> bool:
    return min(filters, channels) >= 64 and number >= 48 and number * filters * channels >= 2_500_000


def depthwise_in_slices(clip: Tensor, kernel: Tensor, steps: Steps) -> bool:
    """Whether a depthwise kernel (C', 1, k, h, w) goes slice by slice over the clip; else by conv3d.

    Backward always: 3 to 5 times as fast. Forward alone conv3d is up to twice as fast with AVX2, in
    channels-last and with kernels of 3x3.
    """
    learns = torch.is_grad_enabled() and (clip.requires_grad or kernel.requires_grad)
    by_conv3d = torch.backends.cpu.get_cpu_capability() == "AVX2" and kernel.shape[-1] <= 3
    return learns or not by_conv3d
