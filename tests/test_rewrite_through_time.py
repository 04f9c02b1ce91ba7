"""The convolution through time is PyTorch's conv3d on the padded clip: answers and both gradients."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from timelift.conversions.padding import amounts
from timelift.rewrite.steps import Steps
from timelift.rewrite.through_time import plain, through_time

PADDINGS = [("replicate", False), ("zeros", False), ("same", False), ("valid", False)]
PADDINGS += [("replicate", True), ("zeros", True), ("valid", True)]
CASES = [
    (padding, causal, slices, stride, length, groups)
    for (padding, causal), slices, stride, length, groups in itertools.product(
        PADDINGS, (1, 2, 3, 4, 7), (1, 2, 3), (1, 2, 5, 8), (1, 2)
    )
    if padding != "valid" or length >= slices
]


def drawn(slices, length, groups, dtype=torch.float64, channels_last=True, size=(3, 2)):
    generator = torch.Generator().manual_seed(slices + 10 * length)
    clip = torch.randn(2, 4, length, *size, generator=generator, dtype=dtype)
    weight = torch.randn(6, 4 // groups, slices, 1, 1, generator=generator, dtype=dtype)
    if channels_last:
        clip = clip.contiguous(memory_format=torch.channels_last_3d)
    return clip.requires_grad_(), weight.requires_grad_()


def oracle(clip, weight, steps, groups):
    """conv3d of the clip with its padding in place."""
    padded = F.pad(
        clip, (0, 0, 0, 0, steps.before, steps.after), mode="replicate" if steps.repeat else "constant"
    )
    return F.conv3d(padded, weight, stride=(steps.stride, 1, 1), groups=groups)


def assert_same(clip, weight, steps, groups, **tolerance):
    wanted, came = oracle(clip, weight, steps, groups), through_time(clip, weight, steps, groups)
    torch.testing.assert_close(came, wanted, **tolerance)
    gradient = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=wanted.dtype)
    torch.testing.assert_close(
        torch.autograd.grad(came, (clip, weight), gradient),
        torch.autograd.grad(wanted, (clip, weight), gradient),
        **tolerance,
    )


@pytest.mark.parametrize(("padding", "causal"), PADDINGS)
def test_it_is_conv3d_of_the_padded_clip(padding, causal):
    for case in CASES:
        if case[:2] == (padding, causal):
            slices, stride, length, groups = case[2:]
            steps = Steps(stride, *amounts(length, slices, stride, padding, causal), padding == "replicate")
            assert_same(*drawn(slices, length, groups), steps, groups)


@pytest.mark.parametrize(
    "size", [(1, 1), (5, 4), (9, 9)]
)  # the kernel's gradient: clip by clip, or all at once
@pytest.mark.parametrize("channels_last", [True, False])
def test_of_any_map_and_layout(size, channels_last):
    for repeat in (True, False):
        clip, weight = drawn(3, 4, 1, size=size, channels_last=channels_last)
        assert_same(clip, weight, Steps(1, 1, 1, repeat), 1)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, dict(atol=1e-5, rtol=1e-5)), (torch.bfloat16, dict(atol=0.2, rtol=0.05))],
)
def test_in_every_precision(dtype, tolerance):
    for repeat in (True, False):
        assert_same(*drawn(3, 5, 1, dtype), Steps(1, 1, 1, repeat), 1, **tolerance)


def test_a_clip_of_one_frame_needs_the_middle_slice_alone():
    clip, weight = drawn(3, 1, 1)
    with torch.no_grad():
        weight[:, :, ::2] = torch.nan
    came = through_time(clip, weight, Steps(1, 1, 1, repeat=False), 1)
    torch.testing.assert_close(came, F.conv3d(clip, weight[:, :, 1:2]))


def test_only_the_gradients_asked_for_are_made():
    clip, weight = drawn(3, 4, 1)
    steps = Steps(1, 1, 1, repeat=True)
    through_time(clip.detach(), weight, steps, 1).sum().backward()
    through_time(clip, weight.detach(), steps, 1).sum().backward()
    assert clip.grad is not None
    assert weight.grad is not None
    assert not through_time(clip.detach(), weight.detach(), steps, 1).requires_grad


def test_the_gradient_can_be_differentiated():
    clip, weight = drawn(3, 3, 1, size=(1, 2))
    steps = Steps(1, 1, 1, repeat=True)
    assert torch.autograd.gradgradcheck(lambda c, w: through_time(c, w, steps, 1), (clip, weight))


def test_under_autocast_it_is_in_its_precision():
    clip, weight = drawn(3, 4, 1, torch.float32)
    steps = Steps(1, 1, 1, repeat=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        came, wanted = through_time(clip, weight, steps, 1), oracle(clip, weight, steps, 1)
    assert came.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(came, wanted, atol=0.1, rtol=0.05)
    came.float().sum().backward()
    assert weight.grad.dtype == torch.float32


def test_several_networks_at_once_take_the_plain_form():
    clip, weight = drawn(3, 4, 1)
    steps = Steps(1, 1, 1, repeat=True)
    stacked = torch.stack([weight, 2 * weight])
    came = torch.func.vmap(lambda w: through_time(clip, w, steps, 1))(stacked)
    torch.testing.assert_close(came[1], 2 * oracle(clip, weight, steps, 1))


def test_the_plain_form_is_the_same():
    for repeat, after in itertools.product((True, False), (1, 2)):
        clip, weight = drawn(3, 4, 1)
        steps = Steps(1, 1, after, repeat)
        came = plain(clip.flatten(3), weight.squeeze(-1), steps, 1).unflatten(3, clip.shape[3:])
        torch.testing.assert_close(came, oracle(clip, weight, steps, 1))
