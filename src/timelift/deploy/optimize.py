"""optimize: a network for inference in whichever form is measured the quickest here, with the same answers.

The forms: as it is; "frozen" (norms folded, kernels packed, activations fused: `deploy.frozen`); "compiled"
(torch.compile of the folded network, which takes a minute and a C++ compiler); all in bfloat16, too, where
that is asked for (the network as it is: by autocast). A form whose answers differ by more than is allowed is
left out, with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from timelift.deploy.forms import TOLERANCE, WORTH, apart, check_float32, full_float32, too_far, until_done
from timelift.deploy.frozen import folded, packed
from timelift.deploy.program import quiet, trace_program, with_kernels_made
from timelift.lifting import VideoModel
from timelift.records import UsageError
from timelift.timing import Contest, Timed, measure

Precision = Literal["float32", "bfloat16", "auto"]
AS_IT_IS = "as it is"
_IN_BFLOAT16 = ", bfloat16"
_TOLERANCE_IN_BFLOAT16 = 0.05  # of the largest answer
_OF_AUTOCAST = 2.0  # times the difference of the network as it is, where bfloat16 is asked for


@dataclass(frozen=True)
class Way:
    """A form of the network: its times, turn by turn with the others, and how far its answers are off.

    left_out: why it cannot be taken; "" for one that can.
    """

    name: str
    timed: Timed | None
    difference: float
    left_out: str = ""


class OptimizedModel:
    """What a VideoModel in eval says of itself, and its answers, in the quickest form for clips of one shape.

    Clips of another length, size or number are answered by the network as it is: kernels are packed, and
    code is compiled, for these. ways: all that was tried. chosen: the name of the one that is taken.
    """

    def __init__(
        self, video: VideoModel, shape: tuple[int, ...], ways: tuple[Way, ...], chosen: str, run: Callable
    ):
        self.video, self.shape, self.ways, self.chosen = video, shape, ways, chosen
        self.classes, self.several_labels, self.transform = (
            video.classes,
            video.several_labels,
            video.transform,
        )
        self._run = run

    @property
    def speedup(self) -> float:
        """Times as fast as the network as it is, least time over least time."""
        timed = {way.name: way.timed for way in self.ways if way.timed is not None}
        return timed[AS_IT_IS].minimum / timed[self.chosen].minimum

    def __call__(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) float32 -> (B, K)."""
        with torch.no_grad():
            return self._run(clip) if tuple(clip.shape) == self.shape else self.video(clip)


def optimize(
    video: VideoModel,
    clip: Tensor,
    precision: Precision = "float32",
    compiled: bool = True,
    turns: int = 5,
    tell: Callable[[str], None] = lambda line: None,
) -> OptimizedModel:
    """The network's quickest form for clips like this one, (B, C, T, H, W); the network itself stays.

    precision: "bfloat16" or "auto" also try bfloat16, "auto" only where the processor computes in it. Answers
    may be off by 1e-4 of the largest, in bfloat16 by 0.05; with "bfloat16" by twice what the network as it is
    is off by under autocast, if that is more: it is then the network that asks for more digits.
    compiled: also try torch.compile. turns: how often each form is timed, in turn with the others. tell:
    hears what is being made.

    Raises:
        UsageError: for a network in train mode, or one that cannot be traced.
    """
    if video.training:
        raise UsageError("the network is in train mode: call video.eval() first")
    check_float32(video, clip)
    if precision not in ("float32", "bfloat16", "auto"):
        raise UsageError(f"precision {precision!r}: float32, bfloat16 or auto")
    runs, left_out = _made(video, clip, precision, compiled, tell)
    with torch.no_grad(), full_float32():
        wanted = video(clip)
    taken = {AS_IT_IS: runs.pop(AS_IT_IS)}
    differences, in_bfloat16 = {AS_IT_IS: 0.0}, _TOLERANCE_IN_BFLOAT16
    for name, run in runs.items():
        try:
            with full_float32():
                came = run(clip)
        except Exception as error:  # a processor or a compiler without what it needs
            left_out[name] = _line(error)
            continue
        off = apart([(came, wanted)])
        if name == AS_IT_IS + _IN_BFLOAT16 and precision == "bfloat16":
            in_bfloat16 = max(in_bfloat16, _OF_AUTOCAST * off)
        far = too_far(off, in_bfloat16 if name.endswith(_IN_BFLOAT16) else TOLERANCE)
        if far:
            left_out[name] = far
        else:
            taken[name], differences[name] = run, off
    tell("timing")
    timed = measure(
        Contest("", {name: partial(until_done, run, clip) for name, run in taken.items()}), turns
    ).ways
    ways = [Way(one.name, one, differences[one.name]) for one in timed]
    ways += [Way(name, None, float("nan"), reason) for name, reason in left_out.items()]
    chosen = timed[0]
    for one in timed[1:]:
        if one.minimum < WORTH * chosen.minimum:
            chosen = one
    return OptimizedModel(video, tuple(clip.shape), tuple(ways), chosen.name, taken[chosen.name])


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the processor has instructions for it, so that it can be faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _made(
    video: VideoModel, clip: Tensor, precision: Precision, compiled: bool, tell: Callable[[str], None]
) -> tuple[dict[str, Callable[[Tensor], Tensor]], dict[str, str]]:
    """The forms by name, and those that cannot be made, with the reason."""
    runs: dict[str, Callable[[Tensor], Tensor]] = {AS_IT_IS: _without_gradients(video)}
    left_out: dict[str, str] = {}
    formats = [torch.float32]
    if precision == "bfloat16" or (precision == "auto" and computes_in_bfloat16(clip.device)):
        formats.append(torch.bfloat16)
    two = clip if len(clip) > 1 else clip.repeat(2, 1, 1, 1, 1)
    program = trace_program(with_kernels_made(video), {"clip": two}, ("logits",))
    for number in formats:
        end = "" if number is torch.float32 else _IN_BFLOAT16
        if end:
            runs[AS_IT_IS + end] = _by_autocast(video, number)
        makers: dict[str, Callable[..., Any]] = {"frozen": _frozen}
        if compiled:
            makers["compiled"] = _compiled
        for name, make in makers.items():
            tell(f"making it {name}{end}")
            try:
                network = folded(program, two).to(number)
                runs[name + end] = _in_format(make(network, clip.to(number)), number)
            except Exception as error:
                left_out[name + end] = _line(error)
    return runs, left_out


def _frozen(network: GraphModule, example: Tensor) -> Callable[[Tensor], Tensor]:
    return packed(network, example) if example.device.type == "cpu" else network


def _compiled(network: GraphModule, example: Tensor) -> Callable[[Tensor], Tensor]:
    """torch.compile with the weights as constants: it packs kernels and fuses what stands behind them."""
    import torch._inductor.config as inductor

    with quiet():
        called: Any = torch.compile(network, dynamic=False)

    def run(clip: Tensor) -> Tensor:
        with inductor.patch(freezing=True), quiet():
            return called(clip)

    return run


def _without_gradients(video: VideoModel) -> Callable[[Tensor], Tensor]:
    def run(clip: Tensor) -> Tensor:
        with torch.no_grad():
            return video(clip)

    return run


def _by_autocast(video: VideoModel, number: torch.dtype) -> Callable[[Tensor], Tensor]:
    def run(clip: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(clip.device.type, number):
            return video(clip).to(clip.dtype)

    return run


def _in_format(network: Callable[[Tensor], Tensor], number: torch.dtype) -> Callable[[Tensor], Tensor]:
    def run(clip: Tensor) -> Tensor:
        with torch.no_grad():
            return network(clip.to(number)).to(clip.dtype)

    return run


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
