"""A convolution in its quickest form is PyTorch's: answers and gradients, whatever the form and the shape."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from timelift import Factorize, Inflate, every, lift
from timelift.rewrite import convolution as module
from timelift.rewrite import mode
from timelift.rewrite.convolution import convolution
from timelift.rewrite.forms import kernel_gradient_form
from timelift.rewrite.mode import rewritten
from timelift.rewrite.steps import Steps
from timelift.rewrite.winograd import kernel_gradient

FRAMES = list(itertools.product((1, 3), (1, 4, 5, 11), (3, 8, 10), (0, 1, 2)))  # number, H, W, padding
CLIPS = list(itertools.product((1, 2, 3), (1, 2, 5), (1, 2), (0, 1, 2)))  # slices, frames, stride, padding


def random(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype)


def of_kernel(convolve, kernel, gradient_like=None):
    """The kernel's gradient by autograd, and the answer's gradient that it was made of."""
    kernel = kernel.clone().requires_grad_()
    answer = convolve(kernel)
    gradient = random(*answer.shape, dtype=answer.dtype)
    return torch.autograd.grad(answer, kernel, gradient)[0], gradient


# --- Winograd's kernel gradient ---


@pytest.mark.parametrize(
    ("number", "height", "width", "padding"), [c for c in FRAMES if c[1] + 2 * c[3] >= 3]
)
def test_winograd_on_frames_is_the_gradient_of_conv2d(number, height, width, padding):
    frames, kernel = random(number, 3, height, width), random(5, 3, 3, 3)
    wanted, gradient = of_kernel(lambda k: F.conv2d(frames, k, padding=padding), kernel)
    clip, of_clip = (t.transpose(0, 1).unsqueeze(0) for t in (frames, gradient))
    came = kernel_gradient(of_clip, clip, 1, Steps(1, 0, 0, repeat=False), (padding, padding))
    torch.testing.assert_close(came.squeeze(2), wanted)


@pytest.mark.parametrize(
    ("slices", "length", "stride", "padding"), [c for c in CLIPS if c[1] + 2 * c[3] >= c[0]]
)
def test_winograd_on_clips_is_the_gradient_of_conv3d(slices, length, stride, padding, monkeypatch):
    clip, kernel = random(2, 3, length, 6, 5), random(4, 3, slices, 3, 3)
    wanted, gradient = of_kernel(
        lambda k: F.conv3d(clip, k, stride=(stride, 1, 1), padding=(padding, 1, 1)), kernel
    )
    steps = Steps(stride, padding, padding, repeat=False)
    for at_a_time in (1, 2**22):  # in pieces of one frame, and at once
        monkeypatch.setattr("timelift.rewrite.winograd._AT_A_TIME", at_a_time)
        torch.testing.assert_close(kernel_gradient(gradient, clip, slices, steps, (1, 1)), wanted)


def test_winograd_is_as_exact_in_float32_as_the_plain_sums():
    frames, kernel = random(16, 64, 28, 28), random(64, 64, 3, 3)
    wanted, gradient = of_kernel(lambda k: F.conv2d(frames, k, padding=1), kernel)
    clip, of_clip = (t.float().transpose(0, 1).unsqueeze(0) for t in (frames, gradient))
    came = kernel_gradient(of_clip, clip, 1, Steps(1, 0, 0, repeat=False), (1, 1)).squeeze(2)
    plain, _ = of_kernel(lambda k: F.conv2d(frames.float(), k, padding=1), kernel.float())
    error, of_plain = ((t - wanted).abs().max() / wanted.abs().max() for t in (came, plain))
    assert error < max(2 * of_plain, 5e-6)


# --- the convolution, in every form ---


def forms_of(monkeypatch, form):
    monkeypatch.setattr(module, "kernel_gradient_form", lambda *shape: form)


@pytest.mark.parametrize("form", ["winograd", "contiguous"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("with_bias", [True, False])
def test_every_form_has_the_gradients_of_pytorchs_convolution(form, axes, with_bias, monkeypatch):
    forms_of(monkeypatch, form)
    maps = random(2, 3, 4, 9, 7)[:, :, 0] if axes == 2 else random(2, 3, 4, 9, 7)
    kernel, bias = random(*(5, 3, 3, 3, 3)[: axes + 2]), random(5) if with_bias else None
    inputs = [t.requires_grad_() for t in (maps.contiguous(), kernel, bias) if t is not None]
    one = (1,) * axes
    plain = F.conv2d if axes == 2 else F.conv3d
    wanted = plain(*inputs, padding=1)
    came = convolution(*inputs, *([] if with_bias else [None]), one, one, one, 1)
    torch.testing.assert_close(came, wanted)
    gradient = random(*wanted.shape)
    for subset in itertools.chain([inputs], ([one_of] for one_of in inputs)):
        torch.testing.assert_close(
            torch.autograd.grad(came, subset, gradient, retain_graph=True),
            torch.autograd.grad(wanted, subset, gradient, retain_graph=True),
        )


@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_goes_through_time_in_strides(stride, monkeypatch):
    forms_of(monkeypatch, "winograd")
    clip, kernel = random(2, 3, 5, 6, 7).requires_grad_(), random(4, 3, 3, 3, 3).requires_grad_()
    came = convolution(clip, kernel, None, (stride, 1, 1), (1, 1, 1), (1, 1, 1), 1)
    wanted = F.conv3d(clip, kernel, None, (stride, 1, 1), 1)
    gradient = random(*wanted.shape)
    torch.testing.assert_close(
        torch.autograd.grad(came, kernel, gradient), torch.autograd.grad(wanted, kernel, gradient)
    )


def test_maps_without_a_batch_are_left_to_pytorch(monkeypatch):
    forms_of(monkeypatch, "winograd")
    frame, kernel = random(3, 9, 8), random(4, 3, 3, 3).requires_grad_()
    convolution(frame, kernel, None, (1, 1), (1, 1), (1, 1), 1).sum().backward()
    assert kernel.grad is not None


@pytest.mark.parametrize(("stride", "dilation", "side"), [(2, 1, 3), (1, 2, 3), (2, 1, 5)])
def test_contiguous_copies_serve_any_kernel(stride, dilation, side, monkeypatch):
    forms_of(monkeypatch, "contiguous")
    maps, kernel = random(2, 3, 11, 12).requires_grad_(), random(4, 3, side, side).requires_grad_()
    came = convolution(maps, kernel, None, (stride,) * 2, (1, 1), (dilation,) * 2, 1)
    wanted = F.conv2d(maps, kernel, None, stride, 1, dilation)
    gradient = random(*wanted.shape)
    torch.testing.assert_close(
        torch.autograd.grad(came, (maps, kernel), gradient),
        torch.autograd.grad(wanted, (maps, kernel), gradient),
    )


def test_the_gradient_can_be_differentiated(monkeypatch):
    forms_of(monkeypatch, "winograd")
    maps, kernel = random(1, 1, 4, 4).requires_grad_(), random(1, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda m, k: convolution(m, k, None, (1, 1), (1, 1), (1, 1), 1), (maps, kernel)
    )


# --- the rule ---


def test_the_rule_is_of_shapes_alone_and_leaves_pytorch_what_was_not_measured(monkeypatch):
    def form(maps, kernel, stride=1, groups=1, capability="AVX2", dtype=torch.float32):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        with torch.device("meta"):
            maps, kernel = torch.empty(maps, dtype=dtype), torch.empty(kernel, dtype=dtype)
        return kernel_gradient_form(maps, kernel, (stride,) * 2, (1, 1), groups)

    wide, kernel = (16, 64, 56, 56), (144, 64, 3, 3)
    assert form(wide, kernel) == "winograd"
    assert form(wide, kernel, stride=2) == "contiguous"
    assert form(wide, (144, 64, 7, 7)) == "contiguous"
    assert form((4, 512, 7, 7), (512, 512, 3, 3)) == "contiguous"  # more kernel than map
    assert form((2, 64, 8, 56, 56), (64, 64, 3, 3, 3)) == "winograd"
    assert form(wide, kernel, capability="AVX512") == "winograd"
    assert form((16, 256, 14, 14), (256, 256, 3, 3), capability="AVX512") == "winograd"
    for plain in (
        form(wide, (144, 64, 1, 1)),
        form(wide, (64, 1, 3, 3), groups=64),
        form((16, 3, 56, 56), (64, 3, 3, 3)),
        form(wide, kernel, capability="DEFAULT"),
        form(wide, kernel, stride=2, capability="AVX512"),
        form((16, 64, 56, 56), (48, 64, 3, 3), capability="AVX512"),
        form((4, 512, 7, 7), (512, 512, 3, 3), capability="AVX512"),  # more kernel than map
        form((12, 96, 7, 7), (128, 96, 3, 3), capability="AVX512"),  # little to win
        form(wide, kernel, dtype=torch.bfloat16),
    ):
        assert plain == "pytorch"


# --- inside a network ---


class Small(nn.Module):
    """Convolutions wide enough for the rule."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding="same")
        self.norm = nn.BatchNorm2d(64)
        self.conv = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.down = nn.Conv2d(64, 64, 3, 2, 1)
        self.fc = nn.Linear(64, 5)

    def forward(self, x):
        x = self.conv(self.norm(self.stem(x)).relu())
        return self.fc(self.down(x).relu().mean((2, 3)))


def lifted(conversion):
    torch.manual_seed(0)
    return lift(Small(), conversion @ every, example=torch.zeros(1, 3, 16, 16))


def gradients(video, clip):
    video.zero_grad()
    F.cross_entropy(video(clip), torch.arange(len(clip))).backward()
    return [parameter.grad.clone() for parameter in video.parameters()]


@pytest.fixture
def forms_taken(monkeypatch):
    """Which forms a forward takes, on whatever processor this is."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    taken = []
    rule = module.kernel_gradient_form
    monkeypatch.setattr(
        module, "kernel_gradient_form", lambda *shape: taken.append(rule(*shape)) or taken[-1]
    )
    return taken


@pytest.mark.parametrize("conversion", [Factorize(3), Inflate(3), Inflate(3, padding="zeros")], ids=repr)
def test_a_network_learns_the_same_with_and_without(conversion, forms_taken, monkeypatch):
    video, clip = lifted(conversion), random(2, 3, 4, 16, 16, dtype=torch.float32)
    twin = copy.deepcopy(video)

    def trained(net, steps=4):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in range(steps):
            gradients(net, clip)
            optimizer.step()
        return [parameter.detach() for parameter in net.parameters()]

    ours = trained(video)
    assert "winograd" in forms_taken
    assert "contiguous" in forms_taken
    monkeypatch.setattr(module, "kernel_gradient_form", lambda *shape: "pytorch")
    plain = trained(twin)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_a_network_that_does_not_learn_takes_no_form(forms_taken):
    video, clip = lifted(Factorize(3)), random(1, 3, 4, 16, 16, dtype=torch.float32)
    with torch.no_grad():
        video(clip)
    with torch.inference_mode():
        video(clip)
    video.requires_grad_(False)
    video(clip)
    assert forms_taken == []


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_gives_the_same_gradients(reentrant, forms_taken):
    torch.manual_seed(0)
    net, frames = Small(), random(4, 3, 16, 16, dtype=torch.float32).requires_grad_()

    def gradient(forward):
        net.zero_grad()
        with rewritten(frames):
            forward().square().mean().backward()
        return net.conv.weight.grad.clone()

    plain = gradient(lambda: net(frames))
    assert forms_taken
    kept = gradient(lambda: checkpoint(net, frames, use_reentrant=reentrant))
    torch.testing.assert_close(kept, plain)


def test_the_scope_ends_with_the_forward_also_after_an_error():
    video = lifted(Factorize(3))
    with pytest.raises(RuntimeError):
        video(torch.zeros(1, 2, 4, 16, 16))
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize(
    "arguments",
    [
        dict(stride=2, padding=1),
        dict(stride=(2, 1), padding=(0, 1), dilation=2),
        dict(padding="same"),
        dict(stride=[2]),
        dict(groups=2),
    ],
)
def test_conv2d_is_called_as_pytorch_lets_it_be_called(arguments):
    frames = random(2, 4, 9, 8)
    kernel = random(6, 4 // arguments.get("groups", 1), 3, 3).requires_grad_()
    wanted = F.conv2d(frames, kernel, **arguments)
    with mode.rewritten(frames):
        torch.testing.assert_close(F.conv2d(frames, kernel, **arguments), wanted)
        torch.testing.assert_close(F.conv2d(frames[0], kernel, **arguments), wanted[0])
        torch.testing.assert_close(F.conv2d(input=frames, weight=kernel, **arguments), wanted)


@pytest.mark.parametrize("groups", [1, 8])
def test_an_activation_in_place_may_follow(groups):
    image = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False), nn.ReLU(inplace=True))
    image.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(8, 2))
    for rule in (Inflate(3), Factorize(3), Inflate(3, padding="zeros", stride="spatial")):
        video = lift(copy.deepcopy(image), rule @ every)
        video(random(2, 8, 4, 6, 6, dtype=torch.float32)).sum().backward()
        assert all(p.grad is not None for p in video.parameters())
