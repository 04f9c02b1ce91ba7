"""`timelift bench peers`: tables as the races end, and a page of them."""

import importlib.metadata
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from timelift.cli.common import say
from timelift.records.errors import TimeliftError

if TYPE_CHECKING:
    import torch

    from timelift.bench.rotation import Race

_PACKAGES = ("timelift", "torch", "torchvision", "onnxruntime", "openvino")


def compare_with_peers(
    chosen: list[str], repeats: int | None, device: "torch.device", compiled: bool, output: Path | None
) -> None:
    """Run the cases, print each one's table when it ends, and write the page.

    Raises:
        UsageError: for a case that there is not.
        TimeliftError: at the end, if contenders that should answer alike do not.
    """
    import torch

    from timelift.bench.peers import TURNS, Setting, default_cases, run_cases
    from timelift.bench.peers_text import LEGEND, complaints, markdown
    from timelift.records.whole import write_text_whole
    from timelift.runs.surroundings import hardware

    names, turns, threads = chosen or default_cases(device), repeats or TURNS, torch.get_num_threads()
    machine = f"{hardware(device)}; {_versions()}"
    races = []
    with TemporaryDirectory() as folder:
        for race in run_cases(names, turns, threads, Setting(Path(folder), device, compiled), say):
            _print(race)
            races.append(race)
    print(LEGEND)
    print(machine)
    if output is not None:
        write_text_whole(output, markdown(races, _command(chosen, turns, device, compiled), machine, turns))
        print(f"wrote {output}")
    wrong = [line for race in races for line in complaints(race)]
    if wrong:
        raise TimeliftError("; ".join(wrong))


def _print(race: "Race") -> None:
    from timelift.bench.peers_text import table

    headings, *rows = table(race)
    shown = Table(title=f"{race.case.name}: {race.case.title}", title_justify="left")
    for i, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if i == 0 else "right")
    for cells in rows:
        shown.add_row(*cells)
    Console(highlight=False, width=None if sys.stdout.isatty() else 170).print(shown)


def _command(chosen: list[str], turns: int, device: "torch.device", compiled: bool) -> str:
    import torch

    words = ["timelift bench peers", *(f"--case {name}" for name in chosen), f"--repeats {turns}"]
    words += [
        f"--threads {torch.get_num_threads()}",
        f"--device {device}",
        *(["--compile"] if compiled else []),
    ]
    return " ".join(words)


def _versions() -> str:
    found = [f"python {sys.version.split()[0]}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)
