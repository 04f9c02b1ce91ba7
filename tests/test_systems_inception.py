"""I3D, S3D and S3D-v3: SAME padding, where time is looked at, image weights, gates and auxiliary heads."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from timelift import create_model
from timelift.auxiliary import auxiliary_answers
from timelift.clip import Clipwise
from timelift.conversions import ClipTooShort
from timelift.conversions.gate import SelfGate
from timelift.conversions.temporal import TemporalConv
from timelift.networks.conv_unit import SamePad, same_max_pool
from timelift.networks.inception_v1 import MIXED, inception_v1
from timelift.networks.inception_v3 import inception_v3
from timelift.records.errors import UsageError
from timelift.systems import SYSTEMS
from timelift.systems.i3d_port import keys_of_port
from timelift.systems.inception_time import PLACES
from timelift.systems.s3d_v3 import PLACES as PLACES_V3
from timelift.testing import wake

slow = pytest.mark.slow
SLOW = ["i2d", "s3d", "s3d_v3", "s3d_v3_joint", "s3d_v3_top_heavy"]  # to build; i3d and s3dg hold the rest


@cache
def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options).eval()


def random_clip(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- SAME ---


def needed(size, kernel, stride):
    """TensorFlow's words: pixels before and after for ceil(size / stride) outputs, the odd one after."""
    left_over = size % stride
    total = max(kernel - stride, 0) if left_over == 0 else max(kernel - left_over, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("size", [(7, 7), (8, 9), (11, 6), (1, 5), (2, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (2, 2), (3, 1), (5, 3)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    frames = random_clip(2, 3, *size)
    weight = random_clip(4, 3, kernel, kernel, seed=4)
    made = F.conv2d(SamePad(kernel, stride)(frames), weight, stride=stride)
    assert made.shape[2:] == tuple(-(-n // stride) for n in size)
    pooled = same_max_pool(kernel, stride)(frames)
    for row in range(made.shape[2]):
        for column in range(made.shape[3]):
            window = torch.zeros(2, 3, kernel, kernel, dtype=torch.float64)
            seen = torch.full_like(window, -torch.inf)
            for i in range(kernel):
                for j in range(kernel):
                    y = row * stride + i - needed(size[0], kernel, stride)[0]
                    x = column * stride + j - needed(size[1], kernel, stride)[0]
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        window[:, :, i, j] = seen[:, :, i, j] = frames[:, :, y, x]
            wanted = torch.einsum("nchw,ochw->no", window, weight)
            torch.testing.assert_close(made[:, :, row, column], wanted)
            torch.testing.assert_close(pooled[:, :, row, column], seen.amax((2, 3)))


# --- I3D against its well-known port, written down with 3-D functions alone ---

BRANCHES = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")


def port_units():
    """(name, channels in, channels out, kernel) of every unit of the port."""
    yield from (("Conv3d_1a_7x7", 3, 64, 7), ("Conv3d_2b_1x1", 64, 64, 1), ("Conv3d_2c_3x3", 64, 192, 3))
    inp = 192
    for block, (b0, b1a, b1b, b2a, b2b, b3b) in MIXED.items():
        made = ((inp, b0, 1), (inp, b1a, 1), (b1a, b1b, 3), (inp, b2a, 1), (b2a, b2b, 3), (inp, b3b, 1))
        yield from ((f"Mixed_{block}.{name}", *unit) for name, unit in zip(BRANCHES, made, strict=True))
        inp = b0 + b1b + b2b + b3b


def port_state(classes=5):
    """Random weights in the port's keys, of a scale that keeps every layer awake; exact in float32."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    state = {}
    for name, inp, out, kernel in port_units():
        shape = (out, inp, kernel, kernel, kernel)
        state[f"{name}.conv3d.weight"] = normal(*shape) * (2 / (inp * kernel**3)) ** 0.5
        state[f"{name}.bn.weight"] = 1 + 0.2 * normal(out)
        state[f"{name}.bn.bias"] = 0.1 * normal(out)
        state[f"{name}.bn.running_mean"] = 0.1 * normal(out)
        state[f"{name}.bn.running_var"] = 0.5 + normal(out).abs()
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)
    state["logits.conv3d.weight"] = normal(classes, 1024, 1, 1, 1) / 32
    state["logits.conv3d.bias"] = normal(classes)
    return state


@cache
def port_model():
    return create_model("i3d", classes=5, weights=port_state()).double().eval()


def padded(clip, kernel, stride, fill=0.0):
    amounts = [needed(n, k, s) for n, k, s in zip(clip.shape[2:], kernel, stride, strict=True)]
    return F.pad(clip, [n for pair in reversed(amounts) for n in pair], value=fill)


def port_answer(state, clip):
    """(B, C, T, H, W) -> (B, T', classes) as the port and the authors compute it."""
    state = {key: tensor.double() for key, tensor in state.items()}

    def unit(name, x, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, weight.shape[2:], (stride,) * 3), weight, stride=stride)
        mean, var, scale, shift = (
            state[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3).relu()

    def pool(x, kernel, stride):
        return F.max_pool3d(padded(x, kernel, stride, -torch.inf), kernel, stride)

    x = pool(unit("Conv3d_1a_7x7", clip, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    for block in MIXED:
        if block in ("4b", "5b"):
            x = pool(x, (3,) * 3 if block == "4b" else (2,) * 3, (2, 2, 2))
        name = f"Mixed_{block}"
        first = unit(f"{name}.b1b", unit(f"{name}.b1a", x))
        second = unit(f"{name}.b2b", unit(f"{name}.b2a", x))
        last = unit(f"{name}.b3b", pool(x, (3,) * 3, (1,) * 3))
        x = torch.cat([unit(f"{name}.b0", x), first, second, last], dim=1)
    window = [min(most, n) for most, n in zip((2, 7, 7), x.shape[2:], strict=True)]
    x = F.avg_pool3d(x, window, stride=1)
    x = F.conv3d(x, state["logits.conv3d.weight"], state["logits.conv3d.bias"])
    return x.mean((3, 4)).transpose(1, 2)


@pytest.mark.parametrize(
    "size", [(9, 17, 41), (8, 32, 16), (1, 31, 20), pytest.param((17, 70, 65), marks=slow)], ids=str
)
def test_i3d_computes_what_the_port_computes(size):
    state, model = port_state(), port_model()
    clip = random_clip(2, 3, *size)
    with torch.no_grad():
        wanted = port_answer(state, clip)
        torch.testing.assert_close(model.per_frame(clip), wanted, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(model(clip), wanted.mean(1), rtol=1e-8, atol=1e-8)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-4 * wanted.abs().max()
    assert model.image_net.image_facts.mean == (0.5, 0.5, 0.5)


@slow
def test_damaging_any_convolution_moves_i3ds_answer():
    model = port_model()
    clip = random_clip(1, 3, 9, 48, 48)
    with torch.no_grad():
        before = model(clip)
        weights = [m.weight for m in model.modules() if hasattr(m, "weight") and m.weight.dim() > 3]
        assert len(weights) == 57
        for weight in weights:
            kept = weight.clone()
            weight.mul_(0.5)
            assert (model(clip) - before).abs().max() > 1e-6
            weight.copy_(kept)


def test_a_key_that_is_not_the_ports_stays_for_the_strict_load_to_name():
    odd = {
        key: torch.zeros(1) for key in ("Mixed_3b.b9.conv3d.weight", "Mixed_3b.b0.norm.weight", "head.bias")
    }
    assert keys_of_port(odd) == {f"image_net.{key}": tensor for key, tensor in odd.items()}


# --- where time is looked at ---


def kernels_in_time(model):
    """Name of the layer in the image network -> slices of its longest kernel in time, for layers on clips."""
    found = {}
    for module in model.modules():
        if isinstance(module, Clipwise):
            inside = [m for m in module.modules() if not isinstance(m, Clipwise) and hasattr(m, "weight")]
            slices = [m.weight.shape[2] for m in inside if getattr(m.weight, "ndim", 0) == 5]
            found[module.name] = max(slices, default=0)
    return found


def place_of(layer):
    return layer.split(".")[0].split("_")[1]


@pytest.mark.parametrize("name", ["i3d", "s3d"])
@pytest.mark.parametrize(("first", "end"), [("2c", None), ("1a", "4f"), ("4c", "5b")])
def test_top_and_bottom_heavy_look_through_time_there_alone(name, first, end):
    model = on_meta(name, temporal_from=first, temporal_until=end)
    wanted = PLACES[PLACES.index(first) : len(PLACES) if end is None else PLACES.index(end)]
    longer = {layer: k for layer, k in kernels_in_time(model).items() if k > 1}
    assert {place_of(layer) for layer in longer} == set(wanted)
    assert all(k == (7 if place_of(layer) == "1a" else 3) for layer, k in longer.items())
    for place in set(wanted) - {"1a", "2c"}:
        assert len([layer for layer in longer if place_of(layer) == place]) == 2
    lengths = model.per_frame(torch.zeros(1, 3, 64, 64, 64, device="meta")).shape[1]
    assert lengths == 7  # the pools in time stay


@pytest.mark.parametrize(
    "first", ["6b", *(pytest.param(place, marks=slow) for place in ("2a", "6a", "7a", "7b"))]
)
def test_s3d_v3_looks_through_time_from_a_layer_on(first):
    model = on_meta("s3d_v3", temporal_from=first)
    longer = {place_of(layer) for layer, k in kernels_in_time(model).items() if k > 1}
    assert longer == set(PLACES_V3[PLACES_V3.index(first) :])
    assert model.per_frame(torch.zeros(1, 3, 64, 64, 64, device="meta")).shape == (1, 1, 5)


@pytest.mark.parametrize("name", ["i3d", "s3d", "s3d_v3"])
@pytest.mark.parametrize("option", ["temporal_from", "temporal_until"])
def test_a_place_that_there_is_not_is_named_with_those_there_are(name, option):
    with pytest.raises(UsageError, match=rf"{option}='3a': the places are 1a, 2"):
        create_model(name, **{option: "3a"})


def test_s3d_v3_looks_through_time_behind_kernels_pairs_and_before_forks():
    found = kernels_in_time(on_meta("s3d_v3"))

    def inside(frames, *places):
        return {
            layer.split(".", 1)[1] for layer, k in found.items() if k == frames and place_of(layer) in places
        }

    assert inside(7, "6b", "6c", "6d", "6e") == {"branch1.conv_7x1", "branch2.conv_1x7", "branch2.second_1x7"}
    assert inside(7, "7a") == {"branch1.conv_7x1"}
    assert inside(5, *PLACES_V3) == {"branch1.conv_5x5"}
    assert inside(3, "5b", "5c", "5d") == {"branch2.conv_3x3", "branch2.second_3x3"}
    assert inside(3, "6a") == {"branch0.halve", "branch1.conv_3x3", "branch1.halve"}
    assert inside(3, "7a") == {"branch0.halve", "branch1.halve"}
    assert inside(3, "7b", "7c") == {"branch1.fork.before", "branch2.conv_3x3", "branch2.fork.before"}


def test_joint_kernels_stand_in_for_every_pair():
    model = on_meta("s3d_v3", joint=True)
    shapes = [tuple(m.weight.shape[2:]) for m in model.modules() if getattr(m, "weight", None) is not None]
    assert shapes.count((7, 1, 7)) == 4 * 3 + 1
    assert shapes.count((7, 7, 1)) == 4 * 3 + 1
    assert (7, 1, 1) not in shapes
    apart = [
        tuple(m.weight.shape[2:])
        for m in on_meta("s3d_v3").modules()
        if getattr(m, "weight", None) is not None
    ]
    assert apart.count((7, 1, 1)) == 4 * 3 + 1
    assert apart.count((5, 1, 1)) == 3


# --- clips and maps of other sizes ---


@pytest.mark.parametrize("name", ["i3d", "s3dg", *(pytest.param(n, marks=slow) for n in SLOW)])
def test_shorter_clips_and_smaller_maps_are_taken(name):
    options = {"reduction": "same"} if "v3" in name else {}
    model = on_meta(name, classes=4, **options)
    for size in ((8, 112, 112), (13, 97, 131), (32, 256, 320)):
        assert model(torch.zeros(2, 3, *size, device="meta")).shape == (2, 4)


@pytest.mark.parametrize(("name", "shortest"), [("s3d", 5), pytest.param("s3d_v3", 49, marks=slow)])
def test_a_clip_too_short_is_told_the_shortest(name, shortest):
    model = on_meta(name, classes=4)
    with pytest.raises(ClipTooShort, match=f"at least {shortest} frames"):
        model(torch.zeros(1, 3, shortest - 1, 64, 64, device="meta"))
    assert model(torch.zeros(1, 3, shortest, 64, 64, device="meta")).shape == (1, 4)


def test_i3d_takes_a_single_frame_and_two_channels():
    model = create_model("i3d", classes=4, in_channels=2).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 2, 1, 20, 31)).shape == (1, 4)


# --- image weights ---


def image_weights(padding="same", classes=6):
    """Woken Inception-v1 with its state, and frames of the size that it was woken at."""
    torch.manual_seed(0)
    frames = random_clip(2, 3, 48, 48)
    return wake(inception_v1(classes, padding=padding), frames), frames


def around(name, net, **options):
    """The system around an image network's weights, built in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return SYSTEMS[name].build(image_state=net.state_dict(), **options).eval()
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("stem", ["separable", "3d"])
@pytest.mark.parametrize("length", [5, pytest.param(8, marks=slow)])
def test_s3d_around_image_weights_answers_a_still_clip_as_the_image_network(stem, length):
    net, frames = image_weights("symmetric")
    model = around("s3d", net, classes=6, stem=stem)
    clip = frames.unsqueeze(2).expand(-1, -1, length, -1, -1)
    with torch.no_grad():
        answer, wanted = model(clip), net(frames)
    apart = float((answer - wanted).abs().max() / wanted.abs().max())
    assert apart < 1e-9 if stem == "separable" else apart > 1e-2  # zeros around a 3-D stem are felt
    assert {model.groups["image_net.logits.weight"], model.groups["image_net.conv_2b.conv.weight"]} == {
        "kept"
    }


@slow
def test_i3d_around_image_weights_answers_as_the_image_network_inside_a_still_clip():
    net, frames = image_weights()
    model = around("i3d", net, classes=6)
    with torch.no_grad():
        answers = model.per_frame(frames[:1, :, None, :32, :32].expand(-1, -1, 128, -1, -1))
        wanted = net(frames[:1, :, :32, :32])
    torch.testing.assert_close(answers[:, 7], wanted, rtol=1e-9, atol=1e-9)
    assert (answers[:, 0] - wanted).abs().max() > 1e-3  # the zeros before the clip


def test_other_classes_and_channels_than_the_image_weights():
    state = inception_v1(6).state_dict()
    model = SYSTEMS["i3d"].build(classes=4, in_channels=2, image_state=state)
    new = {name for name, group in model.groups.items() if group == "new"}
    assert new == {"image_net.logits.weight", "image_net.logits.bias"}
    stem = model.image_net.conv_1a.conv.on_clips.weight
    assert stem.shape == (64, 2, 7, 7, 7)
    summed = state["conv_1a.conv.weight"].sum(1)
    torch.testing.assert_close(stem.detach().sum((1, 2)), summed, rtol=1e-5, atol=1e-6)


# --- norms, gates, auxiliary heads ---


@pytest.mark.parametrize(("name", "momentum"), [("i3d", 0.001), ("s3dg", 0.001), ("s3d_v3", 0.1)])
def test_every_norm_has_the_networks_eps_and_momentum(name, momentum):
    norms = [m for m in on_meta(name).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, momentum)}


@pytest.mark.parametrize("name", ["s3d", pytest.param("s3d_v3", marks=slow)])
def test_the_momentum_that_is_told_is_every_norms(name):
    norms = [m for m in on_meta(name, momentum=0.05).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.05)}


def test_s3dg_has_a_gate_behind_2c_and_behind_every_branch():
    model = on_meta("s3dg")
    widths = [w[i] for w in MIXED.values() for i in (0, 2, 4, 5)]
    gates = [m.excite.in_features for m in model.modules() if isinstance(m, SelfGate)]
    assert sorted(gates) == sorted([192, *widths])
    plain = sum(p.numel() for p in on_meta("s3d").parameters())
    assert sum(p.numel() for p in model.parameters()) == plain + 192**2 + sum(w**2 for w in widths)
    assert sum(isinstance(m, TemporalConv) for m in model.modules()) == 20


@slow
def test_a_gate_opened_wide_leaves_s3d():
    """Gates of 1 (their weights' sum is large) answer as S3D with the same weights."""
    torch.manual_seed(0)
    gated = create_model("s3dg", classes=3).double().eval()
    for module in gated.modules():
        if isinstance(module, SelfGate):
            nn.init.constant_(module.excite.weight, 1e9)
    plain = create_model("s3d", classes=3).double().eval()
    own = [tensor for name, tensor in gated.state_dict().items() if "excite" not in name]
    names = list(plain.state_dict())
    assert len(own) == len(names)
    plain.load_state_dict(dict(zip(names, own, strict=True)))
    clip = random_clip(1, 3, 6, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(gated(clip), plain(clip), rtol=1e-9, atol=1e-12)


def aux_model(norm="batch", **options):
    torch.manual_seed(0)
    model = create_model("s3d_v3", classes=3, size=96, reduction="same", auxiliary=norm, **options)
    return model.double().train()


@slow
@pytest.mark.parametrize("norm", ["batch", "dropout"])
def test_the_auxiliary_head_answers_in_training_to_whoever_asks(norm):
    model, clip = aux_model(norm), random_clip(2, 3, 8, 96, 96)
    with auxiliary_answers() as given:
        logits = model(clip)
    assert logits.shape == (2, 3)
    assert [(tuple(head.logits.shape), head.weight) for head in given] == [((2, 3), 0.4)]
    (logits.sum() + sum(head.logits.square().sum() for head in given)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    calls = []
    model.image_net.auxiliary.head.register_forward_hook(lambda *_: calls.append(1))
    model(clip)
    with auxiliary_answers() as given, torch.no_grad():
        model.eval()(clip)
    assert given == calls == []


def test_the_auxiliary_head_shrinks_with_the_map_and_refuses_one_too_small():
    def kernel(size):
        with torch.device("meta"):
            return inception_v3(5, auxiliary="batch", size=size).auxiliary.head.expand.conv.kernel_size

    assert (kernel(224), kernel(299), kernel(96)) == ((3, 3), (5, 5), (1, 1))
    with pytest.raises(UsageError, match="from 5 x 5, not 3 x 3"):
        create_model("s3d_v3", auxiliary="batch", size=64)
    with pytest.raises(UsageError, match="'layer'"):
        create_model("s3d_v3", auxiliary="layer")


@slow
@pytest.mark.parametrize("name", ["i3d", "s3dg", *SLOW])
def test_a_gradient_reaches_every_tensor(name):
    torch.manual_seed(0)
    options = {"reduction": "same"} if "v3" in name else {}
    model = create_model(name, classes=3, **options).train()
    model(random_clip(2, 3, 8, 64, 64).float()).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


# --- Inception-v3 on frames ---


def test_inception_v3_has_the_papers_parameters():
    def count(net):
        return sum(p.numel() for p in net.parameters())

    with torch.device("meta"):
        plain, heads = inception_v3(1000), inception_v3(1000, auxiliary="batch", size=299)
        five = inception_v3(5, auxiliary="batch", size=224)
    assert count(plain) == 23_834_568
    assert count(heads) == 27_161_264
    assert count(plain) - count(plain.logits) == 21_785_568
    assert count(five.auxiliary) == 988_677
