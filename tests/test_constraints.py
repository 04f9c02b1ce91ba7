"""Bounds on weights after every step, and noise along a clip's principal colours."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from timelift.data import transforms
from timelift.records import Augmentation, ClipFormat, Optimisation, Recipe, UsageError
from timelift.records.recipe import parse_recipe, recipe_to_dict
from timelift.training.constraints import constrain, constraint_notes
from training_tiny import TinyClips, run, same_bytes, weights

BOUNDED = {"max_norm": 0.4, "unit_norm": True}


def network():
    """Two dense layers, 1x1 convolutions in space and in space-time, and what no bound is for."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.Conv3d(4, 5, 1),
        nn.GroupNorm(1, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d((1, 2, 2)),
        nn.Flatten(1, 2),
        nn.Conv2d(5, 6, 1, bias=False),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


GROUPS = {name: "new" if name.startswith("10") else "kept" for name, _ in network().named_parameters()}


def rows(weight):
    return weight.detach().flatten(1).norm(dim=1)


@pytest.mark.parametrize("most", [0.1, 0.5, 100.0])
def test_max_norm_is_torchs_renorm_on_dense_layers_alone(most):
    net = network()
    before = copy.deepcopy(net)
    constrain(net, Optimisation(max_norm=most))
    for own, old in zip(net.modules(), before.modules(), strict=True):
        for (name, tensor), was in zip(own.named_parameters(recurse=False), old.parameters(), strict=False):
            if isinstance(own, nn.Linear) and name == "weight":
                torch.testing.assert_close(tensor, was.renorm(2, 0, most))
                inside = rows(was) <= most
                assert torch.equal(tensor[inside], was[inside])
            else:
                assert torch.equal(tensor, was)


def test_unit_norm_is_for_1x1_convolutions_alone_and_keeps_their_directions():
    net = network()
    before = copy.deepcopy(net)
    constrain(net, Optimisation(unit_norm=True))
    for own, old in zip(net, before, strict=True):
        pointwise = isinstance(own, nn.Conv2d | nn.Conv3d) and own.weight[0, 0].numel() == 1
        for name, tensor in own.named_parameters():
            was = old.get_parameter(name)
            if pointwise and name == "weight":
                torch.testing.assert_close(rows(tensor), torch.ones(len(tensor)))
                cosines = nn.functional.cosine_similarity(tensor.flatten(1), was.flatten(1))
                torch.testing.assert_close(cosines, torch.ones(len(tensor)))
            else:
                assert torch.equal(tensor, was)


def test_a_unit_of_zeros_stays_and_nothing_becomes_no_number():
    net = network()
    with torch.no_grad():
        for weight in (net[1].weight, net[8].weight):
            weight[0] = 0
    constrain(net, Optimisation(max_norm=0.5, unit_norm=True))
    assert all(p.isfinite().all() for p in net.parameters())
    assert not net[1].weight[0].any()
    assert not net[8].weight[0].any()


def test_what_is_frozen_stays_as_it_is():
    net = network().requires_grad_(False)
    net[10].requires_grad_(True)
    before = weights(net)
    constrain(net, Optimisation(**BOUNDED))
    changed = {name for name, tensor in weights(net).items() if not torch.equal(tensor, before[name])}
    assert changed == {"10.weight"}


def test_training_ends_within_the_bounds_and_off_changes_nothing(tmp_path):
    free, _ = run(tmp_path / "free", network(), groups=GROUPS)
    same, _ = run(tmp_path / "off", network(), groups=GROUPS, max_norm=0.0, unit_norm=False)
    held, _ = run(tmp_path / "held", network(), groups=GROUPS, **BOUNDED)
    assert same_bytes(weights(free), weights(same))
    assert max(rows(free[8].weight).max(), rows(free[10].weight).max()) > 0.4
    assert max(rows(held[8].weight).max(), rows(held[10].weight).max()) <= 0.4 * (1 + 1e-6)
    torch.testing.assert_close(rows(held[6].weight), torch.ones(6))
    torch.testing.assert_close(rows(held[1].weight), torch.ones(5))


def test_a_frozen_group_is_bounded_only_once_it_thaws(tmp_path):
    start = weights(network())
    for steps, thawed in ((4, False), (3, True)):  # 2 epochs of 2 steps
        net, _ = run(tmp_path / str(steps), network(), groups=GROUPS, freeze_kept_steps=steps, **BOUNDED)
        assert torch.equal(net[6].weight, start["6.weight"]) is not thawed


def test_resumed_weights_are_bit_equal(tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if (event.epoch, event.step) == (2, 3):
            raise Stop

    changes = {"groups": GROUPS, "epochs": 4, "ema": 0.9, "batch_size": 2, "freeze_kept_steps": 5, **BOUNDED}
    whole, _ = run(tmp_path / "whole", network(), clips=TinyClips(9), **changes)
    with pytest.raises(Stop):
        run(
            tmp_path / "parts",
            network(),
            clips=TinyClips(9),
            progress=stop,
            checkpoint_minutes=0.0,
            **changes,
        )
    parts, _ = run(tmp_path / "parts", network(), clips=TinyClips(9), **changes)
    assert same_bytes(weights(whole), weights(parts))


def test_a_bound_without_a_layer_is_noted(tmp_path):
    bare = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    notes = constraint_notes(bare, Optimisation(**BOUNDED))
    assert ["max_norm=0.4" in notes[0], "unit_norm" in notes[1], len(notes)] == [True, True, 2]
    assert constraint_notes(bare, Optimisation()) == []
    assert constraint_notes(network(), Optimisation(**BOUNDED)) == []
    groups = dict.fromkeys(dict(bare.named_parameters()), "new")
    _, result = run(tmp_path, bare, groups=groups, **BOUNDED)
    assert set(notes) <= set(result.notes)


def test_a_negative_bound_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"training\.max_norm is -1"):
        run(tmp_path, network(), groups=GROUPS, max_norm=-1)


def test_recipes_of_before_read_as_they_were_and_new_fields_come_back():
    old = recipe_to_dict(Recipe())
    for table, field in (
        ("training", "max_norm"),
        ("training", "unit_norm"),
        ("augmentation", "pca_noise"),
        ("views", "fusion"),
    ):
        del old[table][field]
    assert parse_recipe(old) == Recipe()
    new = parse_recipe({"training": BOUNDED, "augmentation": {"pca_noise": 0.1}, "views": {"fusion": "sci"}})
    assert parse_recipe(recipe_to_dict(new)) == new
    with pytest.raises(UsageError, match=r"views\.fusion"):
        parse_recipe({"views": {"fusion": "median"}})


# --- colour noise ---

STILL = Augmentation(random_crop=False, flip=0.0, temporal_jitter=False)
FORMAT = ClipFormat(frames=3, size=12, short_side=12)


def coloured_clip(channels=3):
    """Pixels that vary mostly in one direction of colour, far from black and white."""
    rng = np.random.default_rng(2)
    spread = rng.normal(size=(3, 12, 12, channels)) * np.array([4.0, 9.0, 20.0])[-channels:]
    mixed = spread @ np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    return np.clip(128 + mixed, 60, 200).round().astype(np.uint8)


def draw(pca_noise, seed, channels=3):
    clip_format = replace(FORMAT, channels=channels)
    return transforms.draw(
        replace(STILL, pca_noise=pca_noise), clip_format, np.random.default_rng(seed), (12, 12)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_of_every_frame_is_shifted_by_the_same_colour(channels):
    clip, moved = coloured_clip(channels), 0
    for seed in range(5):
        shifted = transforms.apply(draw(8.0, seed, channels), clip)
        difference = shifted.astype(int) - clip
        np.testing.assert_array_equal(difference, np.broadcast_to(difference[0, 0, 0], clip.shape))
        moved += difference.any()
    assert moved >= 4  # one may be drawn near zero


def test_the_shift_is_along_the_principal_colours_by_their_variance():
    clip = coloured_clip()
    pixels = clip.reshape(-1, 3) / 255.0
    _, spread, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)  # largest first
    axes *= np.sign(axes[range(3), np.abs(axes).argmax(axis=1)])[:, None]
    variances = spread**2 / len(pixels)
    shifts = []
    for seed in range(400):
        drawn = draw(8.0, seed)
        shift = np.median(transforms.apply(drawn, clip).astype(int) - clip, axis=(0, 1, 2))
        along = axes @ shift / 255
        np.testing.assert_allclose(along, np.array(drawn.colours[::-1]) * variances, atol=1.0 / 255)
        shifts.append(along)
    np.testing.assert_allclose(np.std(shifts, axis=0)[0], 8.0 * variances[0], rtol=0.1)


def test_colours_are_clipped_and_never_wrap():
    clip = coloured_clip()
    for seed in range(10):
        shifted = transforms.apply(draw(200.0, seed), clip)
        for before, after in zip(clip.reshape(-1, 3).T, shifted.reshape(-1, 3).T, strict=True):
            assert (np.diff(after[before.argsort()].astype(int)) >= 0).all()  # brighter stays brighter


def test_without_noise_nothing_is_drawn_differently():
    for seed in range(10):
        assert draw(0.0, seed).colours is None
        assert replace(draw(0.3, seed), colours=None) == draw(0.0, seed)
        np.testing.assert_allclose(draw(0.3, seed).colours, 3 * np.array(draw(0.1, seed).colours))
    rng, same = np.random.default_rng(4), np.random.default_rng(4)
    transforms.draw(STILL, FORMAT, rng, (12, 12))
    transforms.draw(replace(STILL, pca_noise=0.1), FORMAT, same, (12, 12))
    assert rng.random() == same.random()


@pytest.mark.parametrize("value", [0, 77])
def test_a_clip_of_one_colour_stays(value):
    clip = np.full((3, 12, 12, 3), value, np.uint8)
    np.testing.assert_array_equal(transforms.apply(draw(5.0, 1), clip), clip)
