"""`timelift models --zoo`: the whole zoo lifted in worker processes, and its page written."""

from pathlib import Path

from timelift.cli.common import counting, say
from timelift.networks.images import list_image_networks
from timelift.records.errors import UsageError
from timelift.zoo.page import page
from timelift.zoo.run import ZooChoices, run_zoo


def lift_the_zoo(pattern: str, file: Path, page_file: Path, choices: ZooChoices) -> None:
    """Lift what the results file does not hold yet, with a bar for shapes and one for numbers.

    Raises:
        UsageError: for a pattern without a network of timm.
    """
    names = [name.removeprefix("timm:") for name in list_image_networks("timm", pattern)]
    if not names:
        raise UsageError(f"timm has no network {pattern!r}: try timelift models 'timm:resnet*' --zoo")
    for kind in ("shapes", "numbers"):
        with counting(kind, None, "networks") as show:
            results = run_zoo(kind, names, file, choices, show)
    page_file.parent.mkdir(parents=True, exist_ok=True)
    page_file.write_text(page(results), encoding="utf-8")
    say(f"one line of JSON for each: {file}; the page: {page_file}")
