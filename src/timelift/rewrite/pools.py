"""Pools through time, as pools over the columns of (T, H*W): a 3-D one in two, on frames and through time.

PyTorch's max_pool3d is 10 to 20 times slower than max_pool2d in channels-last, and has the same answers: the
maximum of maxima, and where several frames hold it the gradient goes to the first.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from timelift.clip import fold_places, unfold_places
from timelift.rewrite.steps import Steps


def max_through_time(clip: Tensor, frames: int, steps: Steps) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T', H, W): each window's largest; repeated frames change no maximum."""
    columns, before = fold_places(clip), steps.before
    if steps.before != steps.after:  # max_pool2d pads both sides alike
        lowest = torch.full_like(columns[:, :, :1], -torch.inf)
        columns, before = torch.cat([lowest] * before + [columns] + [lowest] * steps.after, dim=2), 0
    out = max_pool2d(columns, (frames, 1), (steps.stride, 1), (before, 0))
    return unfold_places(out, *clip.shape[3:])


def sum_through_time(clip: Tensor, frames: int, stride: int) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T', H, W): the sum of each window of a clip that is padded already."""
    out = avg_pool2d(fold_places(clip), (frames, 1), (stride, 1), divisor_override=1)
    return unfold_places(out, *clip.shape[3:])
