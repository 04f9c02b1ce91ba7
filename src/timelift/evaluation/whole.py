"""Whether a network takes clips of another length and size than it was trained on, and what refuses them."""

import copy

import torch
from torch import nn


def refusal(model: nn.Module, clip_shape: tuple[int, ...]) -> str:
    """The layer that refuses one clip (C, T, H, W), and its words; "" if none does. No number is computed."""
    twin = copy.deepcopy(model).to("meta").eval()
    inside: list[str] = []
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(lambda _, given, name=name: inside.append(name))
        module.register_forward_hook(_leave(inside))
    try:
        with torch.no_grad():
            twin(torch.zeros(1, *clip_shape, device="meta"))
    except (RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        return f"{inside[-1] or type(model).__name__}: {words}" if inside else words
    return ""


def _leave(inside: list[str]):
    def hook(module: nn.Module, given: object, came: object) -> None:
        inside.pop()

    return hook
