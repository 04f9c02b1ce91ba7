"""A network traced for other run-times: what goes in and comes out has names, and the batch is free."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from timelift.conversions.convolution import ConvOnClips
from timelift.lifting import VideoModel
from timelift.records import UsageError


@dataclass(frozen=True, eq=False)
class Program:
    """The traced network, and the names of its inputs and outputs, in order."""

    traced: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def trace_program(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: tuple[str, ...],
    batch_dims: Mapping[str, int] | None = None,
) -> Program:
    """The network's forward on these inputs, given by place, for any batch.

    inputs: an example, of a batch of 2 or more. batch_dims: which dimension of each is the batch; None: the
    first; a name that is left out has none. All other sizes, a clip's length among them, are the example's.

    Raises:
        UsageError: for a network that cannot be traced, or whose answer depends on the batch that came.
    """
    batch = Dim("batch")
    where = dict.fromkeys(inputs, 0) if batch_dims is None else batch_dims
    free = tuple({where[name]: batch} if name in where else None for name in inputs)
    names = list(inputs)
    with quiet():
        try:
            traced = torch.export.export(ByPlace(network), tuple(inputs.values()), dynamic_shapes=(free,))
        except Exception as error:  # of many classes, by what in the network stands in the way
            raise UsageError(f"this network cannot be traced for any batch: {_first_line(error)}") from error
    for graph in traced.graph_module.modules():
        for node in getattr(getattr(graph, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # files and lines of this machine
    return Program(traced, tuple(names), outputs)


def with_kernels_made(video: VideoModel) -> VideoModel:
    """A copy in which kernels that a module makes, as Transform's, are the numbers that it makes now."""
    made = copy.deepcopy(video)
    for layer in made.modules():
        if isinstance(layer, ConvOnClips) and isinstance(layer.weight, nn.Module):
            kernel = layer.kernel().detach()
            layer.weight = nn.Parameter(kernel, requires_grad=False)
    return made


class ByPlace(nn.Module):
    """A network whose forward takes its inputs by place, whatever they are called inside."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The network's answer."""
        return self.network(*inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters warn of their own parts: nothing in it is for the person who exports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
