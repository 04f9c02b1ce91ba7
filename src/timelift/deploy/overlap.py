"""OverlappingClips: clips of one video answered together, the work that they share done once."""

import torch
from torch import Tensor

from timelift.clip import Advancing, Clipwise
from timelift.deploy.edges import FlatBatch, Reach, flat_batch, reach_of, taken
from timelift.deploy.prefix import Prefix
from timelift.lifting import VideoModel


class OverlappingClips:
    """(N, C, H, W) frames and the places (V, T) of the clips' frames among them -> the clips' logits (V, K).

    What it answers is what `video(frames[places])` answers, within rounding. Up to the first layer that looks
    through time every frame is worked on once. From there on, too, but for a clip's edges, where every layer
    keeps the number of frames and sees only so many around its own. Other networks work on every clip there.
    """

    def __init__(self, video: VideoModel, frame: Tensor, length: int, at_once: int = 8):
        """For clips of `length` frames like this one, (1, C, H, W); so many clips' frames at once."""
        self.video = video
        self.prefix = Prefix(video, frame, length)
        self.reach = _reach(video, self.prefix.runs)
        self.length = length
        self.most_frames = at_once * length

    def __str__(self) -> str:
        if self.prefix.end is not None and not self.prefix.end.module:
            return "clips that overlap share all frames: the network sees each alone"
        if self.reach is not None and self._inside:
            first, last = self.reach.before, self.reach.behind
            return f"clips that overlap share all frames but each one's first {first} and last {last}"
        if self.prefix.end is not None:
            return (
                f"clips that overlap share the layers up to {self.prefix.end.module}, which see single frames"
            )
        return "clips that overlap share nothing: the network sees whole clips from its first layer on"

    def __call__(self, frames: Tensor, places: Tensor) -> Tensor:
        """The logits of every clip; equal clips are answered once."""
        different, which = torch.unique(places.cpu(), dim=0, return_inverse=True)
        parts = frames.contiguous(memory_format=torch.channels_last).split(self.most_frames)
        features = torch.cat([self.prefix.features(part) for part in parts])
        return self._answers(features, different, frames[:1])[which]

    @property
    def _inside(self) -> bool:
        return self.reach is not None and self.reach.before + self.reach.behind < self.length

    def _answers(self, features: Tensor, places: Tensor, frame: Tensor) -> Tensor:
        """(V, K), of as many clips together as fit."""
        flat = flat_batch(places, self.reach) if self.reach is not None else None
        needed = places.numel() if flat is None else len(flat.order)
        if needed > self.most_frames and len(places) > 1:
            halves = places.tensor_split(2)
            return torch.cat([self._answers(features, half, frame) for half in halves])
        if flat is None:
            rows = self.prefix.per_frame(taken(features, places.flatten()), len(places), frame)
        else:
            rows = self._shared(features, flat, frame)
        return self.video.consensus(rows)

    def _shared(self, features: Tensor, flat: FlatBatch, frame: Tensor) -> Tensor:
        """(V, T, K), by one pass over the flat batch."""
        with Advancing(flat):
            (each,) = self.prefix.per_frame(taken(features, flat.order), 1, frame)  # (M, K)
        return each[flat.places]


def _reach(video: VideoModel, runs: dict[str, int] | None) -> Reach | None:
    """Of all layers that look through time together; None where it has no end, or is not known."""
    if runs is None:
        return None
    before, behind = 0, 0
    for name, module in video.image_net.named_modules():
        if isinstance(module, Clipwise) and runs[name]:
            reach = reach_of(module)
            if reach is None:
                return None
            before, behind = before + runs[name] * reach.before, behind + runs[name] * reach.behind
    return Reach(before, behind)
