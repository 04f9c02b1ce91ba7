from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from timelift.data import transforms
from timelift.data.dataset import EvaluationClips, TrainClips, video_rng, view_indices
from timelift.data.sampling import even_starts, sliding_starts
from timelift.records import Augmentation, ClipFormat, DataError, Manifest, Recipe, UsageError, Video, Views

STILL = Augmentation(random_crop=False, flip=0.0, temporal_jitter=False)
CLIP = ClipFormat(frames=4, stride=3, short_side=12, size=8)


@dataclass(frozen=True)
class Noise:
    """A frame source whose frames are told apart by their content; it notes what it was asked for."""

    asked: list = field(default_factory=list)

    def frames(self, video, indices):
        self.asked.append((video.path, list(indices)))
        return np.stack([self.frame(video, index) for index in indices])

    def frame(self, video, index):
        rng = np.random.default_rng([index, *video.path.encode()])
        return rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)


def manifest(*frames):
    videos = [
        Video(path=f"a/{index}.avi", label="xyz"[index % 3], status="ok", frames=count)
        for index, count in enumerate(frames)
    ]
    return Manifest(root="/nowhere", classes=("x", "y", "z"), videos=tuple(videos))


def train_clips(augmentation=None, frames=(40, 25, 3, 60, 1), seed=0, epoch=1):
    recipe = Recipe(clip=CLIP, augmentation=augmentation or Augmentation(rotate_degrees=10))
    clips = TrainClips(manifest(*frames), recipe, seed, Noise())
    clips.set_epoch(epoch)
    return clips


def evaluation_clips(views, frames=(40, 25, 3, 60, 1)):
    return EvaluationClips(manifest(*frames), Recipe(clip=CLIP, views=views), Noise())


def content(clip):
    return clip.numpy().tobytes()


def test_a_training_clip_is_bytes_with_its_class():
    clips = train_clips()
    assert len(clips) == 5
    for index, wanted in enumerate((0, 1, 2, 0, 1)):
        clip, label = clips[index]
        assert clip.shape == (3, 4, 8, 8)
        assert clip.dtype == torch.uint8
        assert label == wanted


def test_without_augmentation_the_middle_clip_comes_in_its_centre():
    clips = train_clips(STILL, frames=(40,))
    clip, _ = clips[0]
    source, video = Noise(), clips.manifest.videos[0]
    frames = source.frames(video, [15, 18, 21, 24])  # 30 frames fit before and behind: 15 and 15
    expected = transforms.centre_crop(frames, 8).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(clip.numpy(), expected)


@pytest.mark.parametrize("name", [field.name for field in fields(Augmentation) if field.name != "crop_scale"])
def test_what_moves_a_clip_is_drawn_and_the_rest_needs_no_draw(name):
    moving = {"flip": 1.0, "random_crop": True, "temporal_jitter": True, "shuffle_frames": True}
    assert STILL.is_still
    assert not replace(STILL, **{name: moving.get(name, 0.5)}).is_still
    drawn = transforms.draw(STILL, CLIP, np.random.default_rng(0), (12, 15))
    assert drawn == transforms.unmoved(CLIP, (12, 15))


def test_with_jitter_every_start_comes_at_some_time():
    clips = train_clips(replace(STILL, temporal_jitter=True), frames=(14,))
    for epoch in range(60):
        clips.set_epoch(epoch)
        clips[0]
    starts = {indices[0] for _, indices in clips.frames.asked}
    assert starts == {0, 1, 2, 3, 4}
    assert all(np.diff(indices).tolist() == [3, 3, 3] for _, indices in clips.frames.asked)


def test_a_clip_depends_on_seed_epoch_and_video_alone():
    clips = train_clips(seed=3, epoch=2)
    expected = [content(clips[index][0]) for index in range(5)]
    backwards = [content(clips[index][0]) for index in reversed(range(5))]
    assert backwards[::-1] == expected
    fewer = train_clips(seed=3, epoch=2)
    fewer.manifest = fewer.manifest.with_videos(fewer.manifest.videos[2:])
    assert [content(fewer[index][0]) for index in range(3)] == expected[2:]
    for other in (train_clips(seed=4, epoch=2), train_clips(seed=3, epoch=1)):
        assert all(content(other[index][0]) != expected[index] for index in range(4))


def test_the_draws_are_the_same_in_every_process_and_on_every_machine():
    video = Video(path="a/Übung 1.avi", label="x")
    assert video_rng(video, 3, 1).bit_generator.random_raw() == 10377541831974310334


def test_videos_are_drawn_for_apart():
    clips = train_clips(replace(STILL, temporal_jitter=True), frames=(500,) * 30)
    for index in range(30):
        clips[index]
    assert len({indices[0] for _, indices in clips.frames.asked}) > 20


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_any_number_of_workers_gives_the_same_clips():
    clips = train_clips()
    here = DataLoader(clips, batch_size=2, num_workers=0)
    there = DataLoader(clips, batch_size=2, num_workers=2)
    batches = list(zip(here, there, strict=True))
    assert len(batches) == 3
    for (clip, label), (other_clip, other_label) in batches:
        assert torch.equal(clip, other_clip)
        assert torch.equal(label, other_label)


@pytest.mark.parametrize("crops", ["centre", "three", "ten"])
@pytest.mark.parametrize("clips", [1, 3])
def test_views_are_clips_by_crops(crops, clips):
    dataset = evaluation_clips(Views(clips=clips, crops=crops))
    cut = {"centre": transforms.centre_crop, "three": transforms.three_crops, "ten": transforms.ten_crops}
    for index, video in enumerate(dataset.manifest.videos):
        views, label = dataset[index]
        expected = []
        for start in even_starts(video.frames, 10, clips):
            frames = Noise().frames(video, [min(start + 3 * k, last(video, start)) for k in range(4)])
            crop = cut[crops](frames, 8)
            expected += [crop] if crops == "centre" else list(crop)
        np.testing.assert_array_equal(views.numpy(), np.stack(expected).transpose(0, 4, 1, 2, 3))
        assert label == index % 3


def last(video, start):
    """The last frame of the video that is a multiple of the stride from the start."""
    return start + (video.frames - 1 - start) // 3 * 3


def test_sliding_windows_differ_in_number_by_video():
    dataset = evaluation_clips(Views(clips=0, window_stride=4))
    for index, video in enumerate(dataset.manifest.videos):
        views, _ = dataset[index]
        assert len(views) == len(sliding_starts(video.frames, 10, 4))
    assert len(dataset[0][0]) == 9
    assert len(dataset[4][0]) == 1


def test_overlapping_clips_ask_for_each_frame_once():
    dataset = evaluation_clips(Views(clips=10, crops="three"), frames=(40,))
    dataset[0]
    ((_, indices),) = dataset.frames.asked
    wanted = view_indices(dataset.manifest.videos[0], dataset.recipe)
    assert indices == sorted({index for clip in wanted for index in clip})


@pytest.mark.parametrize(
    "views", [Views(clips=-1), Views(clips=0), Views(clips=2, window_stride=4), Views(window_stride=-1)]
)
def test_views_that_cannot_be_are_refused(views):
    with pytest.raises(UsageError, match="window_stride"):
        evaluation_clips(views)


@pytest.mark.parametrize(
    ("status", "words"), [("unscanned", "run `timelift scan`"), ("unreadable", r"1.avi \(unreadable\)")]
)
@pytest.mark.parametrize("dataset", [TrainClips, EvaluationClips])
def test_videos_without_frames_are_named_at_once(dataset, status, words):
    whole = manifest(5, 0, 5)
    videos = [replace(video, status=status) if not video.frames else video for video in whole.videos]
    arguments = (0, Noise()) if dataset is TrainClips else (Noise(),)
    with pytest.raises(DataError, match=words):
        dataset(whole.with_videos(videos), Recipe(clip=CLIP), *arguments)
