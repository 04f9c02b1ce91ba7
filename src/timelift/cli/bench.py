"""`timelift bench`: what our parts cost in time here, each against its plain counterpart."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import say
from timelift.records.errors import UsageError

if TYPE_CHECKING:
    from timelift.timing import Outcome

_PACKAGES = ("python", "timelift", "torch")


def command(
    what: Annotated[
        str,
        typer.Argument(
            help="transform: a Transform layer against nn.Conv3d. replicas: several networks trained at once "
            "against one by one. workers: runs of a study in several processes against one. harness: a "
            "study's run against a bare loop of the same steps. data: clips per CPU-second of decoding, "
            "against plain PyAV calls and OpenCV. peers: whole networks, training steps and streams against "
            "torchvision's, nn.Conv3d, onnxruntime and OpenVINO, each in a process of its own."
        ),
    ] = "transform",
    repeats: Annotated[
        int | None, typer.Option(help="Turns in which every way is timed; each bench has its own.", min=1)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all that PyTorch takes if not said.", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    data: Annotated[
        Path | None, typer.Option(help="Videos for bench data; else UCF101's originals in $TIMELIFT_SHARED.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(help="Of bench peers: one of its cases, as s3d-training; repeatable.")
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Of bench peers: torch.compile is given to torchvision's, too.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Of bench peers: a page to write, in Markdown.")] = None,
) -> None:
    """Time our parts against their plain counterparts, turn by turn, on this machine.

    Example: timelift bench transform --repeats 15 --threads 1
    """
    import torch

    from timelift.bench import BENCHES
    from timelift.memory import keep_memory
    from timelift.runs.surroundings import hardware, pick_device, versions

    if threads is not None:
        torch.set_num_threads(threads)
    if what == "peers":
        from timelift.cli.bench_peers import compare_with_peers

        compare_with_peers(case or [], repeats, pick_device(device), compile, output)
        return
    if what == "data":
        _decoding(repeats, data)
        return
    if what not in BENCHES:
        raise UsageError(f"there is no bench {what!r}; there are {', '.join([*BENCHES, 'data', 'peers'])}")
    memory = "freed memory kept" if keep_memory() else "freed memory given back"
    bench, where = BENCHES[what], pick_device(device)
    turns = repeats or bench.turns
    _print_table(f"timelift bench {what}, {turns} turns", bench.timed(turns, where))
    packages = (f"{name} {version}" for name, version in versions().items() if name in _PACKAGES)
    print(f"{hardware(where)}; {memory}; {', '.join(packages)}")


def _decoding(repeats: int | None, data: Path | None) -> None:
    from timelift.bench.data import TURNS, exactness, rates, timed
    from timelift.memory import keep_memory
    from timelift.runs.surroundings import hardware, pick_device

    memory = "freed memory kept" if keep_memory() else "freed memory given back"
    turns = repeats or TURNS
    outcomes = _print_table(f"timelift bench data, {turns} turns, CPU time", timed(turns, data))
    for outcome in outcomes:
        print(rates(outcome))
    for line in exactness(data):
        print(line)
    print(f"{hardware(pick_device('cpu'))}; {memory}")


def _print_table(title: str, found: "Iterable[Outcome]") -> "list[Outcome]":
    table = Table(title=title, title_justify="left")
    for heading in ("", "way", "median ms", "least ms", "spread", "ratio", "its quartiles", "times as fast"):
        table.add_column(heading, justify="left" if heading in ("", "way") else "right")
    outcomes = []
    for outcome in found:
        say(f"{outcome.title}: " + ", ".join(f"{way.name} {way.ratio[0]:.2f}" for way in outcome.ways))
        outcomes.append(outcome)
        for i, timed in enumerate(outcome.ways):
            table.add_row(
                outcome.title if i == 0 else "", *_cells(timed), end_section=i == len(outcome.ways) - 1
            )
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
    print(
        "ratio: time over that of the first way in the same turn, median; spread: quartile distance / median"
    )
    return outcomes


def _cells(timed) -> tuple[str, ...]:
    ratio, low, high = timed.ratio
    return (
        timed.name,
        f"{timed.median * 1e3:.2f}",
        f"{timed.minimum * 1e3:.2f}",
        f"{timed.spread:.0%}",
        f"{ratio:.2f}",
        f"{low:.2f} .. {high:.2f}",
        f"{1 / ratio:.2f}",
    )
