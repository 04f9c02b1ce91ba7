"""lift: an image network, given layers that look through time, becomes a video network."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import ClipBatch, Clipwise, OnFrames, fold
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.conversions.inflate import temporal_stride
from timelift.conversions.pool import TemporalSubsample
from timelift.networks.paths import behind_norm_act, check_lengths, parallel_strided
from timelift.networks.select import Cycle, Rule, every
from timelift.networks.trace import Layer, trace
from timelift.receipt import Converted, Receipt, left_alone, origins
from timelift.records.errors import UsageError


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
        if getattr(self, "_is_replica", False):
            raise RuntimeError("nn.DataParallel is not supported: use torchrun (DistributedDataParallel)")
        clips = len(clip)
        frames = fold(clip.contiguous(memory_format=torch.channels_last_3d))  # (B*T, C, H, W), a view
        try:
            with ClipBatch(clips):
                logits = self.image_net(frames)  # (B*T', K)
        except ClipTooShort as error:
            raise ClipTooShort(f"{error}; {self._shortest(clip)}") from error
        return logits.unflatten(0, (clips, len(logits) // clips))  # (B, T', K)

    def parameter_groups(self) -> dict[str, str]:
        """Each parameter's name -> "new" (head, random starts), "lifted" (a new slice in time) or "kept"."""
        return {name: self.groups[name] for name, _ in self.named_parameters()}

    def _shortest(self, clip: Tensor) -> str:
        twin = copy.deepcopy(self).to("meta").eval()
        for length in range(clip.shape[2] + 1, 513):
            frames = torch.zeros(length, *clip.shape[1:2], *clip.shape[3:], device="meta", dtype=clip.dtype)
            try:
                with ClipBatch(1), torch.no_grad():
                    twin.image_net(frames)
                return f"the network takes clips of at least {length} frames"
            except ClipTooShort:
                continue
        return "the network takes no clip of up to 512 frames"


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
        raise UsageError("this network is lifted already: lift the image network anew, with all rules at once")
    net = copy.deepcopy(image_net)
    facts = getattr(net, "image_facts", None)
    layers, frames = trace(net, example)
    assigned = _assign(layers, tuple(r if isinstance(r, Rule) else Rule(r, every) for r in rules))
    made = [_convert(layers, *item) for item in assigned]
    made = [item for item in made if type(item.module) is not OnFrames]  # framewise: left as it is
    followers = _follow_strides(layers, made)
    before, framewise, notes = _count(net), *left_alone(net, layers, {item.layer.name for item in made})
    for item in made:
        _replace(net, item.target, item.module)
    for layer, stride in followers:
        _replace(net, layer.name, nn.Sequential(TemporalSubsample(stride), OnFrames(layer.module)))
    notes = (
        *getattr(facts, "notes", ()),
        *(f"{layer.name}: temporal stride {stride}, as its parallel path" for layer, stride in followers),
        *notes,
    )
    receipt = Receipt(tuple(map(_row, made)), framewise, before, _count(net), notes)
    video = VideoModel(net, receipt, {}, consensus)
    video.groups = _groups(video, getattr(facts, "new_parameters", frozenset()), made)
    if any(_changes_length(item) for item in made):
        check_lengths(video, frames)
    return video


@dataclass(frozen=True, eq=False)
class _Made:
    layer: Layer
    rule: Rule
    conversion: Any
    module: nn.Module  # on clips
    target: str  # the module that it replaces: the layer, or what stands behind it
    origin: dict[str, str]  # parameter of `module` -> kept | lifted | new


def _assign(layers: tuple[Layer, ...], rules: tuple[Rule, ...]) -> list[tuple[Layer, Rule, Any]]:
    """First match wins; in order of execution."""
    taken: dict[str, tuple[Layer, Rule, Any]] = {}
    for rule in rules:
        chosen = rule.place.choose(layers)
        free = [layer for layer in chosen if layer.name not in taken]
        if not free:
            why = "earlier rules took all of its layers" if chosen else "no layer is there"
            raise UsageError(f"the rule {rule} matches nothing: {why}; {_what_there_is(layers)}")
        for i, layer in enumerate(free):
            one = rule.conversion
            one = one.conversions[i % len(one.conversions)] if isinstance(one, Cycle) else one
            taken[layer.name] = (layer, rule, one)
    return [taken[layer.name] for layer in layers if layer.name in taken]


def _what_there_is(layers: tuple[Layer, ...]) -> str:
    names = [layer.name for layer in every.choose(layers)]
    if not names:
        return "the network has no convolution with a spatial kernel"
    shown = ", ".join(names[:3]) + (f" ... {names[-1]}" if len(names) > 3 else "")
    return f"its {len(names)} convolutions are {shown}"


def _convert(layers: tuple[Layer, ...], layer: Layer, rule: Rule, conversion: Any) -> _Made:
    try:
        target, before = layer.name, None
        if getattr(conversion, "after", "layer") == "norm-act":
            target, before = behind_norm_act(layers, layer)

        def build() -> nn.Module:
            if before is None:
                return conversion(layer.module)
            return nn.Sequential(OnFrames(copy.deepcopy(before)), conversion.temporal_part(layer.module))

        module = build()
        if not isinstance(module, nn.Module):
            raise ConversionError(f"became a {type(module).__name__} under {conversion!r}, not a module on clips")
        source = layer.module if before is None else before
        origin = origins(module, build, source)
    except ConversionError as error:
        raise ConversionError(f"{layer.name} {error}") from error
    return _Made(layer, rule, conversion, module, target, origin)


def _replace(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of another, under all of its names: a layer that runs twice keeps one weight."""
    old = net.get_submodule(name)
    new = Clipwise(module, name)
    for parent in list(net.modules()):
        for child, candidate in list(parent._modules.items()):
            if candidate is old:
                parent._modules[child] = new


def _follow_strides(layers: tuple[Layer, ...], made: list[_Made]) -> list[tuple[Layer, int]]:
    """The strided layers of parallel paths, which take the same stride in time."""
    strided = [
        (item.layer, temporal_stride(item.layer.module, "spatial"))
        for item in made
        if getattr(item.conversion, "stride", "none") == "spatial"
    ]
    taken = {item.layer.name for item in made}
    return parallel_strided(layers, taken, [(layer, stride) for layer, stride in strided if stride > 1])


def _row(item: _Made) -> Converted:
    def tensors(word: str) -> tuple[str, ...]:
        return tuple(name for name, origin in item.origin.items() if origin == word)

    behind = "" if item.target == item.layer.name else f", behind {item.target}"
    return Converted(
        layer=item.layer.name,
        rule=repr(item.conversion) + behind,
        stage=item.layer.stage,
        kept=tensors("kept"),
        lifted=tensors("lifted"),
        new=tensors("new"),
        parameters_before=_count(item.layer.module),
        parameters_after=_count(item.module) + (_count(item.layer.module) if behind else 0),
        padding=getattr(item.conversion, "padding", "none"),
    )


def _groups(video: VideoModel, new: frozenset[str], made: list[_Made]) -> dict[str, str]:
    groups = {name: "new" if name.removeprefix("image_net.") in new else "kept" for name, _ in video.named_parameters()}
    ids = {id(parameter): name for name, parameter in video.named_parameters()}
    for item in made:
        for name, parameter in item.module.named_parameters():
            where = ids[id(parameter)]
            all_new = groups[where] == "new" or f"{item.layer.name}.weight" in new
            groups[where] = "new" if all_new else item.origin[name]
    return groups


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _changes_length(item: _Made) -> bool:
    fields = item.conversion
    strided = getattr(fields, "stride", "none") != "none"
    return strided or getattr(fields, "padding", "") == "valid" or hasattr(fields, "stride") and fields.stride is None
