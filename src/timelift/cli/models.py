"""`timelift models`: the named systems; with timm:PATTERN or torchvision:PATTERN, image networks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.records.errors import TimeliftError, UsageError


def command(
    pattern: Annotated[str, typer.Argument(help="*, r3d*, timm:resnet*, torchvision:*")] = "*",
    verify: Annotated[bool, typer.Option("--verify", help="Count every published figure again.")] = False,
    zoo: Annotated[bool, typer.Option("--zoo", help="Lift all of timm (or timm:PATTERN); hours.")] = False,
    workers: Annotated[int, typer.Option(help="Processes of --zoo.", min=1)] = 2,
    limit_seconds: Annotated[float, typer.Option(help="For one network of --zoo.", min=1)] = 180,
    memory_gb: Annotated[int, typer.Option(help="For one process of --zoo.", min=1)] = 9,
    results: Annotated[Path, typer.Option(help="Lines of --zoo; what is there is not done again.")] = Path(
        "studies/zoo/results.jsonl"
    ),
    page: Annotated[Path, typer.Option(help="Where --zoo writes its page.")] = Path("docs/zoo.md"),
) -> None:
    """List the named systems with paper, size and cost; image networks by pattern; or check the sizes.

    Example: timelift models "r2plus1d*" --verify
    """
    kind, colon, rest = pattern.partition(":")
    if zoo:
        from timelift.cli.zoo import ZooChoices, lift_the_zoo

        choices = ZooChoices(workers, limit_seconds, memory_gb)
        lift_the_zoo(_of_timm(pattern), results, page, choices)
    elif colon:
        print("\n".join(_image_networks(kind, rest or "*")))
    elif verify:
        _verify(pattern)
    else:
        _list(pattern)


def _of_timm(pattern: str) -> str:
    kind, colon, rest = pattern.partition(":")
    if colon and kind != "timm":
        raise UsageError(f"{pattern!r}: --zoo lifts timm's networks: give timm:PATTERN, or nothing for all")
    return rest if colon else pattern


def _list(pattern: str) -> None:
    from timelift.runs.verify import count
    from timelift.systems import SYSTEMS

    table = _table("system", "parameters", "GMAC", "clip (C, T, H, W)", "paper")
    for name in _systems(pattern):
        system = SYSTEMS[name]
        ours = count(name, {}, system.clip)
        cost = f"{ours.multiply_adds / 1e9:.2f}"
        table.add_row(name, f"{ours.parameters:,}", cost, " x ".join(map(str, system.clip)), system.paper)
    _out().print(table)
    print("with the options' defaults: timelift inspect NAME shows the layers, timelift models --verify the")
    print(
        "published figures; any image network can be lifted: timelift models 'timm:resnet*', 'torchvision:*'"
    )


def _verify(pattern: str) -> None:
    from timelift.runs.verify import VERDICTS, Figure, figures
    from timelift.systems import PUBLISHED

    names = _systems(pattern)
    found: list[Figure] = []
    table = _table("system", "options", "what", "ours", "published", "", "source, or what is open")
    for row in (row for row in PUBLISHED if row.system in names):
        for figure in figures(row):
            found.append(figure)
            why = figure.explained or figure.source
            table.add_row(
                figure.system, figure.options, figure.what, figure.ours, figure.published, figure.verdict, why
            )
    _out().print(table)
    counts = {verdict: sum(f.verdict == verdict for f in found) for verdict in VERDICTS}
    without = sorted(set(names) - {figure.system for figure in found})
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{len(names)} systems, {len(found)} figures: {said}")
    if without:
        print(f"without a published figure to hold: {', '.join(without)}")
    if counts["WRONG"]:
        raise TimeliftError(f"{counts['WRONG']} figure(s) are not the published ones")


def _systems(pattern: str) -> list[str]:
    from timelift.systems import list_models

    names = list_models(pattern)
    if not names:
        raise UsageError(
            f"nothing matches {pattern!r}: try timelift models, or timelift models 'timm:resnet*'"
        )
    return names


def _image_networks(kind: str, pattern: str) -> list[str]:
    from timelift.networks.images import list_image_networks

    names = list_image_networks(kind, pattern)
    if not names:
        raise UsageError(f"nothing matches {kind}:{pattern}: try timelift models '{kind}:*'")
    return names


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("parameters", "GMAC") else "left")
    return table


def _out() -> Console:
    import sys

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
