"""The gradient of a kernel of 3x3 pixels by Winograd's minimal filtering: 36 products instead of 144.

Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, F(4x4, 3x3), turned around: the kernel
takes the place of the answer. Every 4x4 tile of the answer's gradient, and the 6x6 pixels that it saw, are
taken to 6x6 points; there the kernel's gradient is one product of matrices a point. In float32 the error is
that of the plain sums, and smaller on large maps.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from timelift.rewrite.steps import Steps

_TILE, _SEEN = 4, 6  # pixels of the answer along an axis, and of the input that they see
_AT_A_TIME = 2**22  # numbers in between at once: about what stays in a CPU's cache
_OF_POINTS = (  # Lavin and Gray's G: what the 6 points along an axis give to the 3 pixels of the kernel
    (1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24, 0),
    (0, -1 / 6, 1 / 6, 1 / 12, -1 / 12, 0),
    (0, -1 / 6, -1 / 6, 1 / 6, 1 / 6, 1),
)


def tiles(height: int, width: int) -> int:
    """How many tiles a map of the answer has."""
    return -(-height // _TILE) * -(-width // _TILE)


def kernel_gradient(
    gradient: Tensor, clip: Tensor, slices: int, steps: Steps, padding: tuple[int, int]
) -> Tensor:
    """The gradient of a kernel, (C', C, slices, 3, 3), channels last.

    gradient: of the answer (B, C', T', H', W'). clip: what was convolved, (B, C, T, H, W), with zeros around:
    padding rows and columns on each side. One group; a stride in time alone, and no dilation.
    """
    answers, frames = gradient.permute(0, 2, 3, 4, 1), clip.permute(0, 2, 3, 4, 1)
    if slices == 1 and steps == Steps(1, 0, 0, repeat=False):  # clips are nothing but frames
        answers, frames = answers.flatten(0, 1).unsqueeze(0), frames.flatten(0, 1).unsqueeze(0)
    outputs, height, width, filters = answers.shape[1:]
    length, channels = frames.shape[1], frames.shape[-1]
    at_once = max(1, _AT_A_TIME // (_SEEN**2 * tiles(height, width) * (channels + filters)))
    points = frames.new_zeros(slices, _SEEN**2, filters, channels)
    for one, of_one in zip(frames, answers, strict=True):
        for start in range(0, outputs, at_once):
            end = min(start + at_once, outputs)
            first = max(0, start * steps.stride - steps.before)
            last = (end - 1) * steps.stride + slices - steps.before
            seen = _points(_whole_tiles(one[first:last], height, width, padding, _SEEN), _SEEN, _of_seen)
            told = _points(_whole_tiles(of_one[start:end], height, width, (0, 0), _TILE), _TILE, _of_answer)
            for i in range(slices):
                inside = steps.inside(i, length, start, end)
                if inside:
                    frames_seen = seen[:, steps.source(i, inside, first)].flatten(1, 2)
                    answers_told = told[:, inside.start - start : inside.stop - start].flatten(1, 2)
                    points[i].baddbmm_(answers_told.mT, frames_seen)
    along = points.new_tensor(_OF_POINTS)
    to_pixels = torch.einsum("ka,lb->klba", along, along).flatten(2).flatten(0, 1)  # (9, 36)
    pixels = points.new_empty(filters, slices, 9, channels)
    for i in range(slices):  # one @ over all would copy the points first
        pixels[:, i] = torch.bmm(to_pixels.expand(filters, -1, -1), points[i].transpose(0, 1))
    return pixels.unflatten(2, (3, 3)).permute(0, 4, 1, 2, 3)


def _whole_tiles(maps: Tensor, height: int, width: int, padding: tuple[int, int], side: int) -> Tensor:
    """(n, H, W, C) -> with zeros around, so that tiles of `side` pixels cover an answer of height x width."""
    rows, columns = (-(-size // _TILE) * _TILE + side - _TILE for size in (height, width))
    if padding == (0, 0) and maps.shape[1:3] == (rows, columns):
        return maps
    whole = maps.new_zeros(len(maps), rows, columns, maps.shape[-1])
    inner = maps[:, : rows - padding[0], : columns - padding[1]]
    whole[:, padding[0] : padding[0] + inner.shape[1], padding[1] : padding[1] + inner.shape[2]] = inner
    return whole


def _points(maps: Tensor, side: int, transform: Callable[[list[Tensor], Tensor], None]) -> Tensor:
    """(n, H, W, C) in whole tiles -> (36, n, tiles, C): along the rows' axis, then along the columns'."""
    number, height, width, channels = maps.shape
    down, across = (height - side) // _TILE + 1, (width - side) // _TILE + 1
    rows = maps.new_empty(_SEEN, number, down, width, channels)
    transform([maps[:, i : i + _TILE * (down - 1) + 1 : _TILE] for i in range(side)], rows)
    both = maps.new_empty(_SEEN, _SEEN, number, down, across, channels)
    transform([rows[:, :, :, i : i + _TILE * (across - 1) + 1 : _TILE] for i in range(side)], both)
    return both.flatten(3, 4).flatten(0, 1)


def _of_seen(pixels: list[Tensor], out: Tensor) -> None:
    """6 pixels of the input -> 6 points (Lavin and Gray's B)."""
    d0, d1, d2, d3, d4, d5 = pixels
    torch.add(d4, d2, alpha=-5, out=out[0]).add_(d0, alpha=4)
    even, odd = torch.add(d4, d2, alpha=-4), torch.add(d3, d1, alpha=-4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d4, d2, out=even)
    torch.sub(d3, d1, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.add(even, odd, alpha=-2, out=out[4])
    torch.add(d5, d3, alpha=-5, out=out[5]).add_(d1, alpha=4)


def _of_answer(pixels: list[Tensor], out: Tensor) -> None:
    """4 pixels of the answer's gradient -> 6 points (Lavin and Gray's A)."""
    g0, g1, g2, g3 = pixels
    out[0].copy_(g0)
    even, odd = g0 + g2, g1 + g3
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.add(g0, g2, alpha=4, out=even)
    torch.add(g1, g3, alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.add(even, odd, alpha=-2, out=out[4])
    out[5].copy_(g3)
