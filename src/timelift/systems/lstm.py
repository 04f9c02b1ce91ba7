"""LRCN: an LSTM over the features that an image network gives of every frame, and classes at every step.

Donahue et al. 2015, Long-term Recurrent Convolutional Networks; with a lifted network below it, Mansimov et
al. 2015, Initialization Strategies of Spatio-Temporal Convolutional Neural Networks (NWI + LSTM).
"""

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from timelift.clip import Clipwise
from timelift.conversions import Inflate
from timelift.conversions.inflate import Start
from timelift.lifting import VideoModel, lift, mean_consensus
from timelift.networks.facts import facts_of
from timelift.networks.images import image_network
from timelift.networks.lstm import ClipLSTM
from timelift.networks.select import first
from timelift.networks.weights import classifier_names, fit_channels, read_state
from timelift.records.errors import UsageError
from timelift.systems.compose import take_image_weights, with_head
from timelift.systems.system import ImageStart, State, System


def with_lstm(
    video: VideoModel,
    classes: int,
    hidden: int = 2048,
    layers: int = 1,
    peepholes: bool = False,
    dropout: float = 0.0,
    consensus: Callable[[Tensor], Tensor] = mean_consensus,
) -> VideoModel:
    """The video network with an LSTM and new classes in place of its last layer; it is left untouched.

    Raises:
        UsageError: if the network has no last layer to replace.
    """
    last = classifier_names(video.image_net)
    numbers = _inputs(video.image_net.get_submodule(last[0]))
    head = lstm_head(numbers, classes, hidden, layers, peepholes, dropout)
    model = with_head(without(video, last), head, consensus)
    facts = getattr(video.image_net, "image_facts", None)
    if facts is not None:
        new = frozenset(n.removeprefix("image_net.") for n, group in model.groups.items() if group == "new")
        model.image_net.image_facts = dataclasses.replace(  # type: ignore[assignment]
            facts, classifier="head.classes", new_parameters=new
        )
    return model


def lstm_head(
    numbers: int, classes: int, hidden: int, layers: int = 1, peepholes: bool = False, dropout: float = 0.0
) -> nn.Sequential:
    """(B*T, ...) with so many numbers a frame -> (B*T, classes), each from the frames up to its own."""
    lstm = ClipLSTM(numbers, hidden, layers, peepholes)
    return nn.Sequential(
        OrderedDict(
            rows=nn.Flatten(),
            maps=nn.Unflatten(1, (-1, 1, 1)),
            lstm=Clipwise(lstm, "head.lstm"),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(dropout),
            classes=nn.Linear(hidden, classes),
        )
    )


def mean_probability(logits: Tensor) -> Tensor:
    """(B, T, K) -> (B, K): the logarithm of the mean over frames of their softmax."""
    shares = logits.log_softmax(dim=2)
    return torch.logsumexp(shares, dim=1) - torch.logsumexp(torch.zeros_like(shares), dim=1)


def lrcn(
    classes: int = 101,
    in_channels: int = 3,
    network: str = "timm:tf_efficientnet_lite0",
    start: Start | None = None,
    hidden: int = 2048,
    layers: int = 1,
    peepholes: bool = False,
    dropout: float = 0.0,
    encoder: str | None = None,
    image_state: State | None = None,
) -> VideoModel:
    """LRCN on (B, in_channels, T, H, W) for any T; network: as `image_network` takes it.

    start: None runs the image network on every frame alone; "negative", "zero", "average" ... inflates its
    first two convolutions to three frames with this start. encoder: a file of `timelift pretrain` for the
    same network, whose encoder the LSTM starts from.
    """
    image = _image_network(network, in_channels, image_state)
    rules = () if start is None else (Inflate(3, start) @ first(2),)
    model = with_lstm(lift(image, *rules), classes, hidden, layers, peepholes, dropout, mean_probability)
    return model if encoder is None else started_from_encoder(model, read_state(Path(encoder)), encoder)


def started_from_encoder(model: VideoModel, composite: State, source: str) -> VideoModel:
    """The network with its LSTM's tensors from a composite LSTM's encoder, in the group "lifted".

    So the image network below can stay still while the LSTM learns on.

    Raises:
        UsageError: if the file holds no encoder, or one of another size.
    """
    place = "image_net.head.lstm.on_clips.lstm."
    own = {name.removeprefix(place): p for name, p in model.named_parameters() if name.startswith(place)}
    state = {k.removeprefix("encoder."): v for k, v in composite.items() if k.startswith("encoder.")}
    if not state:
        raise UsageError(f"encoder: {source} holds no composite LSTM; make one with `timelift pretrain`")
    for name in sorted(own.keys() | state.keys()):
        came, wanted = (tuple(of[name].shape) if name in of else "none" for of in (state, own))
        if came != wanted:
            raise UsageError(
                f"encoder: {source} has {name} {came}, wanted {wanted}: give hidden and layers as in "
                "`timelift pretrain`, and the same network"
            )
    if not all(parameter.requires_grad for parameter in own.values()):
        raise UsageError(f"encoder: {source} has peepholes; say peepholes=True")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])
    model.groups = model.groups | {f"{place}{name}": "lifted" for name in own}
    return model


def without(video: VideoModel, names: tuple[str, ...]) -> VideoModel:
    """A copy in which these modules of the image network hand on what they get."""
    bare = copy.deepcopy(video)
    taken = 0
    for name in names:
        taken += sum(parameter.numel() for parameter in bare.image_net.get_submodule(name).parameters())
        bare.image_net.set_submodule(name, nn.Identity())
    bare.receipt = dataclasses.replace(
        bare.receipt,
        framewise=tuple(name for name in bare.receipt.framewise if name not in names),
        parameters_before=bare.receipt.parameters_before - taken,
        parameters_after=bare.receipt.parameters_after - taken,
    )
    bare.groups = {name: bare.groups[name] for name, _ in bare.named_parameters()}
    return bare


def _inputs(last: nn.Module) -> int:
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels  # type: ignore[return-value]


def _image_network(name: str, in_channels: int, state: State | None) -> nn.Module:
    """The image network with these weights, in its own keys and for RGB, or random."""
    net = image_network(name, in_channels=in_channels, weights=None)
    facts = facts_of(net)
    notes = tuple(note for note in facts.notes if not note.startswith("weights:"))  # create_model says them
    if state is not None:
        net = image_network(name, weights=None)
        take_image_weights(net, state, classifier_names(net)[0])
        fit_channels(net, in_channels, facts_of(net).input_size)
        facts = dataclasses.replace(facts, started_from="given weights", new_parameters=frozenset())
    net.image_facts = dataclasses.replace(facts, notes=notes)  # type: ignore[assignment]
    return net


_DONAHUE = "Donahue et al. 2015, Long-term Recurrent Convolutional Networks"

SYSTEMS = {
    "lrcn": System(
        lrcn,
        _DONAHUE,
        clip=(3, 16, 224, 224),
        small=(3, 4, 64, 64),
        small_options={"network": "timm:test_resnet", "hidden": 8},
        image=ImageStart("timm:tf_efficientnet_lite0", dict),
    ),
}

PUBLISHED = ()
