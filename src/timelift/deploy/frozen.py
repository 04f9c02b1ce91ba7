"""A traced network made ready for inference: norms folded in, kernels packed, activations fused.

The graph that torch.export gives, changed in place. What hangs on weights alone is worked out once. A batch
norm behind a convolution that nobody else asks becomes part of it (Jacob et al. 2018, section 3.2), and so
does an activation. Kernels then lie as oneDNN wants them, and are not reordered with every call.
"""

from functools import reduce
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter
from torch.fx.node import map_arg

from timelift.deploy.program import Program

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default, _aten.conv3d.default, _aten.conv2d.padding)
_PACKED = {_aten.conv2d.default: 2, _aten.conv3d.default: 3}  # operator -> dimensions of its maps
_VIEWS = (  # other shapes of the same numbers, which no element-by-element function minds
    _aten.transpose.int,
    _aten.permute.default,
    _aten.movedim.int,
    _aten.flatten.using_ints,
    _aten.reshape.default,
    _aten.view.default,
    _aten.unflatten.int,
    _aten.squeeze.dim,
    _aten.unsqueeze.default,
    _aten.contiguous.default,
)
_ACTIVATIONS = {  # operator -> oneDNN's name for it; their further arguments are its numbers
    _aten.relu.default: "relu",
    _aten.relu_.default: "relu",
    _aten.hardtanh.default: "hardtanh",
    _aten.hardtanh_.default: "hardtanh",
    _aten.hardswish.default: "hardswish",
    _aten.hardswish_.default: "hardswish",
    _aten.silu.default: "swish",
    _aten.silu_.default: "swish",
    _aten.sigmoid.default: "sigmoid",
}
_RELU6 = (_aten.relu6.default, _aten.relu6_.default)


def folded(program: Program, *example: Tensor) -> GraphModule:
    """The network with its batch norms inside its convolutions: any precision, any device.

    example: inputs that the program was traced for; their sizes are looked at, not their numbers.
    """
    made: Any = program.traced.module()
    _own_tensors(made)
    values = _Values(made)
    values.run(*example)
    known: dict[_Node, Any] = {}
    for norm in _calls(made, (_aten.batch_norm.default,)):
        _fold(made, norm, values, known)
    _tidy(made)
    return made


def packed(made: GraphModule, *example: Tensor) -> GraphModule:
    """The same for the CPU, changed in place: kernels as oneDNN wants them, activations inside.

    example: inputs of the sizes that will come. Of others, the batch's too, answers are right and take up to
    four times as long: oneDNN wants kernels otherwise there, and reorders them at every call.
    """
    values = _Values(made)
    values.run(*example)
    known: dict[_Node, Any] = {}
    for convolution in _calls(made, tuple(_PACKED)):
        _pack(made, convolution, values, known)
    _tidy(made)
    return made


_Node = Any  # a torch.fx.Node: what its arguments are, its types do not say


class _Values(Interpreter):
    """What an example's forward gives: of tensors their shapes, all numbers as they are."""

    def __init__(self, made: GraphModule):
        super().__init__(made)
        self.of: dict[_Node, Any] = {}

    def run_node(self, n: _Node) -> Any:
        with torch.no_grad():
            value = super().run_node(n)
        self.of[n] = tuple(value.shape) if isinstance(value, Tensor) else value
        return value


def _own_tensors(made: GraphModule) -> None:
    """Weights and constants of this network alone: torch.export shares them with every other it gives."""
    for module in made.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                delattr(module, name)
                module.register_buffer(name, tensor.detach().clone(), persistent=False)
    for node in made.graph.nodes:
        if node.op == "get_attr" and isinstance(_attribute(made, node.target), Tensor):
            owner, _, name = node.target.rpartition(".")
            module = made.get_submodule(owner)
            if name in vars(module):  # a constant, which .to() would pass by
                tensor = getattr(module, name)
                delattr(module, name)
                module.register_buffer(name, tensor, persistent=False)


def _calls(made: GraphModule, targets: tuple[Any, ...]) -> list[_Node]:
    return [node for node in made.graph.nodes if node.op == "call_function" and node.target in targets]


def _fold(made: GraphModule, norm: _Node, values: _Values, known: dict[_Node, Any]) -> None:
    maps, scale, shift, mean, variance, training, _, epsilon, *_ = norm.args
    views = _views_before(maps)
    convolution = views[0].args[0] if views else maps
    foldable = (
        not training
        and convolution.target in _CONVOLUTIONS
        and len(convolution.users) == 1
        and _channels_stay(convolution, views, values)
    )
    kernel = _constant(made, convolution.args[1], known) if foldable else None
    if kernel is None:
        return
    found = (_argument(convolution, 2), scale, shift, mean, variance)
    numbers: list[Any] = [None if node is None else _constant(made, node, known) for node in found]
    own, scale, shift, mean, variance = numbers
    factor = torch.rsqrt(variance + epsilon) if scale is None else scale * torch.rsqrt(variance + epsilon)
    bias = (-mean if own is None else own - mean) * factor
    bias = bias if shift is None else bias + shift
    with made.graph.inserting_before(convolution):
        kernel = _stored(made, kernel * factor.view(-1, *[1] * (kernel.dim() - 1)))
        bias = _stored(made, bias)
    convolution.args = (convolution.args[0], kernel, bias, *convolution.args[3:])
    norm.replace_all_uses_with(maps)
    made.graph.erase_node(norm)


def _pack(made: GraphModule, convolution: _Node, values: _Values, known: dict[_Node, Any]) -> None:
    axes = _PACKED[convolution.target]
    kernel = _constant(made, convolution.args[1], known)
    if kernel is None:
        return
    bias, given = _argument(convolution, 2), (_argument(convolution, i) for i in (3, 4, 5))
    stride, padding, dilation = (_each(one, axes, start) for one, start in zip(given, (1, 0, 1), strict=True))
    groups = _argument(convolution, 6) or 1
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    ready = torch.ops.mkldnn._reorder_convolution_weight(
        kernel.contiguous(memory_format=layout),
        padding,
        stride,
        dilation,
        groups,
        list(values.of[convolution.args[0]]),
    )
    activation, name, numbers = _activation_behind(convolution)
    maps = convolution.args[0]
    with made.graph.inserting_before(convolution):
        stored = _stored(made, ready)
        call = made.graph.call_function(
            torch.ops.mkldnn._convolution_pointwise.default,
            (maps, stored, bias, padding, stride, dilation, groups, name, numbers, ""),
        )
    values.of[call] = values.of[convolution]
    convolution.replace_all_uses_with(call)
    made.graph.erase_node(convolution)
    if activation is not None:
        activation.replace_all_uses_with(activation.args[0])
        made.graph.erase_node(activation)


def _views_before(node: _Node) -> list[_Node]:
    """The views through which a value comes that nobody else looks at, the first one first."""
    views: list[_Node] = []
    while node.target in _VIEWS and len(node.users) == 1:
        views.insert(0, node)
        node = node.args[0]
    return views


def _activation_behind(node: _Node) -> tuple[_Node | None, str, list[Any]]:
    """The activation that alone looks at a value, maybe through views; its name and numbers for oneDNN."""
    while len(node.users) == 1:
        (node,) = node.users
        if node.target in _RELU6:
            return node, "hardtanh", [0.0, 6.0]
        if node.target in _ACTIVATIONS:
            name = _ACTIVATIONS[node.target]
            numbers = node.args[1:]
            if name == "hardtanh":
                numbers = (*numbers, *(-1.0, 1.0)[len(numbers) :])
            return node, name, [float(number) for number in numbers]
        if node.target not in _VIEWS:
            break
    return None, "none", []


def _channels_stay(convolution: _Node, views: list[_Node], values: _Values) -> bool:
    """Whether dimension 1 behind the views is the convolution's channels: tried with their numbers."""
    shape = values.of[convolution]
    numbers = torch.arange(shape[1], dtype=torch.int32)
    found = {convolution: numbers.view(1, -1, *[1] * (len(shape) - 2)).expand(shape)}
    for view in views:
        given = map_arg(view.args, lambda node: found.get(node, values.of[node]))
        try:
            found[view] = view.target(*given, **view.kwargs)
        except RuntimeError:  # a view that only the layout of the maps themselves allows
            return False
    maps = found[views[-1]] if views else found[convolution]
    wanted = numbers.view(1, -1, *[1] * (maps.dim() - 2))
    return maps.shape[1] == shape[1] and torch.equal(maps, wanted.expand(maps.shape))


def _constant(made: GraphModule, node: _Node, known: dict[_Node, Any]) -> Any:
    """What a node is whatever the network is given; None if it hangs on that. known: found so far."""
    if node.op == "get_attr":
        return _attribute(made, node.target)
    if node not in known:
        known[node] = None
        if node.op == "call_function" and node.all_input_nodes:
            found = {}
            for before in node.all_input_nodes:
                found[before] = _constant(made, before, known)
                if found[before] is None:
                    return None
            with torch.no_grad():
                known[node] = node.target(*map_arg(node.args, found.get), **map_arg(node.kwargs, found.get))
    return known[node]


def _attribute(made: nn.Module, name: str) -> Any:
    return reduce(getattr, name.split("."), made)


def _argument(call: _Node, place: int) -> Any:
    return call.args[place] if len(call.args) > place else None


def _each(sizes: Any, axes: int, default: int) -> list[int]:
    """A number for every axis, however they were given."""
    given = [default] if sizes is None else [sizes] if isinstance(sizes, int) else list(sizes)
    return given * axes if len(given) == 1 else given


def _stored(made: GraphModule, tensor: Tensor) -> _Node:
    """A tensor of the network's own, in the graph where nodes are put in now."""
    name = next(name for name in (f"frozen_{i}" for i in count()) if not hasattr(made, name))
    made.register_buffer(name, tensor.detach(), persistent=False)
    return made.graph.get_attr(name)


def _tidy(made: GraphModule) -> None:
    """Without what nothing needs any more, nodes and weights."""
    made.graph.eliminate_dead_code()
    used = {str(node.target) for node in made.graph.nodes if node.op == "get_attr"}
    for module_name, module in made.named_modules():
        for own in (module._parameters, module._buffers):
            for name in [n for n in own if f"{module_name}.{n}".lstrip(".") not in used]:
                del own[name]
    made.recompile()
