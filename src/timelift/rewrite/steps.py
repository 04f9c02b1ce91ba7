"""How a kernel goes through time: which frame a slice sees, in numbers."""

from typing import NamedTuple


class Steps(NamedTuple):
    """Slice i of output t sees frame t * stride + i - before.

    Frames that are not there are zeros, or (repeat) the nearest one that is.
    """

    stride: int
    before: int
    after: int
    repeat: bool

    def outputs(self, length: int, slices: int) -> int:
        """Frames of the answer to a clip of `length`."""
        return (length + self.before + self.after - slices) // self.stride + 1

    def seen(self, length: int, slices: int) -> slice:
        """The slices that see a frame at all, as many cut on both sides: in one frame, the middle."""
        too_early = self.before - (self.outputs(length, slices) - 1) * self.stride
        too_late = slices - length - self.before
        unseen = max(0, min(too_early, too_late))
        return slice(unseen, slices - unseen)

    def inside(self, i: int, length: int, start: int, end: int) -> range:
        """Those of the outputs from start to end for which slice i sees a frame that is there."""
        first = max(start, -((i - self.before) // self.stride))
        return range(first, min(end, (length - 1 + self.before - i) // self.stride + 1))

    def source(self, i: int, outputs: range, first: int = 0) -> slice:
        """The frames that slice i of these outputs sees, counted from frame `first`."""
        start = outputs.start * self.stride + i - self.before - first
        return slice(start, start + (len(outputs) - 1) * self.stride + 1, self.stride)

    def pairs(self, i: int, length: int, slices: int) -> list[tuple[slice, slice]]:
        """The outputs of slice i, and the frames that it sees for them: as many, or one for all."""
        outputs = self.outputs(length, slices)
        inside = self.inside(i, length, 0, outputs)
        early = min(inside.start, outputs)
        late = max(early, inside.stop)
        found = [(slice(early, late), self.source(i, inside))] if inside else []
        if self.repeat and early > 0:
            found.append((slice(0, early), slice(0, 1)))
        if self.repeat and late < outputs:
            found.append((slice(late, outputs), slice(length - 1, length)))
        return found
