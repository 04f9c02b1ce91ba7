"""A trained network slid over one video: what it sees in every stretch of time."""

from pathlib import Path

import numpy as np
import torch

from timelift.data.decode import decode_frames
from timelift.data.examine import examine
from timelift.data.sampling import clip_indices, clip_span, sliding_starts
from timelift.data.tar_member import exists
from timelift.deploy.exported import ExportedModel
from timelift.deploy.optimize import OptimizedModel
from timelift.evaluation.predict import Answer, top_answers
from timelift.lifting import VideoModel
from timelift.records import DataError
from timelift.records.predictions import sigmoid, softmax

_FRAMES_AT_ONCE = 2048  # decoded and held in memory together


def answers_over_time(
    model: VideoModel | ExportedModel | OptimizedModel,
    path: Path,
    top: int,
    window_stride: int,
    device: torch.device,
) -> list[Answer]:
    """The top classes of windows of one clip each; window_stride in frames, 0: one clip's span.

    Raises:
        DataError: if the file is missing or no frame decodes.
    """
    if not exists(path):
        raise DataError(f"{path}: there is no such file")
    facts = examine(path)
    if facts.frames == 0:
        raise DataError(f"{path}: {facts.reason}")
    transform = model.transform
    clip = transform.clip
    span = clip_span(clip.frames, clip.stride, clip.stack)
    starts = sliding_starts(facts.frames, span, window_stride or span)
    probabilities = sigmoid if model.several_labels else softmax
    scores = []
    windows = [clip_indices(facts.frames, clip.frames, clip.stride, start, clip.stack) for start in starts]
    for block in _blocks(windows):
        wanted = sorted({index for window in block for index in window})
        frames = decode_frames(path, wanted, short_side=clip.short_side, channels=clip.channels)
        place = {index: i for i, index in enumerate(wanted)}
        for window in block:
            pixels = transform(frames[[place[index] for index in window]]).to(device)
            with torch.inference_mode():
                scores.append(probabilities(model(pixels)[0].float().cpu().numpy()))
    fps = facts.fps or 1.0
    stretches = [(start / fps, min(start + span, facts.frames) / fps) for start in starts]
    return top_answers(str(path), stretches, np.stack(scores), model.classes, top)


def _blocks(windows: list[list[int]]) -> list[list[list[int]]]:
    """Windows together, as long as their frames fit."""
    blocks: list[list[list[int]]] = [[]]
    for window in windows:
        if blocks[-1] and sum(map(len, blocks[-1])) + len(window) > _FRAMES_AT_ONCE:
            blocks.append([])
        blocks[-1].append(window)
    return blocks
