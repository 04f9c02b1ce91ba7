"""What `timelift compare --dry-run` shows: the runs of a study, and how long they will take."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from timelift.comparison.wording import duration

if TYPE_CHECKING:
    from timelift.runs.forecast import Expected, Forecast


def print_forecast(found: "Forecast") -> None:
    """A row for each variant, condition and choice, then the whole in hours."""
    if not found.runs:
        print("nothing is left to run")
        return
    shown = Table(title="to be run", title_justify="left")
    for heading in ("condition", "variant", "runs", "steps a run", "ms a step", "a run", "all"):
        shown.add_column(
            heading, justify="left" if heading in ("condition", "variant") else "right", overflow="fold"
        )
    for one, after in zip(found.expected, (*found.expected[1:], None), strict=True):
        shown.add_row(*_cells(one), end_section=after is None or after.condition != one.condition)
    Console(highlight=False, width=None if sys.stdout.isatty() else 150).print(shown)
    if found.videos:
        print(f"{found.videos:,} videos are to be decoded first, once: about {duration(found.decoding)}")
    print(
        f"{found.runs:,} runs, {duration(found.work)} of work: about {duration(found.seconds)} "
        f"({found.seconds / 3600:.2g} hours) in {found.workers} process(es), timed on this machine just now"
    )


def _cells(one: "Expected") -> tuple[str, ...]:
    tries = f"  (tries {one.tries} choices)" if one.tries else ""
    return (
        one.condition,
        f"{one.variant}{tries}",
        str(one.runs),
        f"{one.steps:,.0f}",
        f"{1e3 * one.step_seconds:.3g}",
        duration(one.run_seconds),
        duration(one.seconds),
    )
