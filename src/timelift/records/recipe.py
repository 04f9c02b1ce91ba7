"""How a video becomes clips, and how a network is trained on them: frozen, saved with every run.

The defaults are the default recipe, meant for 100 to 1,000 labelled videos (see docs/recipe.md).
"""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from timelift.records.errors import UsageError
from timelift.records.fusion import Fusion

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class ClipFormat:
    """`frames` frames, every `stride`-th, short side resized to `short_side`, cropped to `size` pixels.

    Of optical flow each frame is a field, or `stack` fields in a row: 2 * stack channels for the network.
    """

    frames: int = 8
    stride: int = 4
    short_side: int = 128
    size: int = 112
    channels: Literal[1, 2, 3] = 3  # grey, optical flow (u, v) or RGB
    cache: Literal["exact", "jpeg"] = "exact"  # jpeg: a sixth of the disk, pixels off by about 1 of 255
    mean: tuple[float, ...] | None = None  # on the 0..1 scale; None: the image network's own
    std: tuple[float, ...] | None = None  # 1/255 with mean 0 gives raw 0..255 pixels
    stack: int = 1  # flow fields a frame (Simonyan and Zisserman 2014)
    subtract_mean_flow: bool = False  # from each field, its mean vector (the same)

    __pydantic_config__ = _STRICT

    @property
    def in_channels(self) -> int:
        """What the network takes a frame."""
        return self.channels * self.stack


@dataclass(frozen=True)
class Augmentation:
    """Drawn once a clip, the same for all its frames."""

    random_crop: bool = True  # else the centre crop
    crop_scale: tuple[float, float] = (0.6, 1.0)  # area of the crop relative to the largest square
    flip: float = 0.5  # probability of a horizontal flip
    rotate_degrees: float = 0.0  # uniform in +-
    translate: float = 0.0  # uniform in +-, share of the size
    scale: float = 0.0  # uniform in 1 +-
    shear_degrees: float = 0.0
    pca_noise: float = 0.0  # std of a shift along the clip's principal colours (Krizhevsky et al. 2012)
    temporal_jitter: bool = True  # a random start of the clip, else the middle one
    shuffle_frames: bool = False  # destroys the order of time; for control experiments

    __pydantic_config__ = _STRICT

    @property
    def is_still(self) -> bool:
        """Whether nothing is drawn: every epoch sees the same clip."""
        moved = (self.rotate_degrees, self.translate, self.scale, self.shear_degrees, self.pca_noise)
        return not any((self.random_crop, self.flip, *moved, self.temporal_jitter, self.shuffle_frames))


@dataclass(frozen=True)
class Views:
    """What a video is judged by: evenly spaced `clips` x `crops`; 0 clips slide by `window_stride` frames."""

    clips: int = 1
    crops: Literal["centre", "three", "ten"] = "centre"
    window_stride: int = 0
    fusion: Fusion = "mean"  # of a video's views; sci weights each by how sure it is (Sun et al. 2015)

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Optimisation:
    """The training loop's choices; the rates of `new`, `lifted`, `kept` are factors of learning_rate."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = 3e-3
    new_rate: float = 1.0  # head and randomly started tensors
    lifted_rate: float = 0.1  # tensors with a new slice in time
    kept_rate: float = 0.1  # the image network's other tensors
    momentum: float = 0.9
    weight_decay: float = 0.05
    decay_norms_and_biases: bool = False
    schedule: Literal["constant", "step", "plateau", "stall", "cosine"] = "cosine"
    warmup_epochs: float = 1.0
    step_epochs: int = 10  # step: every so many epochs times step_factor
    step_factor: float = (
        0.1  # also plateau's, and stall's: after every check that is not above the one before
    )
    plateau_patience: int = 5  # epochs without a better validation accuracy
    epochs: int = 8
    steps: int = 0  # optimiser steps in place of epochs, the last epoch cut where they end; 0: epochs count
    validate_every: int = 1  # epochs between validations; the last epoch is always validated
    batch_size: int = 8  # clips a step and process
    reshuffle: Literal["epoch", "step"] = "epoch"  # step: batches are drawn anew, and do not part an epoch
    sampling: Literal["all", "balanced"] = "all"  # of an epoch: every clip once; or every class as often
    class_weights: Literal["none", "balanced"] = (
        "none"  # balanced: a clip's loss counts 1 / clips of its class
    )
    accumulate: int = 1  # batches an optimiser step
    freeze_lifted_steps: int = 0  # optimiser steps until the group thaws
    freeze_kept_steps: int = 0
    norm_statistics: Literal["pretrained", "batch"] = "pretrained"  # of kept batch norms: stored, or learnt
    dropout: float | None = None  # None: the network's own; else every dropout layer's rate
    label_smoothing: float = 0.1
    mixup: float = 0.0  # alpha of the Beta distribution; 0 is off
    ema: float = 0.0  # decay of the averaged weights, 0 is off
    clip_gradient: float = 0.0  # largest norm, 0 is off
    max_norm: float = 0.0  # of the weights into each unit of a fully connected layer, 0 is off
    unit_norm: bool = False  # filters of 1x1 convolutions are kept at norm 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    early_stopping_patience: int = 0  # epochs without a better validation accuracy; 0 is off

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class Recipe:
    """Everything a run chooses beside the network, the data and the seed."""

    clip: ClipFormat = field(default_factory=ClipFormat)
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: Views = field(default_factory=Views)
    training: Optimisation = field(default_factory=Optimisation)

    __pydantic_config__ = _STRICT


_ADAPTER = TypeAdapter(Recipe)


def parse_recipe(data: dict) -> Recipe:
    """A recipe from nested plain values; what is not said keeps its default.

    Raises:
        UsageError: for an unknown key or a value of the wrong kind, naming it; for what only flow or RGB has.
    """
    try:
        return _checked(_ADAPTER.validate_python(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        came = "" if first["type"] == "unexpected_keyword_argument" else f" (got {first['input']!r})"
        raise UsageError(f"recipe: {place}: {first['msg']}{came}") from error


def _checked(recipe: Recipe) -> Recipe:
    clip, is_flow = recipe.clip, recipe.clip.channels == 2
    if clip.stack < 1 or (clip.stack > 1 and not is_flow):
        raise UsageError(f"recipe: clip.stack is {clip.stack}: 1, or more of optical flow (clip.channels=2)")
    if clip.subtract_mean_flow and not is_flow:
        raise UsageError("recipe: clip.subtract_mean_flow is of optical flow only (clip.channels=2)")
    if is_flow and clip.cache == "jpeg":
        raise UsageError("recipe: clip.cache is jpeg: flow is stored as JPEG already, take exact")
    if is_flow and recipe.augmentation.pca_noise:
        raise UsageError(
            "recipe: augmentation.pca_noise changes colours, and optical flow has none: set it to 0"
        )
    return recipe


def recipe_to_dict(recipe: Recipe) -> dict:
    """Nested plain values that `parse_recipe` reads back to an equal recipe (JSON-safe)."""
    return _ADAPTER.dump_python(recipe, mode="json")
