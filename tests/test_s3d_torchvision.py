"""Inception networks against torchvision's and timm's: S3D, GoogLeNet, Inception-v3 and later ones."""

from functools import cache

import pytest
import torch
from torch import nn

from timelift import Factorize, Inflate, create_model, image_network, lift
from timelift.networks.images import import_torchvision
from timelift.networks.inception_v1 import inception_v1, keys_of_googlenet
from timelift.networks.inception_v3 import inception_v3
from timelift.records.errors import UsageError
from timelift.systems import SYSTEMS
from timelift.systems.s3d_torchvision import keys_of_torchvision
from timelift.testing import wake

slow = pytest.mark.slow
EXACT = 1e-8  # relative, in float64


def random(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max())


# --- S3D ---


@cache
def theirs():
    """torchvision's S3D, awake, its weights exact in float32."""
    torch.manual_seed(0)
    net = import_torchvision().models.video.s3d(weights=None, num_classes=400)
    net.avgpool = nn.AvgPool3d((2, 2, 2), stride=1)
    return wake(net, random(2, 3, 13, 64, 64)).float().double()


def their_answer(clip, side):
    """(B, 3, T, H, W) -> (B, 400); the head's own 7 x 7 places, or a smaller map's."""
    theirs().avgpool = nn.AvgPool3d((2, side, side), stride=1)
    return theirs()(clip)


@cache
def ours():
    return create_model("s3d", weights=theirs().state_dict()).double().eval()


@pytest.mark.parametrize("size", [(13, 64, 64), (16, 67, 79)], ids=str)
def test_torchvisions_s3d_gives_our_answer_on_small_maps(size):
    clip = random(2, 3, *size)
    with torch.no_grad():
        assert relative(ours()(clip), their_answer(clip, side=size[1] // 32)) < EXACT
    assert ours().image_net.image_facts.mean == (0.43216, 0.394666, 0.37645)


@slow
@pytest.mark.parametrize("size", [(13, 209, 215), (16, 224, 224), (32, 256, 256)], ids=str)
def test_torchvisions_s3d_gives_our_answer_at_working_sizes(size):
    clip = random(1, 3, *size)
    with torch.no_grad():
        assert relative(ours()(clip), their_answer(clip, side=7)) < EXACT


@slow
def test_damaging_any_convolution_moves_the_answer():
    clip = random(1, 3, 13, 64, 64)
    with torch.no_grad():
        before = ours()(clip)
        weights = [p for p in ours().parameters() if p.dim() > 3]
        assert len(weights) == 57 + 20  # twenty of the k x k units have one through time
        for weight in weights:
            kept = weight.clone()
            weight.mul_(0.5)
            assert relative(ours()(clip), before) > 1e-6
            weight.copy_(kept)


@slow
def test_other_classes_than_torchvisions_drop_the_last_layer_and_odd_keys_are_named():
    model = create_model("s3d", weights=theirs().state_dict(), classes=7)
    new = {name for name, group in model.parameter_groups().items() if group == "new"}
    assert new == {"image_net.logits.weight", "image_net.logits.bias"}
    with pytest.raises(UsageError, match=r"1 key.*head\.weight"):
        create_model("s3d", weights=theirs().state_dict() | {"head.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    "key", ["features.5.branch7.0.weight", "features.99.0.weight", "features.0.5.0.weight", "head.weight"]
)
def test_a_key_that_is_not_torchvisions_stays_for_the_strict_load_to_name(key):
    assert keys_of_torchvision({key: torch.zeros(1)}) == {f"image_net.{key}": torch.zeros(1)}


# --- the image networks ---


@cache
def googlenet():
    torch.manual_seed(0)
    net = import_torchvision().models.googlenet(weights=None, aux_logits=False, init_weights=False)
    return wake(net, random(2, 3, 64, 64)).float().double()


def test_googlenets_weights_give_its_answer_in_our_inception_v1():
    net = inception_v1().double().eval()
    net.load_state_dict(keys_of_googlenet(googlenet().state_dict()))
    net.pad = nn.ZeroPad2d(3)  # its stem is padded on both sides; its pools, on even maps, as SAME
    frames = random(2, 3, 64, 64)
    with torch.no_grad():
        assert relative(net(frames), googlenet()(frames)) < EXACT


@pytest.mark.parametrize("name", ["i3d", pytest.param("s3d", marks=slow)])
def test_googlenets_weights_start_a_system(name):
    state = googlenet().state_dict()
    model = create_model(name, weights=state | {"aux1.fc1.bias": torch.zeros(3)}, classes=1000)
    assert model.groups["image_net.logits.weight"] == "kept"
    assert model.image_net.image_facts.mean == (0.5, 0.5, 0.5)
    assert relative(model.image_net.logits.weight.detach().double(), state["fc.weight"]) == 0
    with pytest.raises(UsageError, match=r"1 key.*other\.weight"):
        create_model(name, weights=state | {"other.weight": torch.zeros(1)}, classes=1000)


def test_inception_v3_is_torchvisions_with_another_stem():
    torch.manual_seed(0)
    reference = import_torchvision().models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    reference = wake(reference, random(2, 3, 139, 139))
    net = inception_v3().double().eval()
    net.load_state_dict(dict(zip(net.state_dict(), reference.state_dict().values(), strict=True)))
    net.pad = net.pool_3a[0] = net.pool_5a[0] = nn.Identity()
    net.conv_2a.conv.padding = net.conv_4a.conv.padding = (0, 0)
    for module in net.modules():
        if isinstance(module, nn.AvgPool2d):
            module.count_include_pad = True
    frames = random(1, 3, 139, 151)
    with torch.no_grad():
        assert relative(net(frames), reference(frames)) < EXACT


# --- other Inception networks: timm has no Inception-v2 (BN-Inception) ---

LATER = ("inception_v3", "inception_v4", "inception_resnet_v2")
FACTORIZED = Factorize(3, between="norm-act")


@slow
@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("conversion", [FACTORIZED, Inflate(3)], ids=repr)
def test_later_inceptions_are_lifted(name, conversion):
    with torch.device("meta"):
        net = image_network(f"timm:{name}", classes=5, weights=None)
        video = lift(net, conversion, example=torch.zeros(1, 3, 139, 139))
    wide = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(video.receipt.converted) == len(wide) > 50
    grown = video.receipt.parameters_after - video.receipt.parameters_before
    if conversion == FACTORIZED:
        assert grown == sum(3 * m.out_channels**2 for m in wide)
    else:
        assert grown == sum(2 * m.weight.numel() for m in wide)


@slow
@pytest.mark.parametrize("conversion", [FACTORIZED, Inflate(3)], ids=repr)
@pytest.mark.parametrize("name", LATER)
def test_later_inceptions_answer_a_still_clip_as_on_frames(name, conversion):
    torch.manual_seed(0)
    frames = random(2, 3, 107, 107)
    net = wake(image_network(f"timm:{name}", classes=5, weights=None), frames)
    video = lift(net, conversion, example=frames[:1]).eval()
    with torch.no_grad():
        still = video(frames[:1].unsqueeze(2).expand(-1, -1, 3, -1, -1))
        assert relative(still, net(frames[:1])) < 1e-9


def test_the_image_starts_are_in_reach_by_name():
    assert {SYSTEMS[name].image.network for name in ("i3d", "i2d", "s3d", "s3dg")} == {
        "torchvision:googlenet"
    }
