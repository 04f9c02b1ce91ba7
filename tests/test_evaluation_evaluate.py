"""Evaluation against a loop over single views; use of time; cost."""

import numpy as np
import pytest
import torch
from torch import nn

from timelift.evaluation import timeuse
from timelift.evaluation.cost import multiply_adds, parameters
from timelift.evaluation.evaluate import evaluate
from timelift.evaluation.timeuse import paired_loss, time_use
from timelift.records import DataError, Manifest, Predictions, UsageError, Video

VIEWS_OF_VIDEO = [1, 3, 2, 1, 5]


class Videos(list):
    """Test videos in memory: a list of (views, label)."""


class Probe(nn.Module):
    """Sees the order of frames, has dropout, batch norm, and a part that training holds in eval mode."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 5, classes)

    def forward(self, clips):
        maps = self.drop(self.norm(self.conv(clips)))  # (B, 4, T, H, W)
        return self.head(maps.mean(dim=(3, 4)).flatten(1))


def normalise(views):
    return views.float() / 255 - 0.5


@pytest.fixture
def model():
    torch.manual_seed(3)
    network = Probe()
    network.norm.running_mean.normal_()
    network.train()
    network.norm.eval()
    return network


@pytest.fixture
def manifest():
    rows = [Video(path=f"v{i}.avi", label="abc"[i % 3], group=f"g{i // 2}") for i in range(5)]
    return Manifest(root="/nowhere", classes=("a", "b", "c"), videos=tuple(rows))


@pytest.fixture
def clips(generator):
    def views(count):
        return torch.randint(0, 256, (count, 1, 5, 7, 9), generator=generator, dtype=torch.uint8)

    return Videos((views(count), i % 3) for i, count in enumerate(VIEWS_OF_VIDEO))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(11)


@pytest.mark.parametrize("batch_views", [1, 4, 100])
def test_every_view_gets_what_it_gets_alone(model, clips, manifest, batch_views):
    answered = evaluate(model, clips, manifest, normalise=normalise, device="cpu", batch_views=batch_views)
    alone = Probe()
    alone.load_state_dict(model.state_dict())
    alone.eval()
    assert answered.clip_logits.shape == (5, 5, 3)
    for video, (views, label) in enumerate(clips):
        with torch.no_grad():
            expected = torch.cat([alone(normalise(view[None])) for view in views]).numpy()
        np.testing.assert_allclose(answered.clip_logits[video, : len(views)], expected, atol=1e-6)
        assert np.isnan(answered.clip_logits[video, len(views) :]).all()
        assert answered.labels[video] == label
    assert answered.videos == tuple(v.path for v in manifest.videos)
    assert answered.groups == ("g0", "g0", "g1", "g1", "g2")
    assert answered.classes == manifest.classes


def test_no_batch_is_larger_than_asked(model, clips, manifest):
    sizes = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    evaluate(model, clips, manifest, normalise=normalise, device="cpu", batch_views=5)
    assert sizes == [5, 5, 2]


def test_the_model_is_left_as_it_was(model, clips, manifest):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    evaluate(model, clips, manifest, normalise=normalise, device="cpu")
    assert [module.training for module in model.modules()] == modes
    assert modes == [True, True, False, True, True]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_model_is_left_as_it_was_after_an_error(model, clips, manifest):
    with pytest.raises(RuntimeError):
        evaluate(model, clips, manifest, normalise=lambda views: views.float().new_ones(2), device="cpu")
    assert model.training
    assert not model.norm.training


def test_progress_is_told_after_every_video(model, clips, manifest):
    told = []
    evaluate(
        model, clips, manifest, normalise=normalise, device="cpu", progress=lambda *done: told.append(done)
    )
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_network_that_diverged_is_named_with_the_video(model, clips, manifest):
    broken = Videos([*clips[:3], (clips[3][0] * 0, 0), clips[4]])

    def all_black_is_nan(views):
        floats = normalise(views)
        return torch.where(views.flatten(1).float().sum(1)[:, None, None, None, None] > 0, floats, torch.nan)

    with pytest.raises(DataError, match=r"v3\.avi is not a number: its training diverged"):
        evaluate(model, broken, manifest, normalise=all_black_is_nan, device="cpu")


def test_wrong_partners_are_refused(model, clips, manifest):
    def attempt(model=model, clips=clips, manifest=manifest):
        return evaluate(model, clips, manifest, normalise=normalise, device="cpu")

    with pytest.raises(UsageError, match="4 clips for 5 videos"):
        attempt(clips=Videos(clips[:4]))
    with pytest.raises(DataError, match="have 3 classes: make the network with classes=3"):
        attempt(model=Probe(classes=2))
    with pytest.raises(DataError, match="no video of this split"):
        attempt(clips=Videos(), manifest=manifest.with_videos(()))
    with pytest.raises(UsageError, match=r"v0\.avi came with class 1"):
        attempt(clips=Videos([clips[1], clips[0], *clips[2:]]))
    with pytest.raises(UsageError, match="video 0 came as"):
        attempt(clips=Videos([(clips[0][0][0], 0), *clips[1:]]))


class FirstMinusLast(nn.Module):
    """Answers by the order of time alone: class 0 where the first frame is darker than the last."""

    def forward(self, clips):
        rise = clips[:, :, -1].mean(dim=(1, 2, 3)) - clips[:, :, 0].mean(dim=(1, 2, 3))
        return torch.stack([rise, 0 * rise + 0.01], dim=1)


def test_a_network_that_lives_by_time_loses_it_when_reversed_or_frozen():
    brightening = torch.arange(10, 90, 10, dtype=torch.uint8)[None, None, :, None, None].expand(1, 1, 8, 2, 2)
    clips = Videos((brightening, 0) for _ in range(6))
    rows = tuple(Video(path=f"v{i}", label="up", group=f"g{i}") for i in range(6))
    manifest = Manifest(root="/", classes=("up", "zz"), videos=rows)
    orders = [
        clips,
        timeuse.shuffled(clips, seed=0),
        timeuse.backwards(clips),
        timeuse.frozen(clips),
    ]
    four = [evaluate(FirstMinusLast(), o, manifest, normalise=normalise, device="cpu") for o in orders]
    use = time_use(*four)
    assert (use.ordered, use.reversed, use.frozen) == (1.0, 0.0, 0.0)
    assert 0 < use.shuffled < 1
    assert use.shuffled_loss.mean == pytest.approx(1 - use.shuffled)
    assert use.frozen_loss.standard_error == pytest.approx(0)
    assert use.metrics() == {
        "time/ordered": 1.0,
        "time/shuffled": use.shuffled,
        "time/reversed": 0.0,
        "time/frozen": 0.0,
    }


def test_reordered_clips_hold_the_same_frames(clips):
    views, label = clips[1]
    assert torch.equal(timeuse.backwards(clips)[1][0], views.flip(2))
    assert torch.equal(timeuse.frozen(clips)[1][0], views[:, :, 2:3].expand_as(views))
    mixed, same_label = timeuse.shuffled(clips, seed=4)[1]
    assert same_label == label
    assert torch.equal(mixed, timeuse.shuffled(clips, seed=4)[1][0])
    assert torch.equal(mixed.float().sum(2), views.float().sum(2))
    assert not torch.equal(mixed, views)
    others = [timeuse.shuffled(clips, seed)[1][0] for seed in range(5)]
    assert any(not torch.equal(mixed, other) for other in others)


def test_the_error_of_a_loss_is_that_of_group_means_when_groups_are_equal():
    rng = np.random.default_rng(2)
    of_group = rng.normal(size=(7, 1)) + rng.normal(size=(7, 3))  # 7 groups of 3 videos
    groups = tuple(f"g{g}" for g in range(7) for _ in range(3))
    loss = paired_loss(of_group.ravel(), groups)
    means = of_group.mean(axis=1)
    assert loss.mean == pytest.approx(means.mean())
    assert loss.standard_error == pytest.approx(means.std(ddof=1) / np.sqrt(7))
    assert paired_loss(np.array([1.0, 0.0]), ("a", "a")).standard_error is None


def test_time_use_of_different_videos_is_refused():
    def of(name):
        return Predictions((name,), ("g",), np.array([0]), ("a", "b"), np.zeros((1, 1, 2)))

    with pytest.raises(UsageError, match="not of the same videos"):
        time_use(of("v"), of("v"), of("w"), of("v"))


def test_cost_counts_what_the_formulas_give():
    network = Probe()
    # convolution: 27 products an output; head: 20 inputs x 3 classes
    assert multiply_adds(network, (1, 5, 7, 9)) == 5 * 7 * 9 * 4 * 27 + 20 * 3
    assert parameters(network) == (4 * 27 + 4) + (4 + 4) + (20 * 3 + 3)
    assert network.training


def test_a_weight_used_twice_is_one_parameter_and_two_products():
    layer = nn.Conv3d(2, 2, 1, bias=False)
    network = nn.Sequential(layer, layer)
    assert parameters(network) == 4
    assert multiply_adds(network, (2, 3, 4, 5)) == 2 * (3 * 4 * 5) * 4
