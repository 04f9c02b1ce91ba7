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
        str, typer.Argument(help="transform: a Transform layer against nn.Conv3d.")
    ] = "transform",
    repeats: Annotated[int, typer.Option(help="Turns in which every way is timed.", min=1)] = 15,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all that PyTorch takes if not said.", min=1)
    ] = None,
) -> None:
    """Time our parts against their plain counterparts, turn by turn, on this machine's processor.

    Example: timelift bench transform --repeats 15 --threads 1
    """
    import torch

    from timelift.bench import BENCHES
    from timelift.bench.timing import measure
    from timelift.memory import keep_memory
    from timelift.runs.surroundings import hardware, versions

    if what not in BENCHES:
        raise UsageError(f"there is no bench {what!r}; there are {', '.join(BENCHES)}")
    if threads is not None:
        torch.set_num_threads(threads)
    table = Table(title=f"timelift bench {what}, {repeats} turns", title_justify="left")
    for heading in ("", "way", "median ms", "least ms", "spread", "ratio", "its quartiles"):
        table.add_column(heading, justify="left" if heading in ("", "way") else "right")
    for contest in BENCHES[what]():
        say(f"{contest.title} ...")
        for i, timed in enumerate(measure(contest, repeats)):
            table.add_row(
                contest.title if i == 0 else "", *_cells(timed), end_section=i == len(contest.ways) - 1
            )
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
    print(
        "ratio: time over that of the first way in the same turn, median; spread: quartile distance / median"
    )
    memory = "freed memory kept" if keep_memory() else "freed memory given back"
    packages = (f"{name} {version}" for name, version in versions().items() if name in _PACKAGES)
    print(f"{hardware(torch.device('cpu'))}; {memory}; {', '.join(packages)}")


def _cells(timed) -> tuple[str, ...]:
    ratio, low, high = timed.ratio
    return (
        timed.name,
        f"{timed.median * 1e3:.2f}",
        f"{timed.minimum * 1e3:.2f}",
        f"{timed.spread:.0%}",
        f"{ratio:.2f}",
        f"{low:.2f} .. {high:.2f}",
    )
