"""Heads that are made for one size: a whole map to one vector, and how large the map will be."""

from collections.abc import Iterable

from torch import Tensor, nn

from timelift.records.errors import UsageError


class Flat(nn.Module):
    """(N, C, side, side) -> (N, C * side * side): what a fully connected layer takes."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        """Flatten, channels first.

        Raises:
            UsageError: for maps of another size than the head was made for.
        """
        if maps.shape[2:] != (self.side, self.side):
            raise UsageError(
                f"the head takes maps of {self.side} x {self.side} and got "
                f"{maps.shape[2]} x {maps.shape[3]}: the network was made for frames of another size (size=)"
            )
        return maps.flatten(1)

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"side={self.side}"


def side_behind(size: int, layers: Iterable[tuple[int, int, int]]) -> int:
    """The side of the map that convolutions and pools leave of `size` pixels; 0 where nothing is left.

    layers: (kernel, stride, padding), the padding of both sides together; stride - 1 where a pool rounds up.
    """
    for kernel, stride, padding in layers:
        size = max((size + padding - kernel) // stride + 1, 0)
    return size
