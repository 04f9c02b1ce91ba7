"""`timelift bench`: what our parts cost in time here, each against its plain counterpart."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import say
from timelift.records.errors import UsageError

_PACKAGES = ("python", "timelift", "torch")


def command(
    what: Annotated[
        str,
        typer.Argument(
            help="transform: a Transform layer against nn.Conv3d. replicas: several networks trained at once "
            "against one by one. workers: runs of a study in several processes against one. harness: a "
            "study's run against a bare loop of the same steps."
        ),
    ] = "transform",
    repeats: Annotated[
        int | None, typer.Option(help="Turns in which every way is timed; each bench has its own.", min=1)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all that PyTorch takes if not said.", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Time our parts against their plain counterparts, turn by turn, on this machine.

    Example: timelift bench transform --repeats 15 --threads 1
    """
    import torch

    from timelift.bench import BENCHES
    from timelift.memory import keep_memory
    from timelift.runs.surroundings import hardware, pick_device, versions

    if what not in BENCHES:
        raise UsageError(f"there is no bench {what!r}; there are {', '.join(BENCHES)}")
    if threads is not None:
        torch.set_num_threads(threads)
    memory = "freed memory kept" if keep_memory() else "freed memory given back"
    bench, where = BENCHES[what], pick_device(device)
    turns = repeats or bench.turns
    table = Table(title=f"timelift bench {what}, {turns} turns", title_justify="left")
    for heading in ("", "way", "median ms", "least ms", "spread", "ratio", "its quartiles", "times as fast"):
        table.add_column(heading, justify="left" if heading in ("", "way") else "right")
    for outcome in bench.timed(turns, where):
        say(f"{outcome.title}: " + ", ".join(f"{way.name} {way.ratio[0]:.2f}" for way in outcome.ways))
        for i, timed in enumerate(outcome.ways):
            table.add_row(
                outcome.title if i == 0 else "", *_cells(timed), end_section=i == len(outcome.ways) - 1
            )
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
    print(
        "ratio: time over that of the first way in the same turn, median; spread: quartile distance / median"
    )
    packages = (f"{name} {version}" for name, version in versions().items() if name in _PACKAGES)
    print(f"{hardware(where)}; {memory}; {', '.join(packages)}")


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
