"""Pools through time are a loop over windows; behind a spatial pool, PyTorch's 3-D pool, ties included."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from timelift.clip import fold, unfold
from timelift.conversions.padding import amounts
from timelift.rewrite.pools import max_through_time
from timelift.rewrite.steps import Steps

CASES = [
    (Steps(stride, *amounts(length, frames, stride, padding, False), padding == "replicate"), frames, length)
    for padding, frames, stride, length in itertools.product(
        ("replicate", "same", "valid"), (1, 2, 3, 4, 5), (1, 2, 3), (1, 2, 5, 8)
    )
    if padding != "valid" or length >= frames
]


def drawn(length, ties=False, dtype=torch.float64, size=(3, 2)):
    clip = torch.randn(2, 4, length, *size, generator=torch.Generator().manual_seed(length), dtype=dtype)
    clip = clip.relu() if ties else clip
    return clip.contiguous(memory_format=torch.channels_last_3d).requires_grad_()


def loop(clip, frames, steps):
    """Window by window, of the frames that are there."""
    length, answers = clip.shape[2], []
    for t in range(steps.outputs(length, frames)):
        first = t * steps.stride - steps.before
        seen = [i for i in range(first, first + frames) if 0 <= i < length]
        answers.append(clip[:, :, seen].amax(dim=2))
    return torch.stack(answers, dim=2)


def test_the_largest_is_that_of_a_loop_over_the_windows():
    for steps, frames, length in CASES:
        clip = drawn(length)
        came, wanted = max_through_time(clip, frames, steps), loop(clip, frames, steps)
        torch.testing.assert_close(came, wanted)
        weights = torch.randn_like(wanted)
        gradients = [torch.autograd.grad(answer, clip, weights)[0] for answer in (came, wanted)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2)])
def test_space_then_time_is_max_pool3d_with_its_gradient_where_values_are_equal(kernel, stride):
    clip, around = drawn(6, ties=True, size=(8, 7)), kernel // 2 if kernel == 3 else 0
    frames = F.max_pool2d(fold(clip), kernel, stride, around)
    came = max_through_time(unfold(frames, 2), kernel, Steps(stride, around, around, repeat=False))
    wanted = F.max_pool3d(clip, kernel, stride, around)
    assert torch.equal(came, wanted)
    weights = torch.randn_like(wanted)
    gradients = [torch.autograd.grad(answer, clip, weights)[0] for answer in (came, wanted)]
    torch.testing.assert_close(*gradients)


def test_a_pool_keeps_the_layout_of_the_clip():
    came = max_through_time(drawn(6, size=(4, 5)), 3, Steps(1, 1, 1, repeat=False))
    assert came.is_contiguous(memory_format=torch.channels_last_3d)
    assert fold(came).is_contiguous(memory_format=torch.channels_last)
