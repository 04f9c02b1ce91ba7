"""The composite LSTM: an encoder of frames, a decoder that rebuilds them backwards, one that goes on.

Srivastava, Mansimov and Salakhutdinov 2015, Unsupervised Learning of Video Representations using LSTMs. It
learns from unlabelled clips; its encoder then starts a classifier, the system `composite_lstm`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timelift.lifting import VideoModel, lift
from timelift.networks.lstm import PeepholeLSTM
from timelift.records.errors import UsageError
from timelift.systems.compose import all_new, with_head
from timelift.systems.lstm import lstm_head, mean_probability
from timelift.systems.system import MINUS_ONE_TO_ONE, Layout, Published, State, System


class Decoded(NamedTuple):
    """What the two decoders say, each in the order of time: (B, T, D) and (B, S, D)."""

    reconstruction: Tensor
    prediction: Tensor


class CompositeLSTM(nn.Module):
    """Frames as rows of D = `numbers`; both decoders start from the encoder's last state.

    conditional: every decoder is shown the frame before the one that it says; without it only its state.
    binary: the decoders' answers are logits of numbers in 0..1, and no numbers themselves.
    """

    def __init__(
        self,
        numbers: int = 3072,
        hidden: int = 2048,
        layers: int = 1,
        conditional: bool = True,
        binary: bool = False,
    ):
        super().__init__()
        self.binary = binary
        self.encoder = PeepholeLSTM(numbers, hidden, layers)
        self.reconstruction = Decoder(numbers, hidden, layers, conditional)
        self.prediction = Decoder(numbers, hidden, layers, conditional)

    def forward(self, past: Tensor, future: Tensor) -> Decoded:
        """(B, T, D) and (B, S, D) -> the same, rebuilt and predicted; the true frames are shown."""
        state = self.encoder(past)[1]
        backwards = self.reconstruction(past.flip(1), state)
        return Decoded(backwards.flip(1), self.prediction(future, state))

    def dream(self, past: Tensor, steps: int) -> Decoded:
        """(B, T, D) -> frames rebuilt and `steps` frames predicted, shown only what the decoders said before.

        The answers are frames, also where forward gives logits.
        """
        state = self.encoder(past)[1]
        said = torch.sigmoid if self.binary else _as_it_is
        backwards = self.reconstruction.dream(state, past.shape[1], said)
        return Decoded(backwards.flip(1), self.prediction.dream(state, steps, said))


class Decoder(nn.Module):
    """An LSTM that says one frame after another; nothing is shown to it before the first."""

    def __init__(self, numbers: int, hidden: int, layers: int, conditional: bool):
        super().__init__()
        self.lstm = PeepholeLSTM(numbers if conditional else 0, hidden, layers)
        self.output = nn.Linear(hidden, numbers)
        nn.init.uniform_(self.output.weight, -0.01, 0.01)
        nn.init.zeros_(self.output.bias)

    def forward(self, frames: Tensor, state: Tensor) -> Tensor:
        """The frames to say (B, T, D), in the order of saying -> what is said (B, T, D)."""
        shown = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], dim=1)
        return self.output(self.lstm(shown[:, :, : self.lstm.inputs], state)[0])

    def dream(self, state: Tensor, steps: int, said: Callable[[Tensor], Tensor]) -> Tensor:
        """Frames (B, steps, D); said: answer -> frame, which is shown before the next."""
        frame = state.new_zeros(state.shape[2], 1, self.output.out_features)
        frames = []
        for _ in range(steps):
            answer, state = self.lstm(frame[:, :, : self.lstm.inputs], state)
            frame = said(self.output(answer))
            frames.append(frame)
        return torch.cat(frames, dim=1)


def composite_loss(model: CompositeLSTM, past: Tensor, future: Tensor) -> Tensor:
    """Of reconstruction and prediction together: summed over numbers and frames, the mean over clips.

    Half the squared error, or the cross-entropy where the frames are binary.
    """
    decoded = model(past, future)
    error = _cross_entropy if model.binary else _half_squared
    return (error(decoded.reconstruction, past) + error(decoded.prediction, future)) / len(past)


def composite_lstm(
    classes: int = 101,
    in_channels: int = 3,
    size: int = 32,
    hidden: int = 2048,
    layers: int = 1,
    peepholes: bool = True,
) -> VideoModel:
    """The encoder as a classifier of (B, in_channels, T, size, size) for any T: classes at every step.

    A frame's pixels are one row of numbers; rows of features come as 1 x 1 maps (in_channels=4096, size=1).

    Raises:
        UsageError: for patches of no pixels.
    """
    if size < 1:
        raise UsageError(f"composite_lstm: size={size}; patches have at least one pixel")
    pixels = lift(nn.Flatten(), example=torch.zeros(1, in_channels, size, size))
    head = lstm_head(in_channels * size * size, classes, hidden, layers, peepholes)
    return all_new(with_head(pixels, head, mean_probability))


def is_composite(state: State) -> bool:
    """Whether these are a CompositeLSTM's."""
    return any(key.startswith("prediction.lstm.") for key in state)


def encoder_state(state: State) -> dict[str, Tensor]:
    """A CompositeLSTM's tensors -> the classifier's; one class at zero stands for those it never had."""
    encoder = {key: value for key, value in state.items() if key.startswith("encoder.")}
    hidden = encoder["encoder.layers.0.w_dense"].shape[1]
    ours = {key.replace("encoder.", "image_net.head.lstm.on_clips.lstm.", 1): v for key, v in encoder.items()}
    classes = {
        "image_net.head.classes.weight": torch.zeros(1, hidden),
        "image_net.head.classes.bias": torch.zeros(1),
    }
    return ours | classes


def _as_it_is(answer: Tensor) -> Tensor:
    return answer


def _half_squared(answers: Tensor, frames: Tensor) -> Tensor:
    return 0.5 * (answers - frames).square().sum()


def _cross_entropy(logits: Tensor, frames: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, frames, reduction="sum")


_SRIVASTAVA = "Srivastava et al. 2015, Unsupervised Learning of Video Representations using LSTMs"

SYSTEMS = {
    "composite_lstm": System(
        composite_lstm,
        _SRIVASTAVA,
        clip=(3, 16, 32, 32),
        small=(3, 4, 8, 8),
        small_options={"size": 8, "hidden": 8},
        layouts=(Layout("the composite LSTM", is_composite, encoder_state, pixels=MINUS_ONE_TO_ONE),),
    ),
}

PUBLISHED = (
    Published(
        "composite_lstm",
        "the authors' lstm_classifier on 4096 features, counted",
        {"classes": 101, "in_channels": 4096, "size": 1},
        parameters=50_552_933,
        clip=(4096, 16, 1, 1),
    ),
    *(
        Published("composite_lstm", f"{_SRIVASTAVA}: {what}, counted", parameters=count, of=module)
        for what, count, module in (
            ("3072 numbers, 1 layer", 138_461_184, partial(CompositeLSTM, 3072)),
            ("4096 numbers, 1 layer", 167_823_360, partial(CompositeLSTM, 4096)),
            ("4096 numbers, 2 layers", 268_529_664, partial(CompositeLSTM, 4096, layers=2)),
        )
    ),
)
