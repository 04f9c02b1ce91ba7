"""Streams against what is written without them: nn.Conv3d on kept frames, and 16 frames for each new one."""

from collections.abc import Callable
from itertools import cycle
from typing import Any, Literal

import torch
from torch import Tensor, nn

from timelift.bench.peer_calls import settled
from timelift.bench.rotation import Call
from timelift.conversions import Factorize
from timelift.conversions.temporal import TemporalConv
from timelift.deploy.frozen_stream import FrozenStream, optimize_stream
from timelift.deploy.stream import Stream
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import resnet
from timelift.systems import create_model

_FRAMES, _SIDE = 16, 112


def step_call(
    in_conv3d: Literal["nothing", "time", "all"], device: torch.device, optimized: bool = False
) -> Call:
    """One frame through a causal (2+1)D ResNet-18: as it is, or layers through time, or all, by conv3d."""
    factorize = Factorize(3, causal=True, start="random")
    video = seeded(lambda: lift(resnet(18, 400), factorize, example=torch.zeros(1, 3, 112, 112)))
    for module in video.modules():
        if isinstance(module, TemporalConv) and in_conv3d != "nothing":
            module.__class__ = Conv3dStep
        if isinstance(module, nn.Conv2d) and in_conv3d == "all":
            module.__class__ = Conv3dFrame
    return _streamed(video, device, optimized)


def rcn_stream_call(device: torch.device, optimized: bool = False) -> Call:
    """One frame through RCN-18 after another."""
    return _streamed(_rcn(), device, optimized)


def rcn_again_call(device: torch.device) -> Call:
    """16 frames through the same network."""
    video, clip = _rcn().to(device), _frames(device)

    def run() -> Tensor:
        with torch.inference_mode():
            return settled(video(clip))

    return Call(run, lambda: (run(),))


class Conv3dStep(TemporalConv):
    """A causal k x 1 x 1 convolution as one writes it without us: conv3d on the frames that were kept."""

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frame's answer, and the frames to keep."""
        first = clip[:, :, :1].expand(-1, -1, self.weight.shape[2] - 1, -1, -1)
        seen = torch.cat([first if past is None else past, clip], dim=2)
        return torch.conv3d(seen, self.weight, groups=self.groups), seen[:, :, clip.shape[2] :]


class Conv3dFrame(nn.Conv2d):
    """A 1 x k x k convolution of one frame, as a network of nn.Conv3d has it, in PyTorch's own layout."""

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        padding: Any = self.padding
        clip, kernel = frames.unsqueeze(2).contiguous(), self.weight.unsqueeze(2)
        return torch.conv3d(clip, kernel, self.bias, (1, *self.stride), (0, *padding)).squeeze(2)


def _streamed(video: VideoModel, device: torch.device, optimized: bool) -> Call:
    """Timed: one step of a stream that goes on; answered: the logits of 16 frames from the beginning."""
    frames = _frames(device).unbind(2)
    video = video.to(device)
    stream = optimize_stream(video, frames[0]).stream if optimized else Stream(video)
    again = cycle(frames)

    def answer() -> tuple[Tensor]:
        stream.reset()
        logits = [_logits(stream, frame) for frame in frames]
        return (logits[-1],)

    def run() -> None:
        settled(_logits(stream, next(again)))

    return Call(run, answer)


def _logits(stream: Stream | FrozenStream, frame: Tensor) -> Tensor:
    logits = stream.step(frame).clip_logits
    assert logits is not None  # these networks answer every frame
    return logits


def _rcn() -> VideoModel:
    return seeded(lambda: create_model("rcn_18", start="random"))


def _frames(device: torch.device) -> Tensor:
    return torch.randn(1, 3, _FRAMES, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(device)


def seeded(build: Callable[[], VideoModel]) -> VideoModel:
    """The network in eval, the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()
