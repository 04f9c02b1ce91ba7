"""Networks of one shape as one: every parameter with a first axis, one entry a network (replica).

One forward answers for all, by `torch.func`: its convolutions become grouped ones. That is meant for a GPU
that small networks leave idle; on a CPU it is slower than one network after the other.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, stack_module_state, vmap

from timelift.auxiliary import auxiliary_answers
from timelift.records import Optimisation, UsageError
from timelift.training.groups import optimizer_of, parameter_groups


class Stacked:
    """R networks of one shape. What is learned here reaches them by `put`."""

    def __init__(self, models: Sequence[nn.Module]):
        """Copy the networks' weights side by side; their modes are those of the first.

        Raises:
            UsageError: for networks that differ in shape.
        """
        self.models = models
        shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in models]
        if any(other != shapes[0] for other in shapes):
            raise UsageError("replicas have to be networks of one shape: these differ in their parameters")
        self.parameters, self.buffers = stack_module_state(list(models))
        self._one = models[0]

    def __call__(self, clips: Tensor) -> Tensor:
        """(R, B, C, T, H, W) -> logits (R, B, K), those of replica r for its own clips."""

        def answer(parameters: dict[str, Tensor], buffers: dict[str, Tensor], clip: Tensor) -> Tensor:
            return functional_call(self._one, (parameters, buffers), (clip,))

        with auxiliary_answers() as beside:
            logits = vmap(answer)(self.parameters, self.buffers, clips)
        if beside:
            raise UsageError("replicas at once: auxiliary heads are not supported; train one by one")
        return logits

    def optimizer(self, groups: Mapping[str, str], choices: Optimisation) -> optim.Optimizer:
        """The recipe's optimiser: element by element, so that each replica moves as it would alone."""
        names = {id(parameter): name for name, parameter in self._one.named_parameters()}
        grouped = [
            group | {"params": [self.parameters[names[id(parameter)]] for parameter in group["params"]]}
            for group in parameter_groups(self._one, groups, choices)
        ]
        return optimizer_of(grouped, choices)

    @torch.no_grad()
    def put(self) -> None:
        """Give every network its own weights."""
        for i, model in enumerate(self.models):
            for name, parameter in model.named_parameters():
                parameter.copy_(self.parameters[name][i])


def check_repeatable(model: nn.Module, clip: Tensor) -> None:
    """Refuse a network, in the modes in which it trains, whose dropout or statistics change its answers.

    clip: (B, C, T, H, W), such as it is trained on.

    Raises:
        UsageError: saying which of the two.
    """
    twin = copy.deepcopy(model)
    before = {name: buffer.clone() for name, buffer in twin.named_buffers()}
    with torch.random.fork_rng(devices=[clip.device] if clip.device.type == "cuda" else []), torch.no_grad():
        torch.manual_seed(0)
        first, second = twin(clip), twin(clip)
    changed = [name for name, buffer in twin.named_buffers() if not buffer.equal(before[name])]
    if changed:
        raise UsageError(f"replicas at once: {changed[0]} changes with every batch; train one by one")
    if not torch.allclose(first, second, rtol=1e-4, atol=1e-6):
        raise UsageError("replicas at once: the network draws at random (dropout); train one by one")
