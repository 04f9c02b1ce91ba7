"""lift: an image network, given layers that look through time, becomes a video network."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import ClipBatch, Clipwise, Framewise, OnFrames, Tokenwise, channels_last, fold
from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.conversions.inflate import temporal_stride
from timelift.conversions.pool import TemporalSubsample
from timelift.conversions.temporal import TemporalConv
from timelift.networks.paths import behind_norm_act, check_lengths, parallel_strided
from timelift.networks.select import Cycle, Rule, every
from timelift.networks.trace import Layer, trace
from timelift.receipt import Converted, Receipt, left_alone, origins
from timelift.records.errors import UsageError
from timelift.rewrite.layout import lay_out_kernels
from timelift.rewrite.mode import rewritten


def mean_consensus(logits: Tensor) -> Tensor:
    """(B, T, K) -> (B, K): the mean over frames."""
    return logits.mean(dim=1)


class VideoModel(nn.Module):
    """A network on clips: (B, C, T, H, W) float -> (B, K)."""

    def __init__(
        self,
        image_net: nn.Module,
        receipt: Receipt,
        groups: dict[str, str],
        consensus: Callable[[Tensor], Tensor] = mean_consensus,
    ):
        super().__init__()
        self.classes: tuple[str, ...] = ()
        self.several_labels = False  # of a trained network: whether a clip may show several classes
        self.transform: Any = None  # of a trained network: decoded frames -> clip
        self.image_net = image_net
        self.receipt = receipt
        self.groups = groups
        self.consensus = consensus

    def forward(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, K): the consensus of the frames."""
        return self.consensus(self.per_frame(clip))

    def per_frame(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, T_out, K); T_out is below T after temporal strides and pools.

        Raises:
            ValueError: for anything but a clip of five dimensions.
            ClipTooShort: naming the shortest clip that the network takes.
            RuntimeError: inside nn.DataParallel, whose copies would share one clip's frames out.
        """
        if clip.dim() != 5:
            raise ValueError(f"a clip is (B, C, T, H, W); this tensor is {tuple(clip.shape)}")
        if clip.shape[0] == 0:
            raise ValueError("a batch of no clips (B = 0) has no answer: leave it out")
        if getattr(self, "_is_replica", False):
            raise RuntimeError("nn.DataParallel is not supported: use torchrun (DistributedDataParallel)")
        clips = clip.shape[0]
        frames = fold(channels_last(clip))  # (B*T, C, H, W), a view
        try:
            with ClipBatch(clips), rewritten(frames):
                logits = self.image_net(frames)  # (B*T', K)
        except ClipTooShort as error:
            raise ClipTooShort(f"{error}; {self._shortest(clip)}") from error
        return logits.unflatten(0, (clips, logits.shape[0] // clips))  # (B, T', K)

    def parameter_groups(self) -> dict[str, str]:
        """Each parameter's name -> "new" (head, random starts), "lifted" (a new slice in time) or "kept"."""
        return {name: self.groups[name] for name, _ in self.named_parameters()}

    def _shortest(self, clip: Tensor) -> str:
        twin = copy.deepcopy(self).to("meta").eval()

        def is_short(length: int) -> bool:
            frames = torch.zeros(length, *clip.shape[1:2], *clip.shape[3:], device="meta", dtype=clip.dtype)
            try:
                with ClipBatch(1), torch.no_grad():
                    twin.image_net(frames)
            except ClipTooShort:
                return True
            return False

        try:
            short, length = clip.shape[2], 2 * clip.shape[2] + 1
            while is_short(length):
                if length > 512:
                    return "the network takes no clip of up to 512 frames"
                short, length = length, 2 * length
            while length - short > 1:  # a longer clip is never too short where a shorter one is not
                middle = (short + length) // 2
                short, length = (middle, length) if is_short(middle) else (short, middle)
        except UsageError:
            return "its head takes clips of one length"
        except RuntimeError:  # it cannot run without numbers
            return "the network takes longer clips"
        return f"the network takes clips of at least {length} frames"


def lift(
    image_net: nn.Module,
    *rules: Any,
    example: Tensor | None = None,
    consensus: Callable[[Tensor], Tensor] = mean_consensus,
) -> VideoModel:
    """The video network; the image network is left untouched.

    rules: conversions, or `conversion @ place`, tried in order for every layer: the first match wins.
        A conversion without a place goes to `every` convolution.
    example: frames (N, C, H, W) for the one traced forward, where the network does not name its size.

    Raises:
        UsageError: for a rule that matches nothing, a network already lifted, lengths that disagree.
        ConversionError: for a layer that its rule cannot convert, naming it.
    """
    if any(isinstance(module, VideoModel | Clipwise) for module in image_net.modules()):
        raise UsageError("this network is lifted already: lift the image network, with all rules at once")
    net = copy.deepcopy(image_net)
    facts = getattr(net, "image_facts", None)
    new = _of_names(net, getattr(facts, "new_parameters", frozenset()))
    layers, frames = trace(net, example)
    assigned = _assign(layers, tuple(rule if isinstance(rule, Rule) else Rule(rule, every) for rule in rules))
    followers = _follow_strides(layers, assigned)
    before = _count(net)
    framewise, notes = left_alone(net, layers, {item.layer.name for item in assigned})
    made = _convert(net, layers, assigned, followers)
    notes = (
        *getattr(facts, "notes", ()),
        *(f"{layer.name}: temporal stride {stride}, as its parallel path" for layer, stride in followers),
        *notes,
    )
    receipt = Receipt(tuple(map(_row, made)), framewise, before, _count(net), notes)
    lay_out_kernels(net, (nn.Conv2d, ConvOnClips, TemporalConv))
    video = VideoModel(net, receipt, {}, consensus)
    video.groups = _groups(video, new, made)
    if not all(map(_keeps_length, made)):
        check_lengths(video, frames)
    return video


@dataclass(frozen=True, eq=False)
class _Assigned:
    layer: Layer
    conversion: Any


@dataclass(frozen=True, eq=False)
class _Made:
    layer: Layer
    conversion: Any
    behind: str  # the module that it stands behind, where it is not in the layer's own place
    before: int  # parameters
    after: int
    origin: dict[str, str]  # parameter of the module on clips -> kept | lifted | new


def _assign(layers: tuple[Layer, ...], rules: tuple[Rule, ...]) -> tuple[_Assigned, ...]:
    """First match wins; in order of execution, without what stays framewise."""
    taken: dict[str, Any] = {}
    for rule in rules:
        chosen = rule.place.choose(layers)
        free = [layer for layer in chosen if layer.name not in taken]
        if not free:
            why = "earlier rules took all of its layers" if chosen else "no layer is there"
            raise UsageError(f"the rule {rule} matches nothing: {why}; {_what_there_is(layers)}")
        for i, layer in enumerate(free):
            one = rule.conversion
            one = one.conversions[i % len(one.conversions)] if isinstance(one, Cycle) else one
            taken[layer.name] = one
            if isinstance(one, Framewise):  # with all that it holds
                inside = (other.name for other in layers if other.name.startswith(layer.name + "."))
                taken = dict.fromkeys(inside, one) | taken
    looking = [layer for layer in layers if not isinstance(taken.get(layer.name, Framewise()), Framewise)]
    return tuple(_Assigned(layer, taken[layer.name]) for layer in looking)


def _what_there_is(layers: tuple[Layer, ...]) -> str:
    names = [layer.name for layer in every.choose(layers)]
    if not names:
        return "the network has no convolution with a spatial kernel"
    shown = ", ".join(names[:3]) + (f" ... {names[-1]}" if len(names) > 3 else "")
    return f"its {len(names)} convolutions are {shown}"


def _convert(
    net: nn.Module,
    layers: tuple[Layer, ...],
    assigned: tuple[_Assigned, ...],
    followers: list[tuple[Layer, int]],
) -> tuple[_Made, ...]:
    """Put every converted layer in its place, what is inside another first; in order of execution."""
    behind = {item.layer.name: _behind(layers, item) for item in assigned}
    made: dict[str, _Made] = {}
    for item in sorted(assigned, key=lambda item: -behind[item.layer.name][0].count(".")):
        made[item.layer.name] = _convert_one(net, item, *behind[item.layer.name])
    for layer, stride in followers:
        subsampled = nn.Sequential(TemporalSubsample(stride), OnFrames(net.get_submodule(layer.name)))
        _replace(net, layer.name, Clipwise(subsampled, layer.name))
    return tuple(made[item.layer.name] for item in assigned)


def _behind(layers: tuple[Layer, ...], item: _Assigned) -> tuple[str, nn.Module | None]:
    """The module in whose place the conversion goes, and an activation that comes to it there."""
    if getattr(item.conversion, "after", "layer") != "norm-act":
        return item.layer.name, None
    try:
        return behind_norm_act(layers, item.layer)
    except ConversionError as error:
        raise ConversionError(f"{item.layer.name} {error}") from error


def _convert_one(net: nn.Module, item: _Assigned, target: str, activation: nn.Module | None) -> _Made:
    name, conversion = item.layer.name, item.conversion
    if item.layer.per_frame > 1:
        raise ConversionError(
            f"{name} takes {item.layer.per_frame} maps a frame: heads or windows are folded into the batch, "
            "and time would mix them. Leave the layer out with a place (@ named(...))."
        )
    if item.layer.calls > 1 and getattr(conversion, "once", False):
        raise ConversionError(
            f"{name} runs {item.layer.calls} times in a forward, and {conversion!r} keeps one run's state: "
            "leave the layer out with a place (@ named(...))"
        )
    source, there = net.get_submodule(name), net.get_submodule(target)

    def build() -> nn.Module:
        if target == name:
            return conversion(source)
        held = there if activation is None else nn.Sequential(there, activation)
        return nn.Sequential(OnFrames(held), conversion.temporal_part(source))

    try:
        module = build()
    except ConversionError as error:
        raise ConversionError(f"{name} {error}") from error
    if not isinstance(module, nn.Module):
        raise ConversionError(
            f"{name} became a {type(module).__name__}, not a module on clips: {conversion!r}"
        )
    before = _count(source) + (0 if target == name else _count(there))
    after = _count(module) + (0 if target == name else _count(source))
    origin = origins(module, build, there)
    placed = (Tokenwise if item.layer.tokens else Clipwise)(module, name)
    _replace(net, target, _with_geometry_of(there, placed))
    return _Made(item.layer, conversion, "" if target == name else target, before, after, origin)


def _with_geometry_of(layer: nn.Module, placed: nn.Module) -> nn.Module:
    """What stands in a layer's place tells its neighbours the same: DaViT pads by `self.conv.kernel_size`."""
    for field in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"):
        if hasattr(layer, field):
            setattr(placed, field, getattr(layer, field))
    return placed


def _replace(net: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in another's place, under all of its names: a layer that runs twice keeps one weight."""
    old = net.get_submodule(name)
    for parent in list(net.modules()):
        for child, candidate in list(parent._modules.items()):
            if candidate is old:
                parent._modules[child] = new


def _follow_strides(layers: tuple[Layer, ...], assigned: tuple[_Assigned, ...]) -> list[tuple[Layer, int]]:
    """The strided layers of parallel paths, which take the same stride in time."""
    strided = [
        (item.layer, temporal_stride(item.layer.module, "spatial"))
        for item in assigned
        if getattr(item.conversion, "stride", "none") == "spatial" and item.layer.is_conv
    ]
    taken = {item.layer.name for item in assigned}
    return parallel_strided(layers, taken, [(layer, stride) for layer, stride in strided if stride > 1])


def _row(item: _Made) -> Converted:
    def tensors(word: str) -> tuple[str, ...]:
        return tuple(name for name, origin in item.origin.items() if origin == word)

    return Converted(
        layer=item.layer.name,
        rule=repr(item.conversion) + (f", behind {item.behind}" if item.behind else ""),
        stage=item.layer.stage,
        kept=tensors("kept"),
        lifted=tensors("lifted"),
        new=tensors("new"),
        parameters_before=item.before,
        parameters_after=item.after,
        padding=getattr(item.conversion, "padding", "none"),
    )


def _of_names(net: nn.Module, names: frozenset[str]) -> set[int]:
    return {id(parameter) for name, parameter in net.named_parameters() if name in names}


def _groups(video: VideoModel, new: set[int], made: tuple[_Made, ...]) -> dict[str, str]:
    """Each parameter's group; a network from random weights is new as a whole."""
    groups = {name: "new" if id(p) in new else "kept" for name, p in video.named_parameters()}
    facts = getattr(video.image_net, "image_facts", None)
    if facts is not None and not facts.pretrained:
        return dict.fromkeys(groups, "new")
    origin = {item.layer.name: item.origin for item in made}
    fresh = {item.layer.name for item in made if {id(p) for p in item.layer.module.parameters()} & new}
    for prefix, module in video.named_modules():
        if isinstance(module, Clipwise) and module.name in origin:
            for name, group in origin[module.name].items():
                where = f"{prefix}.on_clips.{name}"
                if where in groups and groups[where] != "new":
                    groups[where] = "new" if module.name in fresh else group
    return groups


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _keeps_length(item: _Made) -> bool:
    """Whether the conversion is known to give as many frames as it takes."""
    padding, stride = getattr(item.conversion, "padding", None), getattr(item.conversion, "stride", None)
    return stride == "none" and padding in ("replicate", "zeros", "same")
