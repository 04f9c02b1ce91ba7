"""CLS_net, its four starts in time and its recipe; and the networks on flow."""

import copy
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d

from timelift import create_model
from timelift.cli.common import chosen_recipe
from timelift.conversions import Inflate
from timelift.conversions.errors import ClipTooShort
from timelift.conversions.inflate import STARTS
from timelift.data import transforms
from timelift.networks.cls_net import cls_net, response_norm
from timelift.networks.cnn_m import cnn_m_2048
from timelift.records.errors import UsageError
from timelift.training.checks import check_choices

STARTS_OF_NAMES = {"ia": "average", "is": "scale", "zwi": "zero", "nwi": "negative"}
SIZE = 48


def awake(net, generator):
    """Weights that carry the picture through every ReLU: freshly made ones leave little but the biases."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("weight"):
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5, generator=generator)
            else:
                parameter.normal_(0, 0.1, generator=generator)
    return net.eval()


@pytest.fixture(scope="module")
def image_net():
    """CLS_net for fine-tuning, small frames, awake."""
    return awake(cls_net(classes=5, size=SIZE, hidden7=2048), torch.Generator().manual_seed(0))


def clip_of(frames, size=SIZE, channels=3, clips=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clips, channels, frames, size, size, generator=generator)


# --- the starts ---


@pytest.mark.parametrize("frames", range(1, 10))
@pytest.mark.parametrize("start", [start for start in STARTS if start != "random"])
def test_the_slices_of_every_start_sum_to_the_kernel(start, frames, generator):
    conv = nn.Conv2d(3, 4, 5).double()
    for at in range(frames):
        kernel = Inflate(frames, start, at=at)(conv).weight
        assert kernel.shape == (4, 3, frames, 5, 5)
        torch.testing.assert_close(kernel.sum(dim=2), conv.weight)


@pytest.mark.parametrize(
    ("start", "three", "two"),
    [
        ("average", (1 / 3, 1 / 3, 1 / 3), (1 / 2, 1 / 2)),
        ("scale", (1 / 4, 1 / 2, 1 / 4), (1 / 2, 1 / 2)),
        ("zero", (1, 0, 0), (1, 0)),
        ("negative", (5 / 3, -1 / 3, -1 / 3), (3 / 2, -1 / 2)),
    ],
)
def test_the_slices_are_the_papers(start, three, two):
    conv = nn.Conv2d(2, 3, 3).double()
    for factors in (three, two):
        kernel = Inflate(len(factors), start)(conv).weight
        for slice_, factor in zip(kernel.unbind(2), factors, strict=True):
            torch.testing.assert_close(slice_, factor * conv.weight)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-8)])
@pytest.mark.parametrize("short", STARTS_OF_NAMES)
def test_a_still_clip_is_answered_as_its_frame(short, dtype, most, image_net):
    assert_still(f"mansimov_{short}", image_net, SIZE, dtype, most)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-8)])
@pytest.mark.parametrize("short", STARTS_OF_NAMES)
def test_a_still_clip_is_answered_as_its_frame_at_the_papers_size(short, dtype, most):
    net = awake(cls_net(classes=5, hidden7=2048), torch.Generator().manual_seed(0))
    assert_still(f"mansimov_{short}", net, 224, dtype, most)


def assert_still(name, image_net, size, dtype, most):
    net = copy.deepcopy(image_net).to(dtype)
    with default_dtype(dtype):  # thirds are rounded in the precision in which the network is lifted
        video = lifted(name, net, size).eval()
    moving = clip_of(7, size).to(dtype)
    with torch.no_grad():
        frame = net(moving[:, :, 0])
        still = video(moving[:, :, :1].expand(-1, -1, 7, -1, -1))
        scale = frame.abs().max()
        assert (net(moving[:, :, 1]) - frame).abs().max() > 0.02 * scale  # the law can fail
        assert (video(moving) - still).abs().max() > 0.02 * scale
    assert (still - frame).abs().max() <= most * scale


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def lifted(name, image_net, size=SIZE, **options):
    """The system with an image network's weights, through the start, as from a file."""
    classes = image_net.output.out_features
    return create_model(name, classes=classes, size=size, weights=image_net.state_dict(), **options)


def test_only_the_first_two_convolutions_look_through_time(image_net):
    video = lifted("mansimov_nwi", image_net)
    assert [row.layer for row in video.receipt.converted] == [
        "hidden1_conv",
        "hidden1_maxpool",
        "hidden2_conv",
    ]
    groups = video.parameter_groups()
    assert {name for name, group in groups.items() if group == "lifted"} == {
        "image_net.hidden1_conv.on_clips.weight",
        "image_net.hidden2_conv.on_clips.weight",
    }
    assert "new" not in groups.values()


@pytest.mark.parametrize(("stride", "shortest"), [(2, 6), (1, 5)])
def test_longer_clips_are_their_windows_averaged(stride, shortest, image_net):
    video = lifted("mansimov_nwi", image_net, pool_stride=stride).eval()
    moving = clip_of(9)
    windows = [moving[:, :, i : i + shortest] for i in range(0, 9 - shortest + 1, stride)]
    with torch.no_grad():
        each = torch.cat([video.per_frame(window) for window in windows], dim=1)  # one slice a window
        assert each.shape == (1, len(windows), 5)
        torch.testing.assert_close(video.per_frame(moving), each, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(video(moving), each.mean(1), rtol=1e-4, atol=1e-4)
    with pytest.raises(ClipTooShort, match=f"at least {shortest} frames"):
        video(moving[:, :, : shortest - 1])


def test_weights_of_imagenets_classes_leave_hidden7_and_the_last_layer_new(image_net):
    published = cls_net(classes=9, size=SIZE, hidden7=40)
    for name in ("spatial_convnet", "mansimov_ia"):
        video = create_model(name, classes=5, size=SIZE, weights=published.state_dict())
        new = {key for key, group in video.parameter_groups().items() if group == "new"}
        last = ("hidden7", "output")
        assert new == {f"image_net.{layer}.{tensor}" for layer in last for tensor in ("weight", "bias")}
        assert torch.equal(video.image_net.hidden6.weight, published.hidden6.weight)


def test_there_are_no_imagenet_weights_to_be_had():
    with pytest.raises(UsageError, match="mansimov_nwi has no image network with ImageNet weights"):
        create_model("mansimov_nwi", weights="imagenet")


# --- CLS_net ---


def test_the_convolutions_of_cls_net_hold_7_941_120_numbers():
    with torch.device("meta"):
        net = cls_net()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert sum(p.numel() for conv in convolutions for p in conv.parameters()) == 7_941_120
    assert sum(p.numel() for p in net.parameters()) == 104_321_000


@pytest.mark.parametrize("maps", [96, 256, 12])
def test_the_response_norm_is_torontos(maps, generator):
    x = 30 * torch.randn(2, maps, 3, 2, generator=generator, dtype=torch.float64)
    wanted = torch.empty_like(x)
    window = maps // 4
    for i in range(maps):
        low = i - window // 2
        energy = x[:, max(low, 0) : low + window].square().sum(dim=1)
        wanted[:, i] = x[:, i] * (1 + 0.0005 * energy) ** -0.75
    torch.testing.assert_close(response_norm(maps)(x), wanted)


@pytest.mark.parametrize(("build", "smallest"), [(cls_net, 45), (cnn_m_2048, 41)])
def test_the_smallest_frame_is_named(build, smallest):
    with torch.device("meta"):
        for size in (smallest, smallest + 1, smallest + 7):
            net = build(classes=2, size=size).eval()
            assert net(torch.zeros(1, 3, size, size)).shape == (1, 2)
        with pytest.raises(UsageError, match=f"at least {smallest} pixels"):
            build(size=smallest - 1)
        with pytest.raises(UsageError, match="frames of another size"):
            net(torch.zeros(1, 3, 2 * smallest, 2 * smallest))


# --- the recipe ---


def test_the_recipe_holds_the_convolutions_for_500_steps():
    file = Path(__file__).resolve().parents[1] / "recipes" / "mansimov.toml"
    recipe = chosen_recipe(file, None)
    check_choices(recipe.training, has_validation=True)
    assert (recipe.training.freeze_kept_steps, recipe.training.freeze_lifted_steps) == (500, 500)
    assert (recipe.training.max_norm, recipe.training.unit_norm) == (4.0, True)
    assert recipe.training.batch_size * recipe.training.accumulate == 128
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = transforms.draw(recipe.augmentation, recipe.clip, rng, (256, 341))
        assert drawn.square.side == 224
        assert drawn.colours is not None


# --- flow ---


def flow_system(name, **options):
    torch.manual_seed(0)
    model = create_model(name, classes=4, size=SIZE, **options).eval()
    awake(model.image_net, torch.Generator().manual_seed(0))
    return model


def test_one_field_is_the_image_network_on_every_field():
    model, clip = flow_system("flow_single"), clip_of(3, channels=2)
    with torch.no_grad():
        each = torch.stack([model.image_net(field) for field in clip.unbind(2)], dim=1)
        torch.testing.assert_close(model(clip), each.mean(1))


@pytest.mark.parametrize("frames", [1, 10])
def test_a_stack_is_one_picture_of_all_fields(frames):
    model, clip = flow_system("flow_stack", frames=frames), clip_of(frames, channels=2, clips=2)
    assert model.image_net.net.conv1.in_channels == 2 * frames
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model.image_net.net(clip.flatten(1, 2)))
        assert model.per_frame(clip).shape == (2, 1, 4)
    with pytest.raises(UsageError, match=f"takes {frames} frame"):
        model(clip_of(frames + 1, channels=2))


def test_a_stack_of_nothing_is_refused():
    with pytest.raises(UsageError, match="frames=0"):
        create_model("flow_stack", frames=0)


@pytest.mark.parametrize(("frames", "answers"), [(10, 1), (13, 1), (19, 2)])
def test_slow_fusion_is_three_strided_3d_convolutions(frames, answers):
    model, clip = flow_system("flow_slow"), clip_of(frames, channels=2)
    net = model.image_net

    def convolve(name, x, stride, padding):
        layer = net.get_submodule(name).on_clips
        return conv3d(x, layer.weight, layer.bias, stride, (0, padding, padding))

    def framewise(names, x):
        return torch.stack([nn.Sequential(*map(net.get_submodule, names))(f) for f in x.unbind(2)], dim=2)

    with torch.no_grad():
        x = framewise(("relu1", "norm1", "pool1"), convolve("conv1", clip, 2, 0))
        x = framewise(("relu2", "norm2", "pool2"), convolve("conv2", x, 2, 1))
        x = convolve("conv3", x, (2, 1, 1), 1).relu()
        assert x.shape[2] == answers
        tail = list(net)[list(dict(net.named_children())).index("conv4") :]
        each = torch.stack([nn.Sequential(*tail)(f) for f in x.unbind(2)], dim=1)
        torch.testing.assert_close(model.per_frame(clip), each, rtol=1e-4, atol=1e-4)


def test_slow_fusion_wants_ten_fields():
    with pytest.raises(ClipTooShort, match="at least 10 frames"):
        flow_system("flow_slow")(clip_of(9, channels=2))
