"""Export: a video network as a file for other run-times, compared with the network before it is there.

A network that a run has trained takes pixels, uint8, and normalises them itself; any other one takes the
float32 clip that it takes in Python. The number of clips is free; their length and size are the export's.
"""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor, nn

from timelift.deploy.exported import ExportedStep
from timelift.deploy.facts import ExportFacts, to_json
from timelift.deploy.files import SUFFIXES, Opened, file_format, format_of, needed
from timelift.deploy.forms import TOLERANCE, apart
from timelift.deploy.program import Program, trace_program, with_kernels_made
from timelift.deploy.step import check_steps, trace_step
from timelift.deploy.stream import Stream
from timelift.lifting import VideoModel
from timelift.records import TimeliftError, UsageError
from timelift.records.whole import whole

_BATCHES = (1, 2, 5)  # numbers of clips that are compared
_STEPS = 5  # frames of each, where a step is


@dataclass(frozen=True)
class Export:
    """A file that was written: how far its answers were from the network's, relative to the largest."""

    path: Path
    format: str
    facts: ExportFacts
    difference: float


def export(
    video: VideoModel,
    path: Path | str,
    format: str | None = None,
    shape: tuple[int, int, int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write the network on clips: "clip" (B, C, T, H, W) -> "logits" (B, K), for any B.

    format: torch, onnx or openvino; None: what the path's suffix says. shape: (C, T, H, W); None: that of the
    clips that the run was trained on. The file is there only if its answers to random clips, 1, 2 and 5 at
    once, are the network's: no further off than `tolerance` of the largest.

    Raises:
        UsageError: for a network in train mode or not on the CPU, one that cannot be traced, a package that
            is missing. TimeliftError: for answers that differ, with the figure.
    """
    place = _place(Path(path), format)
    _check(video)
    facts = _facts(video, shape)
    takes, prepare = _random(facts), _prepare(video)
    network = _OnPrepared(with_kernels_made(video), prepare)
    program = trace_program(network, {"clip": takes(2)}, ("logits",))

    def difference(opened: Opened) -> float:
        return apart([(opened.run([c])[0], video(prepare(c))) for c in map(takes, _BATCHES)])

    return _written(program, facts, place, difference, tolerance)


def export_step(
    video: VideoModel,
    path: Path | str,
    format: str | None = None,
    shape: tuple[int, int, int] | None = None,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write one step of a causal network's stream, its states as inputs and outputs: see `deploy.step`.

    shape: of a frame, (C, H, W); None: that of the run's. Compared with `Stream` over 5 frames of 1, 2 and 5
    videos at once, before the file is there.

    Raises:
        UsageError: as `export`; for a network that `Stream` does not take, or that does not answer every
            frame as it comes. TimeliftError: for answers that differ, with the figure.
    """
    place = _place(Path(path), format)
    _check(video)
    check_steps(video)
    facts = _facts(video, None if shape is None else (shape[0], 1, *shape[1:]), "step")
    facts = replace(facts, shape=(facts.shape[0], *facts.shape[2:]))
    takes, prepare, made = _random(facts), _prepare(video), with_kernels_made(video)
    program, states = trace_step(made, takes, prepare)
    facts = replace(facts, states=states)

    def difference(opened: Opened) -> float:
        pairs: list[tuple[Any, Any]] = []
        for videos in _BATCHES:
            ours, theirs = Stream(video), ExportedStep(opened, facts)
            for frame in (takes(videos) for _ in range(_STEPS)):
                wanted = ours.step(prepare(frame.unsqueeze(2))[:, :, 0])
                came = theirs.step(frame)
                pairs.append((came.frame_logits, wanted.frame_logits))
                pairs.append((came.clip_logits, wanted.clip_logits))
        return apart(pairs)

    return _written(program, facts, place, difference, tolerance)


class _OnPrepared(nn.Module):
    """The network behind what makes its input."""

    def __init__(self, video: VideoModel, prepare: Callable[[Tensor], Tensor]):
        super().__init__()
        self.video, self.prepare = video, prepare

    def forward(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, K)."""
        return self.video(self.prepare(clip))


def _prepare(video: VideoModel) -> Callable[[Tensor], Tensor]:
    return (lambda clip: clip) if video.transform is None else video.transform.normalise


def _facts(
    video: VideoModel, shape: tuple[int, ...] | None, kind: Literal["clips", "step"] = "clips"
) -> ExportFacts:
    clip = None if video.transform is None else video.transform.clip
    if shape is None:
        if clip is None:
            raise UsageError("a network that no run has trained names no clips: give shape=(C, T, H, W)")
        shape = (clip.in_channels, clip.frames, clip.size, clip.size)
    elif clip is not None:
        if shape[-1] != shape[-2]:
            raise UsageError(f"a run's clips are square: {shape[-2]} x {shape[-1]} pixels came")
        clip = replace(clip, frames=shape[1] if kind == "clips" else clip.frames, size=shape[-1])
    takes: Literal["uint8", "float32"] = "float32" if clip is None else "uint8"
    versions = {name: importlib.metadata.version(name) for name in ("timelift", "torch")}
    return ExportFacts(kind, takes, shape, video.classes, video.several_labels, clip, versions=versions)


def _random(facts: ExportFacts) -> Callable[[int], Tensor]:
    """Batch -> random input of so many."""
    generator = torch.Generator().manual_seed(0)

    def drawn(batch: int) -> Tensor:
        size = (batch, *facts.shape)
        if facts.takes == "uint8":
            return torch.randint(256, size, generator=generator, dtype=torch.uint8)
        return torch.randn(size, generator=generator)

    return drawn


def _check(video: VideoModel) -> None:
    if video.training:
        raise UsageError("the network is in train mode: call video.eval() first")
    kinds = {(tensor.device.type, tensor.dtype) for tensor in video.parameters()}
    if kinds - {("cpu", torch.float32)}:
        raise UsageError("a network is exported from the CPU in float32: call video.cpu().float() first")


def _place(path: Path, format: str | None) -> tuple[Path, str]:
    """The path and the format of the file, once it is known that nothing is missing to write it."""
    name = format or format_of(path)
    if name is None or SUFFIXES.get(name, path.suffix) != path.suffix:
        wanted = ", ".join(f"{suffix} for {one}" for one, suffix in SUFFIXES.items())
        raise UsageError(f"{path} has the suffix {path.suffix or 'of no format'}; there are {wanted}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the name of a file")
    needed(name, *file_format(name).NEEDS)
    return path, name


def _written(
    program: Program,
    facts: ExportFacts,
    place: tuple[Path, str],
    difference: Callable[[Opened], float],
    tolerance: float,
) -> Export:
    """The file in its place, once what was written answers as it should."""
    path, name = place
    made = file_format(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder) / path.name
        made.write(program, to_json(facts), draft)
        with torch.no_grad():
            off = difference(made.read(draft))
        if not off <= tolerance:
            raise TimeliftError(
                f"{path} was not written: the exported network's answers differ from the network's by "
                f"{off:.1e} of the largest, more than {tolerance:.0e}"
            )
        for beside in Path(folder).iterdir():
            if beside != draft:
                path.unlink(missing_ok=True)  # or an older file would for a moment read the new weights
                beside.replace(path.with_name(beside.name))
        draft.replace(partial)
    return Export(path, name, facts, off)
