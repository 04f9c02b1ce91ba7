"""Labelled videos as clips: drawn anew each epoch for training, fixed views for judging."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from timelift.data import flow_vectors, transforms
from timelift.data.frames import FrameSource
from timelift.data.sampling import (
    clip_indices,
    clip_span,
    even_starts,
    in_stacks,
    middle_start,
    random_start,
    sliding_starts,
)
from timelift.records import ClipFormat, DataError, Manifest, Recipe, UsageError, Video, Views

_CROPS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "centre": lambda frames, size: transforms.centre_crop(frames, size)[None],
    "three": transforms.three_crops,
    "ten": transforms.ten_crops,
}


class TrainClips(Dataset):
    """One augmented clip a video; what is drawn depends on seed, epoch and the video's name alone."""

    def __init__(self, manifest: Manifest, recipe: Recipe, seed: int, frames: FrameSource):
        """Clips of all videos of the manifest, for epoch 0 until `set_epoch` says otherwise.

        Raises:
            DataError: if a video was not scanned, or has no frames.
        """
        _check_scanned(manifest)
        self.manifest = manifest
        self.recipe = recipe
        self.seed = seed
        self.frames = frames
        self.epoch = 0

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.manifest.videos)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next clips are drawn for."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        """The clip (C, T, H, W) uint8 and its class index; C is the clip format's `in_channels`.

        Under balanced sampling index i + k * len(self) is the k-th repeat of video i, augmented otherwise.
        """
        repeat = 0
        if self.recipe.training.sampling == "balanced":
            repeat, index = divmod(index, len(self))
        video = self.manifest.videos[index]
        augmentation, clip_format = self.recipe.augmentation, self.recipe.clip
        span = clip_span(clip_format.frames, clip_format.stride, clip_format.stack)
        start = middle_start(video.frames, span)
        if not augmentation.is_still:
            rng = video_rng(video, self.seed, self.epoch, *([repeat] if repeat else []))
            # drawn even where it is not used: what is drawn after it stays the same
            drawn_start = random_start(video.frames, span, rng)
            start = drawn_start if augmentation.temporal_jitter else start
        frames = transforms.readied(
            self.frames.frames(video, _indices(video, clip_format, start)), clip_format
        )
        drawn = transforms.unmoved(clip_format, frames.shape[1:3])
        if not augmentation.is_still:
            drawn = transforms.draw(augmentation, clip_format, rng, frames.shape[1:3])
        clip = torch.from_numpy(transforms.apply(drawn, frames))  # (T, H, W, C)
        return clip.permute(3, 0, 1, 2), target(self.manifest, video)


class EvaluationClips(Dataset):
    """All views of every video: the recipe's clips, each in the recipe's crops."""

    def __init__(self, manifest: Manifest, recipe: Recipe, frames: FrameSource):
        """Views of all videos of the manifest.

        Raises:
            UsageError: if the recipe's views are not possible.
            DataError: if a video was not scanned, or has no frames.
        """
        _check_views(recipe.views)
        _check_scanned(manifest)
        self.manifest = manifest
        self.recipe = recipe
        self.frames = frames

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.manifest.videos)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        """The views (V, C, T, H, W) uint8, clip by clip, and the class index; sliding, V differs by video."""
        crops, places, label = self.overlapping(index)
        first = torch.arange(len(crops))[:, None] * crops.shape[1]  # of each crop's frames
        frames = crops.permute(0, 1, 3, 4, 2).flatten(0, 1)  # (crops * N, H, W, C), as they lie in memory
        views = frames[places[:, None] + first].flatten(0, 1)  # (V, T, H, W, C)
        return views.permute(0, 4, 1, 2, 3), label

    def overlapping(self, index: int) -> tuple[Tensor, Tensor, int | Tensor]:
        """Every frame of the views once, where the clips' frames stand among them, and the class index.

        (crops, N, C, H, W) uint8 and (clips, T); of optical flow in stacks, a frame is a stack.
        """
        video, clip = self.manifest.videos[index], self.recipe.clip
        clips = np.array(view_indices(video, self.recipe))
        stacks, places = np.unique(clips.reshape(-1, clip.stack), axis=0, return_inverse=True)
        wanted = np.unique(stacks)
        frames = transforms.readied(self.frames.frames(video, wanted.tolist()), clip)
        crops = _CROPS[self.recipe.views.crops](frames, clip.size)  # (crops, n, H, W, C)
        if clip.stack > 1:
            crops = flow_vectors.stacked(crops[:, np.searchsorted(wanted, stacks.ravel())], clip.stack)
        each = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 1, 4, 2, 3)
        return each, torch.from_numpy(places.reshape(len(clips), -1)), target(self.manifest, video)


class WholeVideos(Dataset):
    """Every video from its first frame to its last, every `stride`-th of them, uncropped.

    A video of more than `most_frames` of these comes as several views of that many, evenly spread; one of
    fewer than a clip's frames is repeated at its end.
    """

    def __init__(self, manifest: Manifest, recipe: Recipe, frames: FrameSource, most_frames: int = 256):
        """Whole videos of the manifest.

        Raises:
            UsageError: for fewer than a clip's frames at once.
            DataError: if a video was not scanned, or has no frames.
        """
        if most_frames < recipe.clip.frames:
            raise UsageError(
                f"{most_frames} frames at once: at least a clip's {recipe.clip.frames} are wanted"
            )
        _check_scanned(manifest)
        self.manifest = manifest
        self.recipe = recipe
        self.frames = frames
        self.most_frames = most_frames

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.manifest.videos)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        """The views (V, C, T, H, W) uint8 and the class index; T, H and W differ by video.

        Of optical flow, T counts stacks of fields.
        """
        video = self.manifest.videos[index]
        windows = whole_indices(video.frames, self.recipe.clip, self.most_frames)
        wanted = sorted({frame for window in windows for frame in window})
        frames = transforms.readied(self.frames.frames(video, wanted), self.recipe.clip)
        views = np.stack([frames[np.searchsorted(wanted, window)] for window in windows])
        stacks = flow_vectors.stacked(views, self.recipe.clip.stack)
        return torch.from_numpy(stacks).permute(0, 4, 1, 2, 3), target(self.manifest, video)


def whole_indices(video_frames: int, clip: ClipFormat, most_frames: int) -> list[list[int]]:
    """The frames of each view of a whole video: 10 frames, stride 3, 4 at once -> [[0, 3, 6, 9]]."""
    every = list(range(0, video_frames, clip.stride))
    windows = [every + every[-1:] * (clip.frames - len(every))]
    if len(every) > most_frames:
        starts = even_starts(len(every), most_frames, -(-len(every) // most_frames))
        windows = [every[start : start + most_frames] for start in starts]
    return [in_stacks(window, clip.stack, video_frames) for window in windows]


def target(manifest: Manifest, video: Video) -> int | Tensor:
    """The class index of a video; where it may show several, (classes,) float of 1 and 0."""
    if not manifest.separator:
        return manifest.label_index(video)
    shown = torch.zeros(len(manifest.classes))
    shown[list(manifest.targets(video))] = 1.0
    return shown


def view_indices(video: Video, recipe: Recipe) -> list[list[int]]:
    """The frame indices of every clip that the video is judged by."""
    span = clip_span(recipe.clip.frames, recipe.clip.stride, recipe.clip.stack)
    if recipe.views.clips == 0:
        starts = sliding_starts(video.frames, span, recipe.views.window_stride)
    else:
        starts = even_starts(video.frames, span, recipe.views.clips)
    return [_indices(video, recipe.clip, start) for start in starts]


def video_rng(video: Video, *numbers: int) -> np.random.Generator:
    """A generator of its own for a video and some numbers (a seed, an epoch), whichever process asks."""
    name = int.from_bytes(hashlib.sha256(video.name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([*numbers, name])))


def _indices(video: Video, clip_format: ClipFormat, start: int) -> list[int]:
    return clip_indices(video.frames, clip_format.frames, clip_format.stride, start, clip_format.stack)


def _check_views(views: Views) -> None:
    evenly = views.clips > 0 and views.window_stride == 0
    sliding = views.clips == 0 and views.window_stride > 0
    if not evenly and not sliding:
        raise UsageError(
            f"views of clips={views.clips}, window_stride={views.window_stride}: give clips of 1 or more "
            "with window_stride=0, or clips=0 with window_stride of 1 or more"
        )


def _check_scanned(manifest: Manifest) -> None:
    bad = [video for video in manifest.videos if video.frames < 1]
    if not bad:
        return
    first, count = bad[0], f"{len(bad)} of {len(manifest.videos)} videos"
    if first.status == "unscanned":
        raise DataError(f"{count} not scanned, among them {first.path}: run `timelift scan` first")
    raise DataError(f"{count} without frames, among them {first.path} ({first.status}): leave them out")
