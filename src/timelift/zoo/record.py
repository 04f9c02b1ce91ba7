"""What became of one architecture: a line of JSON for its shapes, and one for its numbers."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Shapes:
    """One architecture lifted without weights (on the meta device), at the size of its pretrained weights.

    spatial: convolutions with a kernel above 1x1 in the trunk, as one traced forward ran them.
    step: "inflate" (Inflate(frames=3) at every), "tokens" (TokenConv(frames=3) @ tokens) or "none".
    refused: layers that the conversion cannot take, with its reason; they stay framewise.
    others: class -> modules with a spatial kernel that are no Conv2d; not counted, they stay framewise.
    error: why there is no video network; "" where there is one, which gave the right shape.
    """

    name: str
    family: str = ""
    parameters: int = 0
    input_size: tuple[int, ...] = ()
    spatial: int = 0
    step: str = "none"
    converted: int = 0
    parameters_after: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    versions: str = ""


@dataclass(frozen=True)
class Numbers:
    """The same architecture awake, in float64, at the smallest size that it takes.

    still: the largest relative difference between a still clip's answers and the image network's.
    damage: converted layer -> how far the answer moves (relative) when that layer's weights are disturbed.
    stream: the largest relative difference, for the causal conversion with disturbed weights, between the
        answers frame by frame (Stream) and to the whole clip.
    history: how far that network's answer to a frame moves (relative) when the frames before it are left out.
    rounding: how far its answers move (relative) when the pixels change by 1e-15 of their value.
    single: it computes in float32 inside, whatever it is given; 1e-15 is then below its last digit.
    broken: the checks that failed. error: why there are no numbers; "" where there are.
    """

    name: str
    input_size: tuple[int, ...] = ()
    still: float = -1.0
    damage: dict[str, float] = field(default_factory=dict)
    stream: float = -1.0
    history: float = -1.0
    rounding: float = -1.0
    single: bool = False
    broken: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    versions: str = ""


Record = Shapes | Numbers
_KINDS: dict[str, type[Shapes] | type[Numbers]] = {"shapes": Shapes, "numbers": Numbers}


def to_line(record: Record) -> str:
    """One line of JSON."""
    kind = "shapes" if isinstance(record, Shapes) else "numbers"
    return json.dumps({"kind": kind} | dataclasses.asdict(record))


def from_line(line: str) -> Record:
    """What `to_line` wrote."""
    fields = json.loads(line)
    kind = _KINDS[fields.pop("kind")]
    tuples = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return kind(**(fields | tuples))


@dataclass(frozen=True)
class Results:
    """All records of a file; of two for the same architecture the later counts."""

    shapes: dict[str, Shapes]
    numbers: dict[str, Numbers]


def read_results(file: Path) -> Results:
    """The records of a results file; a last line that was cut off by a crash is left out."""
    results = Results({}, {})
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            record = from_line(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, Shapes):
            results.shapes[record.name] = record
        else:
            results.numbers[record.name] = record
    return results
