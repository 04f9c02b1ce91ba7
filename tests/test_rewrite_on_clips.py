"""Convolutions of clips are PyTorch's conv3d on the padded clip: plain, depthwise, of single frames."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from timelift import Inflate
from timelift.conversions.padding import Window
from timelift.rewrite import on_clips
from timelift.rewrite.depthwise import depthwise
from timelift.rewrite.on_clips import convolution_on_clips
from timelift.rewrite.padding import pad_through_time
from timelift.rewrite.steps import Steps

PADDINGS = [("replicate", False), ("zeros", False), ("same", False), ("valid", False)]
PADDINGS += [("replicate", True), ("zeros", True), ("valid", True)]
SPACES = [((1, 1), (1, 1), (1, 1)), ((2, 2), (1, 1), (1, 1)), ((1, 2), (0, 2), (2, 1))]
KINDS = {"plain": (4, 6, 1), "depthwise": (4, 4, 4), "two filters a channel": (4, 8, 4), "groups": (4, 6, 2)}


def drawn(kind, slices, length, dtype=torch.float64):
    channels, filters, groups = KINDS[kind]
    generator = torch.Generator().manual_seed(slices + 10 * length)
    clip = torch.randn(2, channels, length, 7, 6, generator=generator, dtype=dtype)
    kernel = torch.randn(filters, channels // groups, slices, 3, 3, generator=generator, dtype=dtype)
    clip = clip.contiguous(memory_format=torch.channels_last_3d)
    return clip.requires_grad_(), kernel.requires_grad_(), groups


def oracle(clip, kernel, bias, space, steps, groups):
    """conv3d of the clip with its padding in place."""
    around = (0, 0, 0, 0, steps.before, steps.after)
    padded = F.pad(clip, around, mode="replicate" if steps.repeat else "constant")
    (sh, sw), (ph, pw), (dh, dw) = space
    return F.conv3d(padded, kernel, bias, (steps.stride, sh, sw), (0, ph, pw), (1, dh, dw), groups)


def assert_same(ours, *args, **tolerance):
    inputs = [t for t in args[:3] if t is not None]
    came, wanted = ours(*args), oracle(*args)
    torch.testing.assert_close(came, wanted, **tolerance)
    gradient = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=wanted.dtype)
    torch.testing.assert_close(
        torch.autograd.grad(came, inputs, gradient),
        torch.autograd.grad(wanted, inputs, gradient),
        **tolerance,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("padding", "causal"), PADDINGS)
def test_they_are_conv3d_of_the_padded_clip(kind, padding, causal):
    for slices, stride, length in itertools.product((1, 2, 3, 5), (1, 2), (1, 2, 5)):
        if padding == "valid" and length < slices:
            continue
        clip, kernel, groups = drawn(kind, slices, length)
        steps = Window(slices, stride, padding, causal).steps(clip)
        bias = torch.randn(len(kernel), dtype=clip.dtype, requires_grad=True) if stride == 1 else None
        space = SPACES[(slices + length) % 3]
        assert_same(convolution_on_clips, clip, kernel, bias, space, steps, groups)
        with torch.no_grad():
            came = convolution_on_clips(clip, kernel, bias, space, steps, groups)
            torch.testing.assert_close(came, oracle(clip, kernel, bias, space, steps, groups))


@pytest.mark.parametrize("kind", ["depthwise", "two filters a channel"])
@pytest.mark.parametrize(("stride", "repeat"), list(itertools.product((1, 2, 3), (True, False))))
def test_slices_of_depthwise_kernels_are_summed_where_they_belong(kind, stride, repeat):
    for slices, length in itertools.product((1, 2, 3, 5), (1, 2, 5, 8)):
        for before, after in itertools.product(range(slices), repeat=2):
            if length + before + after < slices:
                continue
            clip, kernel, groups = drawn(kind, slices, length)
            steps = Steps(stride, before, after, repeat)
            assert_same(lambda *a: depthwise(*a[:5]), clip, kernel, None, SPACES[0], steps, groups)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 4)])
def test_depthwise_kernels_may_be_larger_than_maps(size):
    clip, _, groups = drawn("depthwise", 3, 4)
    kernel = torch.randn(4, 1, 3, 5, 5, dtype=clip.dtype, requires_grad=True)
    clip = clip[..., : size[0], : size[1]].detach().requires_grad_()
    space = ((1, 1), (2, 2), (1, 1))
    assert_same(lambda *a: depthwise(*a[:5]), clip, kernel, None, space, Steps(1, 1, 1, True), groups)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_clip_of_one_frame_needs_the_middle_slice_alone(groups):
    clip, kernel, groups = drawn("plain" if groups == 1 else "depthwise", 3, 1)
    with torch.no_grad():
        kernel[:, :, ::2] = torch.nan
    came = convolution_on_clips(clip, kernel, None, SPACES[0], Steps(1, 1, 1, repeat=False), groups)
    torch.testing.assert_close(came, F.conv3d(clip, kernel[:, :, 1:2], None, 1, (0, 1, 1), 1, groups))


def test_depthwise_layers_that_learn_go_slice_by_slice(monkeypatch):
    called = []
    monkeypatch.setattr(on_clips, "depthwise", lambda *a: called.append(a) or depthwise(*a))
    layer = torch.nn.Conv2d(4, 4, 3, padding=1, groups=4)
    Inflate(3)(layer)(torch.randn(1, 4, 5, 6, 6))
    assert len(called) == 1
    Inflate(3)(torch.nn.Conv2d(4, 4, 3, padding=1, groups=2))(torch.randn(1, 4, 5, 6, 6))
    assert len(called) == 1


@pytest.mark.parametrize("repeat", [True, False])
def test_padding_has_the_gradient_of_pytorchs_and_the_layout_of_the_clip(repeat):
    clip, _, _ = drawn("plain", 3, 4)
    steps = Steps(1, 2, 1, repeat)
    came = pad_through_time(clip, steps)
    wanted = F.pad(clip, (0, 0, 0, 0, 2, 1), mode="replicate" if repeat else "constant")
    assert torch.equal(came, wanted)
    gradient = torch.randn_like(wanted)
    found, asked = (torch.autograd.grad(answer, clip, gradient)[0] for answer in (came, wanted))
    torch.testing.assert_close(found, asked)
    for tensor in (came, found):
        assert tensor.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.autograd.gradgradcheck(lambda c: pad_through_time(c, steps), clip[:1, :1, :, :2, :2])


@pytest.mark.parametrize("kind", ["plain", "depthwise"])
def test_in_half_precision_and_under_autocast(kind):
    clip, kernel, groups = drawn(kind, 3, 4, torch.float32)
    steps, bias = Steps(1, 1, 1, repeat=False), torch.randn(len(kernel), requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        came = convolution_on_clips(clip, kernel, bias, SPACES[0], steps, groups)
    assert came.dtype == torch.bfloat16
    torch.testing.assert_close(
        came.float(), oracle(clip, kernel, bias, SPACES[0], steps, groups), atol=0.2, rtol=0.05
    )
    came.float().sum().backward()
    assert kernel.grad.dtype == bias.grad.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_several_networks_at_once(kind):
    clip, kernel, groups = drawn(kind, 3, 4)
    steps = Steps(1, 1, 1, repeat=True)
    came = torch.func.vmap(lambda k: convolution_on_clips(clip, k, None, SPACES[0], steps, groups))(
        torch.stack([kernel, 2 * kernel])
    )
    torch.testing.assert_close(came[1], 2 * oracle(clip, kernel, None, SPACES[0], steps, groups))
