"""What an exported file says of itself: what it takes, what its answers are called, how clips are cut."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from timelift.records import ClipFormat, DataError
from timelift.records.recipe import parse_recipe


@dataclass(frozen=True)
class ExportFacts:
    """Stored in the file, as JSON.

    kind: "clips" answers whole clips, "step" one frame of a stream. takes: uint8 pixels, normalised inside,
    or the network's own float32. shape: of one clip (C, T, H, W), or of one frame (C, H, W). clip: how frames
    become clips, of a network that a run has trained. states: of a step, each one's shape; None: the batch.
    """

    kind: Literal["clips", "step"]
    takes: Literal["uint8", "float32"]
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    several_labels: bool = False
    clip: ClipFormat | None = None
    states: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def to_json(facts: ExportFacts) -> str:
    """One line of JSON."""
    return json.dumps(asdict(facts), ensure_ascii=False)


def from_json(text: str, source: str) -> ExportFacts:
    """The facts again.

    Raises:
        DataError: for a text that says nothing of the kind.
    """
    try:
        told: dict[str, Any] = json.loads(text)
        clip = None if told["clip"] is None else parse_recipe({"clip": told["clip"]}).clip
        shapes = {name: tuple(shape) for name, shape in told["states"].items()}
        lists = {"shape": tuple(told["shape"]), "classes": tuple(told["classes"]), "states": shapes}
        return ExportFacts(**told | lists | {"clip": clip})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source} is not a file of `timelift export`: it says nothing of clips") from error
