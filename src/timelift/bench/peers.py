"""What `timelift bench peers` compares: torchvision's video networks, plain nn.Conv3d, other run-times.

torchvision comes as shipped first, then with what anybody may give it; what is ours has the same weights.
A case is made when its turn comes: its weights are drawn, and exported, to a folder first.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from timelift.bench.peer_calls import (
    CONVOLUTION_FLOPS,
    PRODUCT_FLOPS,
    Network,
    Precision,
    convolution_call,
    onnxruntime_call,
    openvino_call,
    optimized_call,
    product_call,
    random_clip,
    theirs,
    timelift_call,
    torchvision_call,
)
from timelift.bench.peer_layers import depthwise_call, depthwise_flops
from timelift.bench.peer_overlap import CLIPS, FRAMES, LENGTH, SIDE, overlap_call
from timelift.bench.peer_streams import rcn_again_call, rcn_stream_call, step_call
from timelift.bench.rotation import Call, Case, Contender, Race, race
from timelift.deploy import onnx_file
from timelift.deploy.optimize import computes_in_bfloat16
from timelift.deploy.program import trace_program
from timelift.networks.weights import read_state
from timelift.records import UsageError
from timelift.testing import wake

TURNS = 7
NETWORKS = {
    "r2plus1d_18": Network("r2plus1d_18", clips=4, frames=8, size=112),
    "s3d": Network("s3d", clips=4, frames=8, size=112),
    "r3d_18": Network("r3d_18", clips=4, frames=8, size=112),
    "s3d-224": Network("s3d", clips=1, frames=16, size=224),
}
_APART = 1e-4  # the relative difference that answers may have
_APART_IN_TRAINING = 5e-3  # batch statistics enlarge rounding: S3D's logits are 4e-4 apart, in float64 3e-13
_APART_IN_BFLOAT16 = 0.05
_KEPT = ", memory kept"


@dataclass(frozen=True)
class Setting:
    """Where the cases run, where they keep their files, and whether torch.compile is a contender."""

    folder: Path
    device: torch.device
    compiled: bool = False


def cases() -> dict[str, Callable[[Setting], Case]]:
    """Every case by name; calling one makes it."""
    made: dict[str, Callable[[Setting], Case]] = {}
    ends: tuple[tuple[str, bool, Precision], ...] = (
        ("", False, "float32"),
        ("-training", True, "float32"),
        ("-bfloat16", False, "bfloat16"),
        ("-training-bfloat16", True, "bfloat16"),
    )
    for end, training, precision in ends:
        for name in NETWORKS:
            if not training or name != "s3d-224":
                made[name + end] = partial(network_case, name, training, precision)
    return made | {
        "lite0-depthwise": depthwise_case,
        "stream-step": step_case,
        "stream-rcn": rcn_case,
        "overlap-frames": partial(overlap_case, False),
        "overlap-causal": partial(overlap_case, True),
    }


def default_cases(device: torch.device) -> list[str]:
    """Those of a whole run: the ones in bfloat16 where the processor computes in it."""
    return [name for name in cases() if not name.endswith("bfloat16") or computes_in_bfloat16(device)]


def run_cases(
    names: list[str], turns: int, threads: int, setting: Setting, tell: Callable[[str], None]
) -> Iterator[Race]:
    """One race after the other; `tell` hears which begins.

    Raises:
        UsageError: for a case that there is not.
    """
    there = cases()
    for name in names:
        if name not in there:
            raise UsageError(f"there is no case {name!r}; there are {', '.join(there)}")
    for name in names:
        tell(f"{name} ...")
        yield race(there[name](setting), turns, threads)


def network_case(name: str, training: bool, precision: Precision, setting: Setting) -> Case:
    """Logits of clips, or a step of SGD with the memory that it takes."""
    network, device = NETWORKS[name], setting.device
    weights, flops = prepared(network, setting.folder)
    flops *= 3 if training else 1  # backward: as much for the weights, and for what comes in
    peer = partial(torchvision_call, network, weights, device, training)
    contenders = [Contender("torchvision", peer, flops=flops)]

    def add(told: str, call: Callable[[], Call]) -> None:
        contenders.append(Contender(told, call, keeps_memory=True, flops=flops))

    if device.type == "cpu":
        add(f"torchvision{_KEPT}", peer)
    else:
        add("torchvision, channels-last", partial(peer, channels_last=True))
    if precision != "float32":
        add(f"torchvision, {precision}", partial(peer, precision=precision))
    if setting.compiled:
        add("torchvision, torch.compile", partial(peer, precision=precision, compiled=True))
    add("timelift", partial(timelift_call, network, weights, device, training, precision))
    if not training:
        optimized = partial(optimized_call, network, weights, device, precision, setting.compiled)
        add("timelift, optimized", optimized)
    if not training and device.type == "cpu":
        onnx = exported(network, weights, setting.folder)
        if precision == "float32":
            add("onnxruntime", partial(onnxruntime_call, network, onnx))
        add("OpenVINO", partial(openvino_call, network, onnx, precision))
    what = "training step" if training else "forward"
    shape = f"{network.clips} x {network.frames} x {network.size} x {network.size}"
    return Case(
        name + ("-training" if training else "") + ("" if precision == "float32" else f"-{precision}"),
        f"{network.peer}, {what}, {shape}, {precision}",
        (*contenders, *measures(device)),
        _APART_IN_BFLOAT16 if precision != "float32" else _APART_IN_TRAINING if training else _APART,
        live=training,
        like="" if precision == "float32" else f"torchvision, {precision}",
    )


def measures(device: torch.device) -> tuple[Contender, ...]:
    """What the machine reaches in these minutes: a 2-D convolution that suits it, a product of matrices."""
    convolution = partial(convolution_call, device)
    product = partial(product_call, device)
    return (
        Contender("(3x3, 256 channels)", convolution, True, CONVOLUTION_FLOPS, compared=False),
        Contender("(matrix product)", product, True, PRODUCT_FLOPS, compared=False),
    )


def depthwise_case(setting: Setting) -> Case:
    """All depthwise layers of lite0 with stride 1, forward and backward, inflated to three frames."""
    flops = 3 * depthwise_flops()
    plain = partial(depthwise_call, "nn.Conv3d", setting.device)
    contenders = (
        Contender("nn.Conv3d", plain, flops=flops),
        Contender(f"nn.Conv3d{_KEPT}", plain, True, flops),
        Contender(
            "nn.Conv3d, channels-last", partial(depthwise_call, "channels-last", setting.device), True, flops
        ),
        Contender("timelift", partial(depthwise_call, "timelift", setting.device), True, flops),
    )
    title = "lite0's depthwise 3 x k x k layers, forward and backward, 4 x 8 x 112 x 112, float32"
    return Case("lite0-depthwise", title, contenders, live=True)


def step_case(setting: Setting) -> Case:
    """One frame through a causal (2+1)D ResNet-18, and through the same network of nn.Conv3d."""
    throughout = partial(step_call, "all", setting.device)
    contenders = (
        Contender("nn.Conv3d", throughout),
        Contender(f"nn.Conv3d{_KEPT}", throughout, True),
        Contender("nn.Conv3d through time", partial(step_call, "time", setting.device), True),
        Contender("timelift", partial(step_call, "nothing", setting.device), True),
        Contender("timelift, optimized", partial(step_call, "nothing", setting.device, True), True),
    )
    return Case(
        "stream-step", "a stream's step, (2+1)D ResNet-18, one frame of 112 x 112, float32", contenders
    )


def rcn_case(setting: Setting) -> Case:
    """Each new frame's answer: from the stream, or from the last 16 frames."""
    again = partial(rcn_again_call, setting.device)
    contenders = (
        Contender("16 frames again", again),
        Contender(f"16 frames again{_KEPT}", again, True),
        Contender("timelift, streamed", partial(rcn_stream_call, setting.device), True),
        Contender("timelift, streamed, optimized", partial(rcn_stream_call, setting.device, True), True),
    )
    return Case("stream-rcn", "RCN-18, each new frame of 112 x 112, float32", contenders)


def overlap_case(causal: bool, setting: Setting) -> Case:
    """Clips that overlap, as dense evaluation judges them."""
    one_by_one = partial(overlap_call, causal, "one by one", setting.device)
    contenders = (
        Contender("clip by clip", one_by_one),
        Contender(f"clip by clip{_KEPT}", one_by_one, True),
        Contender(f"all at once{_KEPT}", partial(overlap_call, causal, "at once", setting.device), True),
        Contender(
            "timelift, shared work once", partial(overlap_call, causal, "shared", setting.device), True
        ),
    )
    lifted = "two causal 3-D convolutions first" if causal else "frame by frame"
    size = f"{CLIPS} clips of {LENGTH} frames of a video of {FRAMES}, {SIDE} x {SIDE}"
    name = "overlap-causal" if causal else "overlap-frames"
    return Case(name, f"ResNet-18, {lifted}, {size}, float32", contenders)


def prepared(network: Network, folder: Path) -> tuple[Path, float]:
    """The weights that all contenders take, awake, and the operations of a forward."""
    with torch.device("meta"):
        blank = theirs(network).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        blank(torch.empty(network.shape, device="meta"))
    file = folder / f"{network.peer}.safetensors"
    if not file.exists():
        torch.manual_seed(0)
        small = Network(network.peer, clips=4, frames=8, size=64)  # in float64: the smaller, the sooner
        save_file(wake(theirs(small), random_clip(small, torch.device("cpu"))).float().state_dict(), file)
    return file, float(counter.get_total_flops())


def exported(network: Network, weights: Path, folder: Path) -> Path:
    """torchvision's network as an ONNX file for clips of this number and size; none without the extra."""
    file = folder / f"{network.peer}-{network.size}.onnx"
    if not file.exists():
        net = theirs(network).eval()
        net.load_state_dict(read_state(weights))
        program = trace_program(net, {"clip": random_clip(network, torch.device("cpu"))}, ("logits",), {})
        with suppress(UsageError):  # the run-times' own processes say what is missing
            onnx_file.write(program, "", file)
    return file
