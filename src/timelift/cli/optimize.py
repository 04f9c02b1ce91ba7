"""`timelift optimize`: a trained network's forms for inference, timed on this machine."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from timelift.cli.common import Device, say

if TYPE_CHECKING:
    from timelift.deploy.optimize import Way


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    clips: Annotated[int, typer.Option(help="Clips at once.", min=1)] = 1,
    precision: Annotated[
        str, typer.Option(help="float32; bfloat16, too; auto: bfloat16 where the processor computes in it.")
    ] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Try torch.compile: a minute, and a C++ compiler.")
    ] = True,
    repeats: Annotated[int, typer.Option(help="Turns in which every form is timed.", min=1)] = 7,
    threads: Annotated[
        int | None, typer.Option(help="Threads; all that PyTorch takes if not said.", min=1)
    ] = None,
    device: Device = "auto",
) -> None:
    """Find a trained network's quickest form for inference, by measuring.

    Norms are folded into convolutions, kernels packed, activations fused; torch.compile and bfloat16 are
    tried. A form whose answers differ is left out. `timelift predict --optimize` takes the quickest one that
    needs no compiler; `timelift.optimize(network, clip)` is the same in Python.

    Example: timelift optimize run/ --clips 4 --no-compile
    """
    import torch

    from timelift.deploy.optimize import optimize
    from timelift.runs.saved import load
    from timelift.runs.surroundings import hardware, pick_device

    if threads is not None:
        torch.set_num_threads(threads)
    where = pick_device(device)
    video = load(run).to(where)
    example = video.transform.example(clips).to(where)
    made = optimize(video, example, precision, compile, repeats, say)  # type: ignore[arg-type]
    shape = " x ".join(map(str, example.shape))
    _print(made.ways, f"{run}, clips {shape}, {torch.get_num_threads()} thread(s), {repeats} turns")
    print(
        f"taken: {made.chosen}, {made.speedup:.2f} times as fast as the network as it is; {hardware(where)}"
    )


def _print(ways: "tuple[Way, ...]", title: str) -> None:
    table = Table(title=escape(title), title_justify="left")
    for i, heading in enumerate(("form", "least ms", "median ms", "times as fast", "differs by", "")):
        table.add_column(heading, justify="left" if i in (0, 5) else "right")
    first = ways[0].timed
    for way in ways:
        if way.timed is None or first is None:
            table.add_row(way.name, "", "", "", "", escape(f"left out: {way.left_out}"))
            continue
        numbers = (way.timed.minimum * 1e3, way.timed.median * 1e3, first.minimum / way.timed.minimum)
        apart = "" if way.difference == 0 or math.isnan(way.difference) else f"{way.difference:.0e}"
        table.add_row(way.name, *(f"{number:.2f}" for number in numbers), apart, "")
    Console(highlight=False).print(table)
