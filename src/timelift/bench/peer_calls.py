"""What contenders do: the same weights on the same clips, by torchvision, by us, by other run-times."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from timelift.bench.rotation import Call
from timelift.deploy import onnx_file, openvino_file
from timelift.deploy.optimize import optimize
from timelift.networks.images import import_torchvision
from timelift.networks.weights import read_state
from timelift.systems import create_model

Precision = Literal["float32", "bfloat16"]
CLASSES = 400


@dataclass(frozen=True)
class Network:
    """A video network of torchvision's, ours of the same weights, and the clips that both are given."""

    peer: str
    clips: int
    frames: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(B, C, T, H, W)."""
        return self.clips, 3, self.frames, self.size, self.size


def theirs(network: Network) -> nn.Module:
    """torchvision's own, random. Its S3D has a head for 224 pixels: for fewer, one of the map's size."""
    net = getattr(import_torchvision().models.video, network.peer)(weights=None, num_classes=CLASSES)
    if network.peer == "s3d" and network.size < 224:
        side, length = network.size // 32, network.frames // 8
        net.avgpool = nn.AvgPool3d((min(2, length), side, side), stride=1)
    return net


def random_clip(network: Network, device: torch.device) -> Tensor:
    """The same clips for every contender."""
    return torch.randn(network.shape, generator=torch.Generator().manual_seed(0)).to(device)


def torchvision_call(
    network: Network,
    weights: Path,
    device: torch.device,
    training: bool = False,
    precision: Precision = "float32",
    channels_last: bool = False,
    compiled: bool = False,
) -> Call:
    """torchvision's network as shipped, or with what a user may give it: another layout, torch.compile."""
    net = theirs(network)
    net.load_state_dict(read_state(weights))
    clip = random_clip(network, device)
    if channels_last:
        net = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        clip = clip.to(memory_format=torch.channels_last_3d)
    return _call(net.to(device), clip, training, precision, compiled)


def timelift_call(
    network: Network,
    weights: Path,
    device: torch.device,
    training: bool = False,
    precision: Precision = "float32",
    compiled: bool = False,
) -> Call:
    """`create_model` with these weights, as it comes."""
    net = create_model(network.peer, weights=weights, classes=CLASSES).to(device)
    return _call(net, random_clip(network, device), training, precision, compiled)


def optimized_call(
    network: Network, weights: Path, device: torch.device, precision: Precision, compiled: bool = False
) -> Call:
    """The same behind `timelift.optimize`."""
    clip = random_clip(network, device)
    net = create_model(network.peer, weights=weights, classes=CLASSES).to(device).eval()
    return forward_call(optimize(net, clip, precision, compiled), clip, "float32")


def onnxruntime_call(network: Network, onnx: Path) -> Call:
    """torchvision's network, exported for clips of this number and size."""
    return _opened(onnx_file.read(onnx).run, network)


def openvino_call(network: Network, onnx: Path, precision: Precision = "float32") -> Call:
    """The same in OpenVINO."""
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    return _opened(openvino_file.read(onnx, hint).run, network)


def _opened(run: Callable, network: Network) -> Call:
    clip = random_clip(network, torch.device("cpu"))
    return Call(lambda: run([clip]), lambda: run([clip]))


def _call(net: nn.Module, clip: Tensor, training: bool, precision: Precision, compiled: bool) -> Call:
    called: Any = torch.compile(net) if compiled else net
    return training_call(called, clip, precision) if training else forward_call(called, clip, precision)


def forward_call(net: Callable, clip: Tensor, precision: Precision) -> Call:
    """Logits of the clip, in eval mode."""
    if isinstance(net, nn.Module):
        net.eval()

    def run() -> Tensor:
        with torch.inference_mode(), in_precision(clip.device, precision):
            logits = net(clip)
        return settled(logits)

    return Call(run, lambda: (run(),))


def training_call(net: nn.Module, clip: Tensor, precision: Precision) -> Call:
    """A step of SGD with momentum; its answers: the logits in train mode, and the gradients' length."""
    without_dropout(net.train())
    labels = torch.arange(len(clip), device=clip.device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9)

    def backward() -> Tensor:
        with in_precision(clip.device, precision):
            logits = net(clip)
            loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return logits.detach()

    def run() -> None:
        backward()
        optimizer.step()
        settled(clip)

    def answer() -> tuple[Tensor, Tensor]:
        logits = backward()
        return logits, nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])

    return Call(run, answer)


def without_dropout(net: nn.Module) -> None:
    """No masks: they would be others in another process's network."""
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout3d):
            module.p = 0.0


def in_precision(device: torch.device, precision: Precision) -> AbstractContextManager:
    """Autocast to bfloat16, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def settled(answer: Tensor) -> Tensor:
    """The answer, once the device has finished it."""
    if answer.is_cuda:
        torch.cuda.synchronize(answer.device)
    return answer


def convolution_call(device: torch.device) -> Call:
    """A 3 x 3 convolution, 256 channels to 256, of 32 maps of 28 x 28: `CONVOLUTION_FLOPS`."""
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device)
    maps, conv.weight.data = (
        some.contiguous(memory_format=torch.channels_last)
        for some in (torch.randn(32, 256, 28, 28, device=device), conv.weight.data)
    )
    return forward_call(conv, maps, "float32")


def product_call(device: torch.device) -> Call:
    """A product of two matrices of 2048 x 2048: `PRODUCT_FLOPS`."""
    one, other = torch.randn(2, 2048, 2048, device=device)
    return forward_call(lambda x: torch.mm(x, other), one, "float32")


CONVOLUTION_FLOPS = 2.0 * 32 * 28 * 28 * 256 * 256 * 9
PRODUCT_FLOPS = 2.0 * 2048**3
