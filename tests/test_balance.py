"""Classes of unequal size: balanced epochs and weighted losses against counting."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from timelift.data.dataset import TrainClips
from timelift.records import Manifest, Optimisation, Recipe, UsageError, Video
from timelift.training.balance import balanced_batches, balanced_weights, check_labels
from timelift.training.mixup import Mix
from timelift.training.objective import loss_and_hits
from timelift.training.order import drawn_anew, epoch_batches
from training_tiny import TinyClips, normalise, tiny_network, weights
from training_tiny import run as train

LABELS = [0] * 11 + [2] * 2 + [3] * 4  # class 1 has no clip


@pytest.mark.parametrize("batch", [1, 4, 17])
@pytest.mark.parametrize("epoch", [1, 2])
def test_every_class_comes_as_often_and_every_clip_of_it_in_turn(batch, epoch):
    plain = epoch_batches(len(LABELS), batch, 1, 5, epoch)
    batches = balanced_batches(plain, LABELS, 5, epoch)
    assert [len(one) for one in batches] == [len(one) for one in plain]
    clips = [clip for one in batches for clip in one]
    assert len(set(clips)) == len(clips)  # a repeat has a number of its own
    videos = [clip % len(LABELS) for clip in clips]
    of_class = Counter(LABELS[video] for video in videos)
    assert set(of_class) == {0, 2, 3}
    assert max(of_class.values()) - min(of_class.values()) <= 1
    times = Counter(videos)
    for label in of_class:
        own = [times[video] for video in range(len(LABELS)) if LABELS[video] == label]
        assert max(own) - min(own) <= 1


def test_an_epoch_is_drawn_from_seed_and_epoch_alone():
    plain = epoch_batches(len(LABELS), 4, 1, 0, 1)
    first = balanced_batches(plain, LABELS, 0, 1)
    assert balanced_batches(plain, LABELS, 0, 1) == first
    assert balanced_batches(plain, LABELS, 0, 2) != first
    assert balanced_batches(plain, LABELS, 1, 1) != first
    drawn = {clip for one in drawn_anew(first, 0, 1) for clip in one}
    assert drawn <= {clip for one in first for clip in one}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_weighted_loss_is_that_of_clips_that_come_so_often(smoothing, generator):
    of_class = torch.tensor([2.0, 1.0, 3.0])
    logits, labels = torch.randn(4, 3, generator=generator), torch.tensor([0, 2, 1, 0])
    times = of_class[labels].int()
    loss, hits = loss_and_hits(logits, labels, smoothing, None, of_class)
    repeated = cross_entropy(
        logits.repeat_interleave(times, 0),
        labels.repeat_interleave(times),
        reduction="sum",
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(loss, repeated)
    assert hits == (logits.argmax(1) == labels).sum()
    mix = Mix(0.25, torch.tensor([1, 0, 3, 2]))
    mixed = loss_and_hits(logits, labels, smoothing, mix, of_class)[0]
    partner = loss_and_hits(logits, labels[mix.partner], smoothing, None, of_class)[0]
    torch.testing.assert_close(mixed, 0.25 * loss + 0.75 * partner)
    torch.testing.assert_close(
        loss_and_hits(logits, labels, smoothing, mix, torch.ones(3)),
        loss_and_hits(logits, labels, smoothing, mix),
    )


def test_weights_give_every_class_the_same_sum_and_clips_one_on_average():
    found = balanced_weights(LABELS)
    sums = [sum(float(found[label]) for label in LABELS if label == name) for name in (0, 2, 3)]
    assert sums == pytest.approx([len(LABELS) / 3] * 3)
    assert found[1] == 0
    assert balanced_weights([0, 1, 1, 0]).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["sampling", "class_weights"])
def test_labels_that_are_not_known_are_asked_for(name):
    choices = dataclasses.replace(Optimisation(), **{name: "balanced"})
    with pytest.raises(UsageError, match=f"training.{name} is 'balanced', which needs .* of the 3"):
        check_labels(choices, None, 3)
    with pytest.raises(UsageError, match="and 2 came"):
        check_labels(choices, [0, 1], 3)
    check_labels(choices, [0, 1, 1], 3)
    check_labels(Optimisation(), None, 3)


class Frames:
    def frames(self, video, indices):
        return np.random.default_rng(0).integers(0, 256, (video.frames, 128, 140, 3), dtype=np.uint8)[indices]


def test_a_repeat_is_the_same_video_augmented_otherwise():
    videos = (Video("a", "x", frames=40), Video("b", "y", frames=40))
    manifest = Manifest("/", ("x", "y"), videos)
    recipe = Recipe(training=Optimisation(sampling="balanced"))
    clips, plain = (TrainClips(manifest, one, 0, Frames()) for one in (recipe, Recipe()))
    assert torch.equal(clips[1][0], plain[1][0])
    repeat, label = clips[3]
    assert label == 1
    assert not torch.equal(repeat, clips[1][0])
    assert torch.equal(repeat, clips[3][0])
    with pytest.raises(IndexError):
        plain[2]


class Unequal(TinyClips):
    """Clips 0 to 5 are of class 0, 6 of class 1, 7 of class 2; a repeat is drawn anew."""

    def __getitem__(self, index):
        self.asked.append((self.epoch, index))
        draws = torch.Generator().manual_seed(1000 * self.epoch + index)
        label = UNEQUAL[index % 8]
        clip = torch.randint(0, 40, (2, 3, 8, 8), generator=draws) + 60 * label
        return clip.to(torch.uint8), label


UNEQUAL = [0] * 6 + [1, 2]


def test_every_epoch_of_training_is_balanced(tmp_path):
    clips = Unequal()
    train(tmp_path, clips=clips, clip_labels=UNEQUAL, sampling="balanced", epochs=3)
    for epoch in (1, 2, 3):
        drawn = [index for at, index in clips.asked if at == epoch]
        assert len(set(drawn)) == len(drawn) == 8
        assert sorted(Counter(UNEQUAL[index % 8] for index in drawn).values()) == [2, 3, 3]


def test_training_with_class_weights_is_the_textbook_loop(tmp_path):
    model, _ = train(tmp_path, clips=Unequal(), clip_labels=UNEQUAL, class_weights="balanced", epochs=2)
    oracle = tiny_network()
    optimizer = torch.optim.SGD(oracle.parameters(), lr=0.1, momentum=0.9)
    counts = torch.tensor([6.0, 1.0, 1.0])
    for epoch in (1, 2):
        data = Unequal()
        data.set_epoch(epoch)
        for batch in epoch_batches(8, 4, 1, 5, epoch):
            pairs = [data[i] for i in batch]
            labels = torch.tensor([label for _, label in pairs])
            losses = cross_entropy(
                oracle(normalise(torch.stack([clip for clip, _ in pairs]))), labels, reduction="none"
            )
            optimizer.zero_grad()
            (losses * (8 / (3 * counts))[labels]).mean().backward()
            optimizer.step()
    torch.testing.assert_close(weights(model), weights(oracle), rtol=1e-5, atol=1e-6)
