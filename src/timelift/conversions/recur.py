"""Recur: the layer on every frame, then a 1x1 recurrence through time (RCN, RCLSTM, RCGRU).

Singh and Cuzzolin 2019, Recurrent Convolutions for Causal 3D CNNs. The spatial work for the whole clip is
done at once; only the 1x1 recurrence goes from frame to frame.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from timelift.clip import OnFrames, fold, unfold
from timelift.conversions.errors import ConversionError
from timelift.conversions.since import since
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class Recur:
    """The held layer's answer x_t and a hidden state h_t, which the layer after it sees.

    unit: "rcn" h_0 = x_0, h_t = (W h_{t-1} + x_t) / 2, with halve=False h_t = W h_{t-1} + x_t, W a 1x1
        convolution without bias; "lstm" and "gru" x_t + h_t, h_t of a 1x1 LSTM or GRU on cat(x_t, h_{t-1}).
    start: "identity" W = I, and all gates zero: an LSTM or GRU adds nothing, the layer answers as before.
        "random" draws W from He's normal, the gates as PyTorch draws its convolutions.
    A depthwise layer keeps a depthwise recurrence; after any other one all channels meet.
    """

    unit: Literal["rcn", "lstm", "gru"] = "rcn"
    start: Literal["identity", "random"] = "identity"
    halve: bool = True

    once = True  # the state is the layer's own: one that runs twice in a forward would have two
    __repr__ = typed

    def __post_init__(self):
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ConversionError(f"{field}={getattr(self, field)!r}: there are {', '.join(choices)}")
        if not isinstance(self.halve, bool):
            raise ConversionError(f"halve={self.halve!r}: wanted True or False")
        if not self.halve and self.unit != "rcn":
            raise ConversionError(f"halve=False is for unit='rcn': a {self.unit} has gates instead")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        if self.start == "random":
            return frozenset({"causal"})
        if self.unit == "rcn":
            return frozenset({"causal", "still_clip"} if self.halve else {"causal"})
        return frozenset({"causal", "still_clip", "identity_start"})

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with its recurrence, on clips.

        Raises:
            ConversionError: for a layer that is no Conv2d.
        """
        if not isinstance(layer, nn.Conv2d):
            raise ConversionError(f"is a {type(layer).__name__}: Recur takes convolutions (Conv2d)")
        channels, like = layer.out_channels, layer.weight.detach()
        groups = layer.groups if layer.groups == layer.in_channels else 1
        identity = self.start == "identity"
        if self.unit == "rcn":
            unit: nn.Module = RcnUnit(_hidden_to_hidden(like, channels, groups, identity), groups, self.halve)
        else:
            made = LstmUnit if self.unit == "lstm" else GruUnit
            unit = made(like, channels, groups)
            if not identity:
                unit.draw()
        return Recurrent(copy.deepcopy(layer), unit)


_CHOICES = {"unit": ("rcn", "lstm", "gru"), "start": ("identity", "random")}


def _hidden_to_hidden(like: Tensor, channels: int, groups: int, identity: bool) -> Tensor:
    weight = like.new_empty(channels, channels // groups, 1, 1)
    return nn.init.dirac_(weight, groups) if identity else nn.init.kaiming_normal_(weight)


class Recurrent(nn.Module):
    """A layer on frames and a unit through time: (B, C, T, H, W) -> (B, C', T, H', W')."""

    def __init__(self, spatial: nn.Module, unit: nn.Module):
        super().__init__()
        self.spatial = OnFrames(spatial)
        self.unit = unit

    def forward(self, clip: Tensor) -> Tensor:
        """All frames through the layer at once, then one after another through the unit."""
        return self.advance(clip, None)[0]

    def advance(self, clip: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and the hidden state behind them."""
        return self.unit(self.spatial(clip), state)


class RcnUnit(nn.Module):
    """h_0 = x_0, then h_t = (W h_{t-1} + x_t) / 2, or without the half: (B, C, T, H, W) -> the same."""

    def __init__(self, weight: Tensor, groups: int, halve: bool):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.groups = groups
        self.share = 0.5 if halve else 1.0

    def forward(self, clip: Tensor, hidden: Any) -> tuple[Tensor, Any]:
        """Every frame's h, and the last one."""
        weight = self.weight * self.share
        answers = []
        for x in clip.unbind(2):
            hidden = self._next(x, hidden, weight)
            answers.append(hidden)
        return _stacked(answers), hidden

    def _next(self, x: Tensor, hidden: Any, weight: Tensor) -> Tensor:
        def moved(h: Tensor) -> Tensor:
            return torch.add(conv2d(h, weight, groups=self.groups), x, alpha=self.share)

        return since(hidden, lambda: x, moved)

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"{tuple(self.weight.shape)}, groups={self.groups}, share={self.share}"


class _Gates(nn.Module):
    """1x1 gates on cat(x, h), as one convolution of x for all frames and one of h for each, at zero."""

    def __init__(self, like: Tensor, channels: int, groups: int, gates: int):
        super().__init__()
        shape = (gates * channels, channels // groups, 1, 1)
        self.groups, self.gates = groups, gates
        self.from_input = nn.Parameter(like.new_zeros(shape))
        self.from_state = nn.Parameter(like.new_zeros(shape))
        self.bias = nn.Parameter(like.new_zeros(gates * channels))

    def draw(self) -> None:
        """Draw both weights as PyTorch draws those of one convolution on cat(x, h); the bias stays zero."""
        bound = (2 * self.from_input.shape[1]) ** -0.5
        nn.init.uniform_(self.from_input, -bound, bound)
        nn.init.uniform_(self.from_state, -bound, bound)

    def of_inputs(self, clip: Tensor) -> Tensor:
        """What the gates take from every frame: (B, C, T, H, W) -> (B, gates * C, T, H, W)."""
        return unfold(conv2d(fold(clip), self.from_input, self.bias, groups=self.groups), clip.shape[0])

    def split(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        """Each gate (B, C, H, W), of a frame's share (B, gates * C, H, W) and the hidden state."""
        total = inputs + conv2d(hidden, self.from_state, groups=self.groups)
        gates = total.unflatten(1, (self.groups, self.gates, -1)).unbind(2)
        return tuple(gate.flatten(1, 2) for gate in gates)


class LstmUnit(nn.Module):
    """x + h of a 1x1 LSTM whose h and c start at zero: (B, C, T, H, W) -> the same."""

    def __init__(self, like: Tensor, channels: int, groups: int):
        super().__init__()
        self.gates = _Gates(like, channels, groups, 4)  # input, forget, cell, output

    def draw(self) -> None:
        """Draw the gates."""
        self.gates.draw()

    def forward(self, clip: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Every frame's x + h, and the last h and c."""
        hidden, cell = (_or_zeros(part, clip) for part in state or (None, None))
        answers = []
        for inputs in self.gates.of_inputs(clip).unbind(2):
            entering, forgetting, fresh, leaving = self.gates.split(inputs, hidden)
            cell = forgetting.sigmoid() * cell + entering.sigmoid() * fresh.tanh()
            hidden = leaving.sigmoid() * cell.tanh()
            answers.append(hidden)
        return clip + _stacked(answers), (hidden, cell)


class GruUnit(nn.Module):
    """x + h of a 1x1 GRU whose h starts at zero: (B, C, T, H, W) -> the same."""

    def __init__(self, like: Tensor, channels: int, groups: int):
        super().__init__()
        self.gates = _Gates(like, channels, groups, 2)  # update, reset
        self.fresh = _Gates(like, channels, groups, 1)  # on cat(x, reset * h)

    def draw(self) -> None:
        """Draw the gates."""
        self.gates.draw()
        self.fresh.draw()

    def forward(self, clip: Tensor, hidden: Any) -> tuple[Tensor, Tensor]:
        """Every frame's x + h, and the last h."""
        hidden = _or_zeros(hidden, clip)
        answers = []
        shares = zip(self.gates.of_inputs(clip).unbind(2), self.fresh.of_inputs(clip).unbind(2), strict=True)
        for gate_inputs, fresh_inputs in shares:
            update, reset = self.gates.split(gate_inputs, hidden)
            (fresh,) = self.fresh.split(fresh_inputs, reset.sigmoid() * hidden)
            hidden = torch.lerp(hidden, fresh.tanh(), update.sigmoid())
            answers.append(hidden)
        return clip + _stacked(answers), hidden


def _or_zeros(state: Any, clip: Tensor) -> Tensor:
    return since(state, lambda: torch.zeros_like(clip[:, :, 0]))


def _stacked(frames: list[Tensor]) -> Tensor:
    """T times (B, C, H, W) -> (B, C, T, H, W), a new tensor in the frames' memory layout."""
    return torch.cat([frame.unsqueeze(2) for frame in frames], dim=2)
