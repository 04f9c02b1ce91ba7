"""docs/zoo.md: the totals, a table by family, and every architecture that something is to be said about."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from timelift.zoo.numbers import EXACT, FELT, ROUNDED, SINGLE
from timelift.zoo.record import Numbers, Results, Shapes
from timelift.zoo.run import NUMBERS_UP_TO, with_numbers

_HEAD = """# The zoo

What became of every image network of timm when it was lifted: `timelift models --zoo`, {versions}.

- **Lifted**: built on the meta device at the size of its pretrained weights, and lifted by
  `Inflate(frames=3)` at every convolution with a kernel above 1x1 in the trunk, as one traced forward runs
  them; squeeze-excitation gates and heads are not counted. A network with fewer than two of these works on
  tokens: it is lifted by `TokenConv(frames=3) @ tokens` alone, its patch embedding stays on frames. Layers
  that the conversion refuses stay on frames, too, and are listed. Two clips of three frames gave an answer of
  the right shape.
- **Numbers**: with weights drawn at random and awake (`timelift.testing.wake`), in float64, at the smallest
  of 64 to 256 pixels that the network takes, else at its own size; for networks of at most {most} million
  parameters, and the smallest of every family that has none. *Still clip*: clips of equal frames give what
  the image network gives to the frame. *Damage*: each of three converted layers, spread over the network,
  moves the answer by more than {felt:.0e} when it is disturbed. *Stream*: with `causal=True` and disturbed
  weights, three frames one after another through `Stream` give what the whole clip gives, and the last
  frame's answer moves by more than {felt:.0e} when those before it are left out. Equal means within
  {exact:.0e} of the largest answer.
"""


def page(results: Results) -> str:
    """The page, in Markdown."""
    shapes = sorted(results.shapes.values(), key=lambda row: row.name)
    numbers = {name: row for name, row in results.numbers.items() if name in results.shapes}
    versions = ", ".join(sorted({row.versions for row in shapes if row.versions}))
    head = _HEAD.format(versions=versions, most=NUMBERS_UP_TO // 10**6, felt=FELT, exact=EXACT)
    parts = [
        head,
        _totals(shapes, numbers),
        _rounded(numbers),
        _families(shapes, numbers),
        _named("Not lifted", {row.name: row.error for row in shapes if row.error}),
        _named("Wrong numbers", {name: _failed(row) for name, row in numbers.items() if row.broken}),
        _named("No numbers", {name: row.error for name, row in numbers.items() if row.error}),
        _refusals(shapes),
        _named(
            "Kernels that are no Conv2d, left on frames",
            {
                row.name: ", ".join(f"{n} {kind}" for kind, n in row.others.items())
                for row in shapes
                if row.others
            },
        ),
    ]
    return "\n".join(part for part in parts if part)


def _totals(shapes: list[Shapes], numbers: dict[str, Numbers]) -> str:
    lifted = [row for row in shapes if not row.error]
    convolutional = [row for row in shapes if row.spatial > 1]
    checked = [row for row in numbers.values() if not row.error]
    wanted = with_numbers(Results({row.name: row for row in shapes}, {}))
    rows = [
        ("architectures", len(shapes)),
        ("with two or more spatial convolutions", len(convolutional)),
        ("of these, lifted with two or more converted layers", sum(r.converted > 1 for r in convolutional)),
        ("with fewer, lifted by the token step", sum(row.step == "tokens" for row in lifted)),
        (
            "with fewer and no tokens, inflated there",
            sum(r.step == "inflate" and r.spatial < 2 for r in lifted),
        ),
        ("not lifted", len(shapes) - len(lifted)),
        ("layers refused, each with its reason", sum(len(row.refused) for row in shapes)),
        ("numbers: passed", sum(not row.broken for row in checked)),
        ("numbers: wrong", sum(bool(row.broken) for row in checked)),
        ("numbers: none, for a reason below", sum(bool(row.error) for row in numbers.values())),
        ("numbers: not run yet", sum(name not in numbers for name in wanted)),
        ("numbers: not asked for, too large", len(lifted) - len(wanted)),
    ]
    return "\n".join(["## Totals", "", "| | |", "|---|---|", *(f"| {what} | {n} |" for what, n in rows), ""])


def _rounded(numbers: dict[str, Numbers]) -> str:
    """The largest differences, and those that only the network's own rounding explains."""
    passed = [row for row in numbers.values() if not row.error and not row.broken]
    calm = [row for row in passed if max(row.still, row.stream) < EXACT]
    single, chaotic = (
        sorted(row.name for row in passed if row not in calm and row.single == kind) for kind in (True, False)
    )
    if not calm:
        return ""
    worst = [max(getattr(row, field) for row in calm) for field in ("still", "stream")]
    text = f"Largest difference: still clip {worst[0]:.0e}, stream {worst[1]:.0e}.\n"
    if single:
        text += (
            f"\nIn float32 inside, equal within {SINGLE:.0e} of the largest answer: {', '.join(single)}.\n"
        )
    if chaotic:
        text += (
            f"\nChaotic when awake: {', '.join(chaotic)}. Their answers differ by more than {EXACT:.0e}, but "
            f"a change of the pixels by 1e-15 moves them, too: {ROUNDED} times that covers the difference.\n"
        )
    return text


def _families(shapes: list[Shapes], numbers: dict[str, Numbers]) -> str:
    by_family: dict[str, list[Shapes]] = defaultdict(list)
    for row in shapes:
        by_family[row.family].append(row)
    lines = [
        "## By family",
        "",
        "A family is the file of timm that defines it. Inflated and token step: networks lifted; layers: "
        "fewest to most that were converted in one; numbers: passed / wrong / none.",
        "",
        "| family | networks | inflated | token step | layers | layers refused | numbers |",
        "|---|---|---|---|---|---|---|",
        *(_family(name, rows, numbers) for name, rows in sorted(by_family.items())),
        "",
    ]
    return "\n".join(lines)


def _family(name: str, rows: list[Shapes], numbers: dict[str, Numbers]) -> str:
    steps = Counter(row.step for row in rows if not row.error)
    converted = sorted(row.converted for row in rows if not row.error) or [0]
    span = f"{converted[0]} to {converted[-1]}" if converted[0] != converted[-1] else str(converted[0])
    own = [numbers[row.name] for row in rows if row.name in numbers]
    none = sum(bool(row.error) for row in own)
    wrong = sum(bool(row.broken) for row in own)
    cells = (name, len(rows), steps["inflate"], steps["tokens"], span, sum(len(r.refused) for r in rows))
    return f"| {' | '.join(map(str, cells))} | {len(own) - none - wrong} / {wrong} / {none} |"


def _failed(row: Numbers) -> str:
    least = min(row.damage.values(), default=0.0)
    return (
        f"{', '.join(row.broken)} (still {row.still:.1e}, damage {least:.1e}, stream {row.stream:.1e}, "
        f"history {row.history:.1e}, rounding {row.rounding:.1e})"
    )


def _named(title: str, reasons: dict[str, str]) -> str:
    """Architectures under the reason that they share."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        by_reason[reason].append(name)
    lines = [f"- {', '.join(sorted(names))}: {_plain(reason)}" for reason, names in sorted(by_reason.items())]
    return "\n".join([f"## {title}", "", *(lines or ["None."]), ""])


def _refusals(shapes: Iterable[Shapes]) -> str:
    """Refused layers under the reason that they share: network: layer, layer."""
    by_reason: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in shapes:
        for layer, reason in row.refused.items():
            by_reason[reason][row.name].append(layer)
    lines = ["## Refused layers", ""]
    for reason, networks in sorted(by_reason.items()):
        lines += [f"The layer {_plain(reason)}", ""]
        lines += [f"- {name}: {', '.join(layers)}" for name, layers in networks.items()]
        lines.append("")
    return "\n".join(lines if by_reason else [*lines, "None.", ""])


def _plain(reason: str) -> str:
    return " ".join(reason.replace("|", "\\|").split())
