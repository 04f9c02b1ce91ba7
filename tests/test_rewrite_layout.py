"""Kernels lie as their gradients come: nothing is copied over after backward, and no number changes."""

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, seeded
from timelift import Factorize, Inflate, Recur, Shift, Transform, every, lift
from timelift.rewrite import convolution as module
from timelift.rewrite.layout import lay_out_kernels

CONVERSIONS = [
    Inflate(3),
    Inflate(2, causal=True),
    Factorize(3),
    Factorize(3, order="parallel"),
    Shift(every=3),
    Recur(),
]


class Scaled(nn.Conv2d):
    """A layer of somebody's own, who may count on its weights' layout."""


def kernels(network):
    return {name: p for name, p in network.named_parameters() if p.dim() >= 4 and p.shape[1] > 1}


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=repr)
def test_every_gradient_lies_as_its_kernel_does(conversion):
    video = lift(seeded(Tiny).float(), conversion @ every).train()
    lying = {}
    for name, kernel in kernels(video).items():
        kernel.register_hook(lambda gradient, name=name: lying.update({name: gradient.stride()}))
    clip = torch.randn(2, 3, 4, 20, 20, generator=torch.Generator().manual_seed(0))
    video(clip).square().mean().backward()
    for name, kernel in kernels(video).items():
        wide = [i for i, size in enumerate(kernel.shape) if size > 1]
        assert [lying[name][i] for i in wide] == [kernel.stride()[i] for i in wide], name


@pytest.mark.parametrize("axes", [2, 3])
def test_winograds_gradients_are_channels_last(axes):
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    size = (3,) * (axes - 2) + (9, 8)
    maps, answers = (torch.ones(2, channels, *size).contiguous(memory_format=layout) for channels in (6, 5))
    kernel, one = torch.ones(5, 6, *(3,) * axes), (1,) * axes
    gradient = module._winograd(answers, maps, kernel, (one, one, one))
    assert gradient.shape == kernel.shape
    assert gradient.is_contiguous(memory_format=layout)


def test_numbers_names_and_the_given_network_stay():
    net = seeded(Tiny).float()
    before = {name: (p, p.stride(), p.clone()) for name, p in net.named_parameters()}
    video = lift(net, Transform(3))
    assert all(p.stride() == stride and torch.equal(p, same) for p, stride, same in before.values())
    assert set(video.parameter_groups()) == {name for name, _ in video.named_parameters()}
    own = nn.Sequential(Scaled(4, 5, 3), nn.Conv2d(4, 5, 3), nn.Linear(3, 2), nn.Conv2d(3, 3, 3).to("meta"))
    tied = nn.Sequential(own[1], nn.Conv2d(4, 5, 3))
    tied[1].weight = own[1].weight
    parameters, numbers = list(own.parameters()), [p.clone() for p in own.parameters()]
    lay_out_kernels(own, (nn.Conv2d,))
    assert all(
        a is b and a.shape == n.shape for a, b, n in zip(own.parameters(), parameters, numbers, strict=True)
    )
    assert all(torch.equal(p, n) for p, n in zip(own[:3].parameters(), numbers[:6], strict=True))
    assert own[0].weight.is_contiguous()
    assert own[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert tied[0].weight is tied[1].weight


def test_a_lifted_network_on_frames_is_laid_out():
    video = lift(seeded(Tiny).float(), Inflate(3))
    of_kind = [m for m in video.modules() if type(m) is nn.Conv2d and m.weight.shape[1] > 1]
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in of_kind)
