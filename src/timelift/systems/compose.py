"""Heads that see the whole clip, and what is common to systems: lifted features, then a head."""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from timelift.lifting import VideoModel, mean_consensus
from timelift.networks.weights import load_strictly, with_channels
from timelift.records.errors import UsageError
from timelift.systems.system import State


def with_head(
    features: VideoModel,
    head: nn.Module,
    consensus: Callable[[Tensor], Tensor] = mean_consensus,
) -> VideoModel:
    """Lifted features (frames -> maps), then a head on what they give (frames -> (N, K)), as one network.

    The head's tensors are new. What mixes time in the head comes as `Clipwise(module on clips, name)`.
    """
    net = nn.Sequential(OrderedDict(features=features.image_net, head=head))
    count = sum(parameter.numel() for parameter in head.parameters())
    receipt = dataclasses.replace(
        features.receipt,
        parameters_before=features.receipt.parameters_before + count,
        parameters_after=features.receipt.parameters_after + count,
    )
    model = VideoModel(net, receipt, {}, consensus)
    old = {f"image_net.features.{n.removeprefix('image_net.')}": g for n, g in features.groups.items()}
    model.groups = {name: old.get(name, "new") for name, _ in model.named_parameters()}
    return model


def all_new(model: VideoModel) -> VideoModel:
    """The same network with every tensor in the group "new": it starts from random weights as a whole."""
    model.groups = dict.fromkeys((name for name, _ in model.named_parameters()), "new")
    return model


def take_image_weights(net: nn.Module, state: State, last: str) -> tuple[str, ...]:
    """Load an image network's weights strictly; the names of the tensors that stay new.

    last: the name of the last layer, which stays new where its classes are others than the weights'. A kernel
    of RGB for a network of other input channels is fitted as `image_network` fits it.

    Raises:
        UsageError: naming the keys that are missing, too many, or of another shape.
    """
    own, tensors = net.state_dict(), dict(state)
    names = [f"{last}.{name}" for name, _ in net.get_submodule(last).named_parameters()]
    fresh = tuple(n for n in names if n not in tensors or tensors[n].shape != own[n].shape)
    tensors |= {name: own[name] for name in fresh}
    for name, kernel in tensors.items():
        if name in own and kernel.dim() == 4 and kernel.shape[1] == 3 != own[name].shape[1]:
            tensors[name] = with_channels(kernel, own[name].shape[1])
    load_strictly(net, tensors, "the image network's weights")
    return fresh


def with_new(model: VideoModel, names: tuple[str, ...]) -> VideoModel:
    """The same network with these tensors of its `image_net` in the group "new"."""
    model.groups = model.groups | {f"image_net.{name}": "new" for name in names}
    return model


class TimeToChannels(nn.Module):
    """(B, C, T, H, W) -> (B, C*T, 1, H, W): the head sees the whole clip as one map of T = `length`."""

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def forward(self, clip: Tensor) -> Tensor:
        """Stack the frames' channels.

        Raises:
            UsageError: for a clip of another length than the head was made for.
        """
        if clip.shape[2] != self.length:
            raise UsageError(
                f"the head takes {self.length} frame(s) after the pools and got {clip.shape[2]}: "
                "the network was made for clips of another length (frames=)"
            )
        return clip.flatten(1, 2).unsqueeze(2)


class TimeMean(nn.Module):
    """(B, C, T, H, W) -> (B, C, 1, H, W): the mean over time."""

    summarises = True  # of a stream: each answer is that of all frames so far, and takes the last one's place

    def forward(self, clip: Tensor) -> Tensor:
        """Average the frames."""
        return clip.mean(dim=2, keepdim=True)

    def advance(self, clip: Tensor, state: tuple[Tensor, int] | None) -> tuple[Tensor, tuple[Tensor, int]]:
        """The mean of a stream's frames so far, and itself with their number, in float32 at least."""
        exact = clip.to(torch.promote_types(clip.dtype, torch.float32)).mean(dim=2, keepdim=True)
        before, number = (exact, 0) if state is None else state
        number += clip.shape[2]
        mean = before + (exact - before) * (clip.shape[2] / number)
        return mean.to(clip.dtype, copy=True), (mean, number)
