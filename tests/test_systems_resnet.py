"""R2D, MCx, R3D, R(2+1)D, P3D and SlowFast: what their figures do not show."""

from functools import cache

import pytest
import torch
from torch import nn

from timelift import create_model
from timelift.clip import Clipwise
from timelift.conversions import ClipTooShort
from timelift.conversions.factorize import midplanes
from timelift.networks.images import import_torchvision
from timelift.networks.resnet import resnet
from timelift.records.errors import UsageError
from timelift.testing import wake

ALL = (1, 2, 3, 4, 5)
IN_3D = {  # Tran et al. 2018: MCx is 3-D below group x, rMCx from group x
    "fr2d_18": (),
    **{f"mc{x}_18": ALL[: x - 1] for x in (2, 3, 4, 5)},
    **{f"rmc{x}_18": ALL[x - 1 :] for x in (2, 3, 4, 5)},
    "r3d_18": ALL,
    "r3d_34": ALL,
    "r2plus1d_18": ALL,
    "r2plus1d_34": ALL,
}
GROUPS = ("conv1", "layer1", "layer2", "layer3", "layer4")
P3D = {"p3d_63": (13, "series"), "p3d_131": (30, "both"), "p3d_199": (47, "parallel")}  # blocks, the last
SLOWFAST = {"slowfast_r50_4x16": 8, "slowfast_r50_8x8": 4}


@cache
def weightless(name):
    with torch.device("meta"):
        return create_model(name, classes=3)


def sizes(name, modules, shape):
    """(T, H, W) behind each module for a clip of the shape (T, H, W)."""
    model, found = weightless(name), {}
    hooks = [
        model.image_net.get_submodule(module).register_forward_hook(
            lambda m, a, out, module=module: found.update({module: (len(out) // 2, *out.shape[2:])})
        )
        for module in modules
    ]
    assert model(torch.zeros(2, 3, *shape, device="meta")).shape == (2, 3)
    for hook in hooks:
        hook.remove()
    return found


def halved(length, times):
    for _ in range(times):
        length = -(-length // 2)
    return length


# --- groups ---


@pytest.mark.parametrize("name", IN_3D)
@pytest.mark.parametrize("shape", [(1, 40, 56), (7, 33, 48), (32, 112, 112)])
def test_time_halves_where_the_map_does_in_3d_groups_alone(name, shape):
    found = sizes(name, GROUPS, shape)
    for i, module in enumerate(GROUPS):
        strided = [group for group in IN_3D[name] if 3 <= group <= i + 1]
        halvings = 1 + max(i - 1, 0)
        wanted = (halved(shape[0], len(strided)), halved(shape[1], halvings), halved(shape[2], halvings))
        assert found[module] == wanted, module


@pytest.mark.parametrize("name", IN_3D)
def test_a_group_is_3d_in_every_convolution_or_in_none(name):
    rows = {row.layer for row in weightless(name).receipt.converted} - {"avgpool"}
    with torch.device("meta"):
        image = resnet(int(name[-2:]))
    for number, module in enumerate(GROUPS, 1):
        kernels = {n for n, m in image.named_modules() if isinstance(m, nn.Conv2d)}
        kernels = {n for n in kernels if n.startswith(module) and "downsample" not in n}
        assert rows & kernels == (kernels if number in IN_3D[name] else set()), module


@pytest.mark.parametrize("frames", [1, 4, 16])
def test_r2d_takes_time_out_in_its_stem(frames):
    with torch.device("meta"):
        model = create_model("r2d_18", classes=3, frames=frames)
    for longer in (0, 3):
        clip = torch.zeros(2, 3, frames + longer, 48, 40, device="meta")
        stem = []
        hook = model.image_net.conv1.register_forward_hook(lambda m, a, out, stem=stem: stem.append(len(out)))
        assert model(clip).shape == (2, 3)
        hook.remove()
        assert stem == [2 * (1 + longer)]
    if frames > 1:
        with pytest.raises(ClipTooShort, match=f"at least {frames} frames"):
            model(clip[:, :, : frames - 1])


# --- R(2+1)D ---


@pytest.mark.parametrize("reading", ["vmz", "torchvision"])
def test_the_two_readings_of_the_midplanes(reading):
    with torch.device("meta"):
        model = create_model("r2plus1d_18", midplanes=reading)
    net = model.image_net
    assert net.conv1.on_clips.temporal.weight.shape == (64, 45, 3, 1, 1)
    inp = 64
    for stage, out in enumerate((64, 128, 256, 512), 1):
        block = net.get_submodule(f"layer{stage}.0")
        first, own = midplanes(3, 3, 3, inp, out), midplanes(3, 3, 3, out, out)
        assert block.conv1.on_clips.temporal.weight.shape[1] == first
        second = own if reading == "vmz" else first
        assert block.conv2.on_clips.temporal.weight.shape[1] == second
        assert net.get_submodule(f"layer{stage}.1").conv2.on_clips.temporal.weight.shape[1] == own
        inp = out


def test_another_reading_is_refused_in_one_line():
    with pytest.raises(UsageError, match="there are vmz and torchvision"):
        create_model("r2plus1d_18", midplanes="caffe2")


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2d_18", "r2plus1d_18"])
def test_the_norms_eps_reaches_every_norm(name):
    for eps in (1e-5, 1e-3):
        with torch.device("meta"):
            model = create_model(name, norm_eps=eps)
        assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {eps}


# --- starts ---


@cache
def image_net():
    torch.manual_seed(0)
    frames = torch.randn(4, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    return wake(resnet(18, classes=5), frames).float().double()  # with weights that float32 holds exactly


@pytest.mark.parametrize(
    ("name", "options"),
    [("fr2d_18", {}), *(("r2d_18", {"frames": 4, "start": start}) for start in (None, "zero", "center"))],
)
def test_image_weights_answer_a_still_clip_as_the_image_network_does(name, options):
    model = create_model(name, weights=image_net().state_dict(), classes=5, **options).double().eval()
    frame = torch.randn(2, 3, 1, 40, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = image_net()(frame[:, :, 0])
        torch.testing.assert_close(model(frame.expand(-1, -1, 4, -1, -1)), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["r3d_18", "mc4_18", "rmc3_18"])
@pytest.mark.parametrize("start", [None, "average", "negative", "center"])
def test_the_slices_of_every_kernel_sum_to_the_image_networks(name, start):
    state = image_net().state_dict()
    model = create_model(name, weights=state, classes=7, start=start)
    groups = model.parameter_groups()
    for layer, module in model.image_net.named_modules():
        if isinstance(module, Clipwise) and hasattr(module.on_clips, "weight"):
            weight = module.on_clips.weight
            wanted = state[f"{layer}.weight"].float()
            torch.testing.assert_close(weight.sum(2), wanted, rtol=1e-4, atol=1e-5)
            assert groups[f"image_net.{layer}.on_clips.weight"] == "lifted"
    assert {name for name, group in groups.items() if group == "new"} == {
        "image_net.fc.weight",
        "image_net.fc.bias",
    }


def test_without_image_weights_the_start_is_random_and_everything_new():
    model = create_model("r3d_18", classes=3)
    kernel = model.image_net.layer4[0].conv2.on_clips.weight
    assert float(kernel.detach().std()) == pytest.approx((2 / (512 * 27)) ** 0.5, rel=0.02)
    centred = create_model("r3d_18", classes=3, start="center")
    assert not centred.image_net.layer1[0].conv1.on_clips.weight[:, :, 0].any()
    for each in (model, centred):
        assert set(each.parameter_groups().values()) == {"new"}


def test_torchvisions_image_networks_fit_by_their_keys():
    for name, image in (("r3d_18", "resnet18"), ("r3d_34", "resnet34"), ("p3d_63", "resnet50")):
        with torch.device("meta"):
            state = getattr(import_torchvision().models, image)(weights=None).state_dict()
            model = create_model(name, weights=state, classes=1000)
        groups = model.parameter_groups()
        assert groups["image_net.fc.weight"] == "kept"
        assert {group for key, group in groups.items() if "layer" in key} >= {"kept"}


def test_p3d_takes_the_image_networks_weights_and_draws_its_own_time():
    torch.manual_seed(0)
    state = import_torchvision().models.resnet50(weights=None, num_classes=3).state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) * 0.01)  # so that no two norms are equal
    model = create_model("p3d_63", weights=state, classes=3)
    unit = model.image_net.layer2.on_clips[0].layer[1].conv2.on_clips
    assert torch.equal(unit.spatial.layer[0].weight, state["layer2.1.conv2.weight"])
    assert torch.equal(unit.spatial.layer[1].running_var, state["layer2.1.bn2.running_var"])
    groups = model.parameter_groups()
    temporal = [name for name in groups if name.endswith("temporal.weight")]
    assert len(temporal) == 13
    assert {name for name, group in groups.items() if group == "new"} == set(temporal)


# --- P3D ---


@pytest.mark.parametrize("name", P3D)
def test_p3d_takes_a_b_and_c_in_turn_over_all_blocks(name):
    rows = [row for row in weightless(name).receipt.converted if row.rule.startswith("Factorize")]
    orders = [
        "parallel" if "'parallel'" in r.rule else "both" if "'both'" in r.rule else "series" for r in rows
    ]
    assert len(rows) == P3D[name][0]
    assert orders[-1] == P3D[name][1]
    assert orders == [("series", "parallel", "both")[i % 3] for i in range(len(rows))]
    assert {row.layer.split(".")[0] for row in rows} == {"layer1", "layer2", "layer3"}
    assert all(row.layer.endswith(".conv2") for row in rows)


@pytest.mark.parametrize(("frames", "behind"), [(16, (8, 4, 2, 1, 1)), (9, (5, 3, 2, 1, 1)), (1, (1,) * 5)])
def test_p3d_halves_time_in_its_pools_and_takes_any_length(frames, behind):
    modules = ("maxpool", "layer1", "layer2", "layer3", "layer4")
    found = sizes("p3d_63", modules, (frames, 64, 48))
    assert tuple(found[module][0] for module in modules) == behind


# --- SlowFast ---


@pytest.mark.parametrize("name", SLOWFAST)
@pytest.mark.parametrize("frames", [32, 20, 3])
def test_the_slow_path_has_an_alphath_of_the_frames_everywhere(name, frames):
    slow = -(-frames // SLOWFAST[name])
    modules = [f"{path}.{module}" for path in ("slow", "fast") for module in (*GROUPS, "maxpool")]
    found = sizes(name, (*modules, *(f"laterals.{i}" for i in range(4))), (frames, 64, 48))
    for module, size in found.items():
        assert size[0] == (frames if module.startswith("fast") else slow), module


@pytest.mark.parametrize("name", SLOWFAST)
def test_the_laterals_bring_twice_an_eighth_of_the_channels(name):
    net = weightless(name).image_net
    for i, stage in enumerate(("layer1", "layer2", "layer3", "layer4")):
        weight = net.laterals[i][0].on_clips.weight
        out, inp, frames = weight.shape[:3]
        slow = net.slow.get_submodule(stage)[0].downsample[0].in_channels
        assert (out, frames) == (2 * inp, {8: 5, 4: 7}[SLOWFAST[name]])
        assert slow - out == 8 * inp


def test_the_slow_path_sees_every_alphath_frame_and_the_fast_one_all():
    torch.manual_seed(0)
    model = create_model("slowfast_r50_8x8", classes=3).eval()
    seen = {}
    for path in ("slow", "fast"):
        model.image_net.get_submodule(f"{path}.conv1").register_forward_pre_hook(
            lambda m, a, path=path: seen.update({path: a[0]})
        )
    clip = torch.randn(2, 3, 9, 32, 32)
    with torch.no_grad():
        model(clip)
    frames = clip.transpose(1, 2)
    torch.testing.assert_close(seen["fast"].unflatten(0, (2, 9)), frames)
    torch.testing.assert_close(seen["slow"].unflatten(0, (2, 3)), frames[:, ::4])


def test_a_lateral_is_a_strided_convolution_through_time():
    torch.manual_seed(0)
    lateral = create_model("slowfast_r50_8x8", classes=3).image_net.laterals[0][0].on_clips
    clip = torch.randn(2, 8, 13, 3, 5)
    wanted = nn.functional.conv3d(clip, lateral.weight, stride=(4, 1, 1), padding=(3, 0, 0))
    torch.testing.assert_close(lateral(clip), wanted)


# --- all ---


@pytest.mark.parametrize(
    "name",
    [
        "mc3_18",
        pytest.param("r2plus1d_18", marks=pytest.mark.slow),
        pytest.param("p3d_63", marks=pytest.mark.slow),
        pytest.param("slowfast_r50_4x16", marks=pytest.mark.slow),
    ],
)
def test_a_gradient_reaches_every_tensor(name):
    torch.manual_seed(0)
    model = create_model(name, classes=3).train()
    answer = model(torch.randn(2, 3, 8, 40, 40))
    (answer * torch.randn_like(answer)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", ["r2d_18", "fr2d_18", "mc3_18", "r2plus1d_18", "p3d_63", "slowfast_r50_8x8"])
def test_any_number_of_input_channels_and_classes(name):
    with torch.device("meta"):
        model = create_model(name, classes=11, in_channels=2)
    assert model(torch.zeros(1, 2, 16, 48, 48, device="meta")).shape == (1, 11)
