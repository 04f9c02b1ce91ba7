"""Transform: its kernel against numpy, a turn and a shift by hand, and what lift and training make of it."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from heart_tiny import Tiny, clip, seeded
from timelift import ConversionError, Inflate, Transform, check_conversion, create_model, lift
from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.transform import Affine, MovedKernel, Similarity, in_motion, sampling_grids
from timelift.records import Optimisation
from timelift.testing.layers import Gained, SamePadded, Standardised, cases
from timelift.training.groups import parameter_groups
from timelift.variants import parse_variant

PADDINGS = ("replicate", "zeros", "same", "valid")
MOTIONS = ("similarity", "affine")
EVERY_TRANSFORM = [
    Transform(frames, motion, shared, start, causal, padding, stride)
    for frames, motion, shared, start, causal, padding, stride in itertools.product(
        (1, 2, 4), MOTIONS, (False, True), ("average", "normal"), (False, True), PADDINGS, ("none", "spatial")
    )
    if not (causal and padding == "same") and (start == "average" or padding == "replicate")
]
FEW = [
    Transform(),
    Transform(2, "affine", padding="valid", stride="spatial"),
    Transform(5, shared=True, start="normal", padding="zeros"),
    Transform(3, "affine", shared=True, causal=True),
    Transform(4, causal=True, padding="valid"),
    Transform(1, padding="same"),
]


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _moving(kernel, size=0.3, seed=0):
    """The kernel with every motion drawn around its start."""
    generator = _generator(seed)
    with torch.no_grad():
        for parameter in kernel.motion.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(size * drawn.to(parameter.dtype))
    return kernel


def _kernel(shape, frames=3, motion=Similarity, steps=None):
    k0 = torch.randn(shape, generator=_generator(), dtype=torch.float64)
    return MovedKernel(k0, frames, motion(steps or frames - 1, k0))


@pytest.mark.parametrize("conversion", FEW, ids=repr)
def test_transform_keeps_its_laws(conversion):
    report = check_conversion(conversion)
    assert set(report.laws) >= {"shape", "every weight learns", *conversion.keeps}
    sides = {name: min(case.build().kernel_size) for name, case in cases()}
    assert set(report.refused) == {name for name, side in sides.items() if side == 1}


@pytest.mark.slow
@pytest.mark.parametrize("conversion", EVERY_TRANSFORM, ids=repr)
def test_transform_with_all_its_fields_keeps_its_laws(conversion):
    assert check_conversion(conversion).laws["shape"] >= 20


def test_the_laws_declared_are_those_that_the_fields_give():
    assert Transform().keeps == Transform(padding="valid").keeps == {"still_clip"}
    assert Transform(padding="zeros").keeps == Transform(start="normal").keeps == frozenset()
    assert Transform(causal=True).keeps == {"still_clip", "causal"}
    assert Transform(1, start="normal").keeps == {"causal"}


# --- the kernel ---


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("side", [(2, 2), (3, 3), (5, 4), (7, 7)])
def test_nothing_moves_at_first_and_a_pretrained_kernel_is_shared_out(motion, side):
    conv = nn.Conv2d(4, 6, side)
    made = Transform(5, motion)(conv)
    for slice_ in made.kernel().unbind(2):
        torch.testing.assert_close(slice_, conv.weight / 5, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made.bias, conv.bias)


def test_the_papers_start_is_normal_and_does_not_look_at_the_layer():
    conv = nn.Conv2d(64, 64, 5)
    k0 = seeded(lambda: Transform(5, start="normal")(conv)).weight.k0.detach()
    assert abs(float(k0.mean())) < 0.01
    assert float(k0.std()) == pytest.approx(1, abs=0.01)
    nn.init.zeros_(conv.weight)
    torch.testing.assert_close(seeded(lambda: Transform(5, start="normal")(conv)).weight.k0.detach(), k0)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (2, 1, 4, 5)])
def test_a_translation_by_a_pixel_shifts_the_slice(shape):
    height, width = shape[2:]
    kernel = _kernel(shape, frames=2)
    with torch.no_grad():
        kernel.motion.translate_x[0, 0] = 2 / (width - 1)
        kernel.motion.translate_y[0, 1] = -2 / (height - 1)
    k0, moved = kernel.k0, kernel()[:, :, 1]
    zeros = torch.zeros(shape[1:], dtype=torch.float64)
    torch.testing.assert_close(moved[0], torch.cat([k0[0], zeros], dim=2)[..., 1 : width + 1])
    torch.testing.assert_close(moved[1], torch.cat([zeros, k0[1]], dim=1)[:, height - 1 : -1])


def test_a_quarter_turn_turns_the_slice_and_four_bring_it_back():
    kernel = _kernel((2, 3, 5, 5), frames=5)
    with torch.no_grad():
        kernel.motion.rotate[:] = math.pi / 2
    for turns, slice_ in enumerate(kernel().unbind(2)):
        torch.testing.assert_close(slice_, torch.rot90(kernel.k0, turns, dims=(2, 3)))


def test_a_scale_of_two_samples_twice_as_far_out():
    kernel = _kernel((1, 1, 5, 5), frames=2)
    with torch.no_grad():
        kernel.motion.scale[:] = 2
    wanted = torch.zeros(5, 5, dtype=torch.float64)
    wanted[1:4, 1:4] = kernel.k0[0, 0, ::2, ::2]
    torch.testing.assert_close(kernel()[0, 0, 1], wanted)


def test_the_matrix_is_the_papers():
    motion = Similarity(1, torch.zeros(1, 1, 3, 3, dtype=torch.float64))
    s, r, tx, ty = 1.3, 0.4, 0.2, -0.5
    with torch.no_grad():
        for parameter, value in zip(motion.parameters(), (s, r, tx, ty), strict=True):
            parameter.fill_(value)
    cos, sin = math.cos(r), math.sin(r)
    wanted = [
        [s * cos, -s * sin, tx * s * cos - ty * s * sin],
        [s * sin, s * cos, tx * s * sin + ty * s * cos],
    ]
    torch.testing.assert_close(motion()[0, 0], torch.tensor(wanted, dtype=torch.float64))


def _sampled(plane, matrix):
    """One plane (h, w) moved by a 2x3 matrix: every pixel alone, by the weights of the paper's equation 4."""
    height, width = plane.shape
    moved = np.zeros_like(plane)
    for row, column in np.ndindex(height, width):
        x, y = 2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1
        from_x, from_y = matrix @ [x, y, 1]
        from_column, from_row = (from_x + 1) / 2 * (width - 1), (from_y + 1) / 2 * (height - 1)
        for i, j in np.ndindex(height, width):
            weight = max(0, 1 - abs(from_row - i)) * max(0, 1 - abs(from_column - j))
            moved[row, column] += weight * plane[i, j]
    return moved


@pytest.mark.parametrize("steps", [3, 1])
@pytest.mark.parametrize("motion", [Similarity, Affine])
@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 1, 2, 5), (2, 33, 2, 2)])
def test_the_kernel_is_a_loop_over_filters_slices_and_pixels(shape, motion, steps):
    kernel = _moving(_kernel(shape, frames=4, motion=motion, steps=steps))
    came = kernel().detach().numpy()
    theta = kernel.motion().detach().numpy()
    for out, inp in np.ndindex(shape[:2]):
        slice_ = kernel.k0[out, inp].detach().numpy()
        for t in range(4):
            np.testing.assert_allclose(came[out, inp, t], slice_, atol=1e-12)
            slice_ = _sampled(slice_, theta[min(t, steps - 1), out])


@pytest.mark.parametrize("motion", [Similarity, Affine])
def test_many_channels_take_another_way_to_the_same_kernel_and_gradients(motion):
    many = _moving(_kernel((3, 40, 2, 2), frames=4, motion=motion))
    assert many.k0.shape[1] >= 8 * 4
    directly = in_motion(many.k0, sampling_grids(many.motion(), 2, 2))
    upstream = torch.randn(directly.shape, generator=_generator(1), dtype=torch.float64)
    torch.testing.assert_close(many(), directly)
    parameters = list(many.parameters())
    wanted = torch.autograd.grad(directly, parameters, upstream)
    torch.testing.assert_close(torch.autograd.grad(many(), parameters, upstream), wanted)


def test_a_shared_motion_is_the_same_motion_at_every_step():
    shared, own = (Transform(4, shared=s)(nn.Conv2d(2, 3, 3)).weight for s in (True, False))
    _moving(shared)
    with torch.no_grad():
        own.k0.copy_(shared.k0)
        for one, other in zip(own.motion.parameters(), shared.motion.parameters(), strict=True):
            one.copy_(other.expand(3, -1))
    torch.testing.assert_close(shared(), own())
    assert not torch.allclose(shared()[:, :, 2], shared()[:, :, 1])  # iterated, not repeated


@pytest.mark.parametrize("size", [(3, 3), (4, 6)])
def test_the_grids_are_pytorchs(size):
    theta = torch.randn(2, 5, 2, 3, generator=_generator(), dtype=torch.float64)
    wanted = F.affine_grid(theta.flatten(0, 1), [10, 1, *size], align_corners=True).unflatten(0, (2, 5))
    torch.testing.assert_close(sampling_grids(theta, *size), wanted)


def test_autocast_does_not_round_the_motion():
    kernel = _moving(_kernel((3, 2, 7, 7)).float(), 0.1)
    outside = kernel()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(kernel(), outside)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("motion", MOTIONS)
def test_every_number_of_k0_and_of_the_motions_learns(motion, shared):
    made = Transform(4, motion, shared)(nn.Conv2d(3, 5, 3, padding=1)).double()
    made(clip(5, 2, 3, 9).double()).square().sum().backward()  # from the start without motion
    for name, parameter in made.named_parameters():
        assert parameter.grad.abs().min() > 0, name


@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        (
            dict(motion="similarity"),
            {"scale": (4, 6), "rotate": (4, 6), "translate_x": (4, 6), "translate_y": (4, 6)},
        ),
        (
            dict(motion="similarity", shared=True),
            dict.fromkeys(("scale", "rotate", "translate_x", "translate_y"), (1, 6)),
        ),
        (dict(motion="affine"), {"theta": (4, 6, 2, 3)}),
        (dict(motion="affine", shared=True), {"theta": (1, 6, 2, 3)}),
    ],
)
def test_the_parameters_are_counted(fields, shapes):
    made = Transform(5, **fields)(nn.Conv2d(4, 6, 3, groups=2))
    named = {name: tuple(parameter.shape) for name, parameter in made.named_parameters()}
    motions = {f"weight.motion.{name}": shape for name, shape in shapes.items()}
    assert named == {"weight.k0": (6, 2, 3, 3), "bias": (6,)} | motions


# --- the layer ---


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_layer_is_conv3d_with_the_built_kernel(motion, padding, groups):
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups)
    made = Transform(3, motion, padding=padding)(conv)
    _moving(made.weight)
    frames = clip(5, 2, 4, 9)
    ends = {"valid": (0, 0), "replicate": (0, 0)}.get(padding, (1, 1))
    seen = F.pad(frames, (0, 0, 0, 0, *ends))
    if padding == "replicate":
        seen = frames[:, :, [0, 0, 1, 2, 3, 4, 4]]
    wanted = F.conv3d(seen, made.kernel(), conv.bias, (1, 2, 2), (0, 1, 1), groups=groups)
    torch.testing.assert_close(made(frames), wanted)


@pytest.mark.parametrize("build", [SamePadded, Standardised, Gained])
def test_a_subclass_keeps_its_forward_and_gets_the_slices(build):
    layer = seeded(lambda: build(4, 6, 3).double())
    made = Transform(3)(layer)
    _moving(made.weight)
    inflated = Inflate(3, "random")(layer)
    own = {name: tensor for name, tensor in made.state_dict().items() if not name.startswith("weight.")}
    inflated.load_state_dict(own | {"weight": made.kernel().detach()})
    frames = clip(5, 2, 4, 9).double()
    torch.testing.assert_close(made(frames), inflated(frames))
    assert torch.allclose(Transform(2)(layer).kernel().sum(2), Inflate(1)(layer).weight.squeeze(2))


@pytest.mark.parametrize("length", [1, 4, 5])
@pytest.mark.parametrize(
    "conversion",
    [
        Transform(3, padding="zeros"),
        Transform(3, padding="zeros", causal=True),
        Inflate(4, "random", padding="zeros"),
        Inflate(5, "random", padding="same"),
        Inflate(3, "random", padding="same", stride="spatial"),
    ],
    ids=repr,
)
def test_zeros_that_conv3d_adds_are_those_that_would_be_added_before(conversion, length):
    made = conversion(nn.Conv2d(4, 6, 3, stride=2, padding=1))
    frames = clip(length, 2, 4, 9)
    steps = made.window.steps(frames)
    padded = nn.functional.pad(frames, (0, 0, 0, 0, steps.before, steps.after))
    wanted = nn.functional.conv3d(padded, made.kernel(), made.bias, (steps.stride, 2, 2), (0, 1, 1))
    torch.testing.assert_close(made(frames), wanted)


@pytest.mark.parametrize("kernel", [1, (1, 5), (3, 1)])
def test_a_kernel_in_which_nothing_can_move_is_refused_with_the_remedy(kernel):
    with pytest.raises(ConversionError, match="nothing can move: use Inflate or Factorize"):
        Transform()(nn.Conv2d(2, 3, kernel))


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Linear(2, 2), nn.Conv3d(1, 1, 3)])
def test_only_convolutions_are_transformed(layer):
    with pytest.raises(ConversionError, match=type(layer).__name__):
        Transform()(layer)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(frames=0), "at least 1"),
        (dict(motion="rigid"), "similarity, affine"),
        (dict(start="identity"), "average, normal"),
        (dict(padding="reflect"), "replicate"),
        (dict(padding="same", causal=True), "looks ahead"),
        (dict(stride=2), "spatial"),
    ],
)
def test_fields_that_do_not_fit_are_refused_in_one_line(fields, words):
    with pytest.raises(ConversionError, match=words) as caught:
        Transform(**fields)
    assert "\n" not in str(caught.value)


# --- in networks ---


@pytest.mark.parametrize("length", [1, 6])
def test_a_lifted_network_answers_a_still_clip_as_the_image_network(length):
    net = seeded(Tiny).eval()
    video = lift(net, Transform(3, "affine"))
    frame = clip(1)
    torch.testing.assert_close(video(frame.expand(-1, -1, length, -1, -1)), net(frame[:, :, 0]))
    assert {row.new for row in video.receipt.converted} == {()}
    assert all("weight.k0" in row.lifted for row in video.receipt.converted)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motions_do_not_decay_and_k0_does(motion):
    video = lift(seeded(Tiny), Transform(3, motion))
    names = {id(parameter): name for name, parameter in video.named_parameters()}
    decays = {
        names[id(parameter)]: group["weight_decay"] > 0
        for group in parameter_groups(video, video.parameter_groups(), Optimisation(weight_decay=0.1))
        for parameter in group["params"]
    }
    assert not any(decays[name] for name in decays if ".motion." in name)
    assert all(decays[name] for name in decays if name.endswith("k0"))


@pytest.mark.parametrize(
    "rule", ["Transform(frames=3, motion='affine') @ first(2)", "transform(5, shared=True)"]
)
def test_a_variant_comes_back_from_its_text(rule):
    variant = parse_variant(f"timm:resnet18(weights=None) {rule}")
    assert parse_variant(str(variant)) == variant
    video = lift(Tiny(), *variant.rules)
    assert sum(isinstance(module, MovedKernel) for module in video.modules()) == (2 if "@" in rule else 5)


def test_a_kernel_on_meta_is_counted():
    with torch.device("meta"):
        for layer in (nn.Conv2d(4, 6, 3), SamePadded(4, 6, 3)):
            for conversion in (Transform(3), Transform(3, start="normal"), Inflate(3)):
                made = conversion(layer)
                assert made(torch.zeros(1, 4, 5, 9, 9)).is_meta


# --- LeNet-5-3DTTN ---


def test_lenet5_3dttn_begins_as_the_paper_says():
    model = seeded(lambda: create_model("lenet5_3dttn", channels=(40, 50), frames=12, size=12))
    for name, inputs in (("conv1", 1), ("conv2", 40)):
        conv = model.get_submodule(f"image_net.features.{name}").on_clips
        assert isinstance(conv, ConvOnClips)
        assert float(conv.weight.k0.detach().std()) == pytest.approx(1, abs=0.1)
        torch.testing.assert_close(conv.kernel()[:, :, 4], conv.weight.k0)
        bound = (inputs * 125) ** -0.5  # nn.Conv3d's own
        assert 0.8 * bound < float(conv.bias.detach().abs().max()) <= bound


def test_lenet5_3d_starts_as_the_text_or_as_the_code():
    for start, std in (("kaiming", (3 * 125 * 40) ** -0.5), ("normal", 1)):
        model = seeded(lambda start=start: create_model("lenet5_3d", channels=(40, 50), start=start))
        conv = model.get_submodule("image_net.features.conv2").on_clips
        assert float(conv.weight.detach().std()) == pytest.approx(std, rel=0.05)
        assert (float(conv.bias.detach().std()) > 0.5) == (start == "normal")
        assert set(model.parameter_groups().values()) == {"new"}
    with pytest.raises(ValueError, match="kaiming and normal"):
        create_model("lenet5_3d", start="zero")


@pytest.mark.parametrize("name", ["lenet5_3d", "lenet5_3dttn"])
def test_a_clip_of_which_the_pools_leave_nothing_is_refused(name):
    with pytest.raises(ValueError, match="frames=11; its pools leave something of 12"):
        create_model(name, frames=11)
