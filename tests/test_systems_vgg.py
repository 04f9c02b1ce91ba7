"""C3D and LTC against plain 3-D networks of PyTorch, and what is particular to each."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, linear, max_pool3d, relu

from timelift import create_model
from timelift.evaluation.cost import multiply_adds
from timelift.networks.vgg_like import halved
from timelift.records.errors import UsageError


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options)


def in_double(name, **options):
    """The system in float64 and eval, its biases drawn too, so that every one is felt."""
    torch.manual_seed(0)
    model = create_model(name, **options).double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.normal_(0, (2 / fan_in) ** 0.5 if key.endswith("weight") else 0.1)
    return model


def by_hand(model, clip, stages, ceil):
    """The same weights in PyTorch's own 3-D layers: convolutions, pools, then the dense layers."""
    tensors = iter(model.parameters())
    x = clip
    for number, convolutions in enumerate(stages):
        for _ in range(convolutions):
            weight, bias = next(tensors), next(tensors)
            x = relu(conv3d(x, weight, bias, padding=(weight.shape[2] // 2, 1, 1)))
        x = max_pool3d(x, (1, 2, 2) if number == 0 else 2, ceil_mode=ceil)
    x = x.flatten(1)
    while (weight := next(tensors, None)) is not None:
        x = linear(x, weight, next(tensors))
        x = x if len(weight) == 7 else relu(x)  # 7 classes: the last
    return x


@pytest.mark.parametrize(
    ("name", "options", "ceil"),
    [
        ("c3d_small", {"frames": 3, "size": 33, "depth": 1}, True),
        ("c3d_small", {"frames": 3, "size": 33, "depth": 3}, True),
        ("c3d_small", {"frames": 1, "size": 17, "depth": 5}, True),
        ("ltc", {"frames": 17, "size": 33, "in_channels": 2}, False),
    ],
)
def test_it_answers_as_pytorchs_own_3d_layers(name, options, ceil, generator):
    model = in_double(name, classes=7, **options)
    channels = options.get("in_channels", 3)
    shape = (1, channels, options["frames"], options["size"], options["size"])
    clip = torch.randn(shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        answer = model(clip)
        torch.testing.assert_close(answer, by_hand(model, clip, (1, 1, 1, 1, 1), ceil))
        assert (answer - model(clip.flip(2))).abs().max() > 1e-3 or options["frames"] == 1
    assert answer.shape == (1, 7)


@pytest.mark.slow
def test_c3d_answers_as_pytorchs_own_3d_layers(generator):
    model = in_double("c3d", classes=7, frames=2, size=17)
    clip = torch.randn((1, 3, 2, 17, 17), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), by_hand(model, clip, (1, 1, 2, 2, 2), ceil=True))


@pytest.mark.parametrize("name", ["c3d", "c3d_bn"])
def test_c3ds_convolutions_alone_are_what_its_paper_counts(name):
    model = on_meta(name)
    features = model.image_net.features
    convolutions = [m for m in features.modules() if getattr(m, "weight", torch.empty(0)).dim() == 5]
    assert sum(p.numel() for m in convolutions for p in m.parameters()) == 27_655_936
    dense = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    assert f"{(multiply_adds(model, (3, 16, 112, 112)) - dense) / 1e9:.2f}" == "38.50"


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_more_channels_add_27_numbers_to_each_of_ltcs_64_kernels(channels):
    counts = [sum(p.numel() for p in on_meta("ltc", in_channels=c).parameters()) for c in (1, channels)]
    assert counts[1] - counts[0] == (channels - 1) * 27 * 64


@pytest.mark.parametrize(("frames", "size"), [(100, 58), (100, 71), (60, 58), (60, 71), (16, 112), (47, 95)])
def test_ltc_flattens_what_floored_pools_leave(frames, size):
    head = on_meta("ltc", frames=frames, size=size).image_net.head
    assert head.fc6.in_features == 256 * (frames // 16) * (size // 32) ** 2


@pytest.mark.parametrize("length", range(1, 40))
def test_halving_counts_as_pytorchs_pools(length):
    x = torch.zeros(1, 1, length)
    for times in range(4):
        assert halved(length, times, ceil=True) == x.shape[2]
        x = nn.functional.max_pool1d(x, 2, ceil_mode=True)
    assert halved(length, 3) == length // 8


def test_c3d_starts_from_the_papers_gaussians():
    torch.manual_seed(0)
    tensors = dict(create_model("c3d_small", size=32, frames=4).named_parameters())
    weights = {name: t for name, t in tensors.items() if name.endswith("weight")}
    for name, weight in weights.items():
        wanted = 0.005 if "fc6" in name or "fc7" in name else 0.01
        assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.05), name
    biases = [t for name, t in tensors.items() if name.endswith("bias")]
    assert [sorted(set(bias.tolist())) for bias in biases] == [[0.0], *([[1.0]] * 6), [0.0]]


@pytest.mark.parametrize(
    ("name", "told", "shape", "says"),
    [
        ("c3d_small", {"frames": 32, "size": 32}, (3, 16, 32, 32), r"takes 2 frame.*frames="),
        ("c3d_small", {"frames": 4, "size": 32}, (3, 4, 48, 48), r"maps of 1 x 1 and got 2 x 2.*size="),
        ("ltc", {"frames": 16, "size": 32}, (2, 32, 32, 32), r"takes 1 frame.*got 2.*frames="),
    ],
)
def test_a_clip_of_another_size_than_told_is_one_clear_line(name, told, shape, says):
    model = on_meta(name, **told).eval()
    with pytest.raises(UsageError, match=says):
        model(torch.zeros(1, *shape, device="meta"))


@pytest.mark.parametrize(
    ("name", "frames", "size", "least"),
    [
        ("c3d_bn", 15, 32, "16 and 32"),
        ("c3d_bn", 16, 31, "16 and 32"),
        ("ltc", 15, 32, "16 and 32"),
        ("ltc", 16, 31, "16 and 32"),
        ("c3d", 0, 32, "1 and 1"),
        ("c3d_small", 4, 0, "1 and 1"),
    ],
)
def test_pools_that_would_leave_nothing_are_named(name, frames, size, least):
    with pytest.raises(UsageError, match=rf"{name}: frames={frames}, size={size}; .*at least {least}"):
        on_meta(name, frames=frames, size=size)
