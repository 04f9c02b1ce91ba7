"""An LSTM with peepholes: input and forget gates see the cell before, the output gate the cell after.

Srivastava, Mansimov and Salakhutdinov 2015, Unsupervised Learning of Video Representations using LSTMs,
section 2.1; the peepholes are diagonal (Gers and Schmidhuber 2000).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from timelift.conversions.since import since
from timelift.records.errors import UsageError

_WEIGHTS, _PEEPHOLES = 0.01, 0.1  # uniform within +- these at the start; shifts start at zero


class PeepholeLayer(nn.Module):
    """One layer; the gates' rows stand in the order input, forget, candidate, output.

    inputs: numbers a frame; 0 for a layer that is driven by its state alone.
    peepholes: False holds them at zero, without a gradient.
    """

    def __init__(self, inputs: int, hidden: int, peepholes: bool = True):
        super().__init__()
        self.w_input = nn.Parameter(_uniform(4 * hidden, inputs)) if inputs else None
        self.w_dense = nn.Parameter(_uniform(4 * hidden, hidden))
        diagonals = _uniform(3, hidden, _PEEPHOLES) if peepholes else torch.zeros(3, hidden)
        self.w_diag = nn.Parameter(diagonals, requires_grad=peepholes)  # of input, forget, output
        self.b = nn.Parameter(torch.zeros(4 * hidden))

    def forward(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, inputs) and (2, B, hidden), answer and cell -> (B, T, hidden) and the state after."""
        answer, cell = state
        to_input, to_forget, to_output = self.w_diag
        answers = []
        for driven in self._driven(sequence).unbind(dim=1):  # (B, 4 hidden)
            gates = driven + functional.linear(answer, self.w_dense)
            into, forget, candidate, out = gates.chunk(4, dim=1)
            into = torch.sigmoid(into + to_input * cell)
            forget = torch.sigmoid(forget + to_forget * cell)
            cell = forget * cell + into * torch.tanh(candidate)
            answer = torch.sigmoid(out + to_output * cell) * torch.tanh(cell)
            answers.append(answer)
        return torch.stack(answers, dim=1), torch.stack([answer, cell])

    def _driven(self, sequence: Tensor) -> Tensor:
        """What the input adds to the gates at every step, all steps at once: (B, T, 4 hidden)."""
        if self.w_input is None:
            return self.b.expand(*sequence.shape[:2], -1)
        return functional.linear(sequence, self.w_input, self.b)


class PeepholeLSTM(nn.Module):
    """Layers one above the other; each takes the answers of the one below.

    Raises:
        UsageError: for fewer than one layer or hidden unit.
    """

    def __init__(self, inputs: int, hidden: int, layers: int = 1, peepholes: bool = True):
        super().__init__()
        if hidden < 1 or layers < 1:
            raise UsageError(f"an LSTM of {layers} layer(s) with hidden={hidden}: at least 1 of each")
        self.inputs, self.hidden = inputs, hidden
        below = [inputs] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(PeepholeLayer(numbers, hidden, peepholes) for numbers in below)

    def forward(self, sequence: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        """(B, T, inputs) -> answers (B, T, hidden) and the state after the last step.

        state: (layers, 2, B, hidden), answer and cell of every layer; None starts from zeros.
        """
        zeros = (len(self.layers), 2, sequence.shape[0], self.hidden)
        states = since(state, lambda: sequence.new_zeros(zeros))
        after = []
        for layer, before in zip(self.layers, states, strict=True):
            sequence, now = layer(sequence, before)
            after.append(now)
        return sequence, torch.stack(after)


class ClipLSTM(nn.Module):
    """An LSTM over the frames of a clip, each read as one row of numbers: causal, of any length."""

    def __init__(self, inputs: int, hidden: int, layers: int = 1, peepholes: bool = True):
        super().__init__()
        self.lstm = PeepholeLSTM(inputs, hidden, layers, peepholes)

    def forward(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) with C*H*W = inputs -> (B, hidden, T, 1, 1)."""
        return self.advance(clip, None)[0]

    def advance(self, clip: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        """The answer to the next frames of a clip, and the state behind them; None before the first.

        Pieces advanced one after another give what the whole clip gives.

        Raises:
            UsageError: for frames of another size than the LSTM was made for.
        """
        rows = clip.transpose(1, 2).flatten(2)  # (B, T, C*H*W)
        if rows.shape[2] != self.lstm.inputs:
            raise UsageError(
                f"the LSTM takes {self.lstm.inputs} numbers a frame and got {rows.shape[2]}: "
                "the network was made for frames of another size or other channels"
            )
        answers, state = self.lstm(rows, state)
        return answers.transpose(1, 2).unsqueeze(3).unsqueeze(4), state


def _uniform(rows: int, columns: int, bound: float = _WEIGHTS) -> Tensor:
    return torch.empty(rows, columns).uniform_(-bound, bound)
