"""Pools through time, as pools over the columns of (T, H*W): a 3-D one in two, on frames and through time.

PyTorch's max_pool3d is 10 to 20 times slower than max_pool2d in channels-last, and has the same answers: the
maximum of maxima, and where several frames hold it the gradient goes to the first.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from timelift.rewrite.steps import Steps


def max_through_time(clip: Tensor, frames: int, steps: Steps) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T', H, W): each window's largest; repeated frames change no maximum."""
    columns, before = clip.flatten(3), steps.before
    if steps.before != steps.after:  # max_pool2d pads both sides alike
        lowest = torch.full_like(columns[:, :, :1], -torch.inf)
        columns, before = torch.cat([lowest] * before + [columns] + [lowest] * steps.after, dim=2), 0
    out = max_pool2d(columns, (frames, 1), (steps.stride, 1), (before, 0))
    return out.unflatten(3, clip.shape[3:])


def mean_through_time(clip: Tensor, frames: int, steps: Steps) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T', H, W): the mean of each window's frames, repeated ones but no others."""
    columns, stride = clip.flatten(3), (steps.stride, 1)
    if steps.before == steps.after and not steps.repeat:
        out = avg_pool2d(columns, (frames, 1), stride, (steps.before, 0), count_include_pad=False)
        return out.unflatten(3, clip.shape[3:])
    first, last = columns[:, :, :1], columns[:, :, -1:]
    if not steps.repeat:
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    padded = torch.cat([first] * steps.before + [columns] + [last] * steps.after, dim=2)
    out = avg_pool2d(padded, (frames, 1), stride, divisor_override=None if steps.repeat else 1)
    if not steps.repeat:
        out = out / _counts(clip, frames, steps).view(1, 1, -1, 1)
    return out.unflatten(3, clip.shape[3:])


def _counts(clip: Tensor, frames: int, steps: Steps) -> Tensor:
    """The frames of the clip in each window, (T',)."""
    starts = (
        torch.arange(steps.outputs(clip.shape[2], frames), device=clip.device) * steps.stride - steps.before
    )
    inside = (starts + frames).clamp(max=clip.shape[2]) - starts.clamp(min=0)
    return inside.to(clip.dtype)
