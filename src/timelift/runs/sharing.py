"""Clips of a video that overlap, judged with the work that they share done once."""

import torch
from torch import nn

from timelift.data.dataset import view_indices
from timelift.deploy.overlap import OverlappingClips
from timelift.lifting import VideoModel
from timelift.records import Manifest, Recipe, Video


def sharing(model: nn.Module, manifest: Manifest, recipe: Recipe) -> OverlappingClips | None:
    """What answers a video's clips together; None where those of no video overlap."""
    if not isinstance(model, VideoModel) or not any(_overlap(video, recipe) for video in manifest.videos):
        return None
    clip = recipe.clip
    like = next(model.parameters())
    frame = torch.zeros(1, clip.in_channels, clip.size, clip.size, device=like.device)
    return OverlappingClips(model, frame, clip.frames)


def _overlap(video: Video, recipe: Recipe) -> bool:
    clips = view_indices(video, recipe)
    return len({frame for clip in clips for frame in clip}) < sum(map(len, clips))
