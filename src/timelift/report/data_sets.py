"""The page above studies of the same variants on several data sets, with CSV and Markdown beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timelift.comparison.data_sets import OverDataSets
from timelift.comparison.data_sets_text import (
    ESTIMATORS,
    data_sets_csv,
    data_sets_headline,
    data_sets_markdown,
    ranks_sentence,
)
from timelift.records.whole import write_text_whole
from timelift.report import facts, words
from timelift.report.drawing import NARROW, WIDE
from timelift.report.ranks import Ranked, ranks_picture
from timelift.report.template import render


@dataclass(frozen=True)
class DataSetsFiles:
    """Where the three were written."""

    html: Path
    csv: Path
    markdown: Path


def write_data_sets(
    over: OverDataSets, studies: Sequence[Path], output: Path, named: tuple[tuple[str, str], ...] = ()
) -> DataSetsFiles:
    """Write report.html, report.csv and report.md into `output`, each whole or not at all.

    studies: the folders of the data sets' studies, in their order. named: names of rows, and what they are.
    """
    output.mkdir(parents=True, exist_ok=True)
    files = DataSetsFiles(*(output / f"report.{ending}" for ending in ("html", "csv", "md")))
    write_text_whole(files.html, data_sets_page(over, studies, output, named))
    write_text_whole(files.csv, data_sets_csv(over))
    write_text_whole(files.markdown, data_sets_markdown(over))
    return files


def data_sets_page(
    over: OverDataSets, studies: Sequence[Path], output: Path, named: tuple[tuple[str, str], ...] = ()
) -> str:
    """The HTML; links in it are relative to `output`."""
    from markupsafe import Markup

    given = [name for name, _ in named]
    names = words.short_names([row.variant for row in over.rows], given)
    pictures = None
    if over.ranking is not None:
        ranked = Ranked(tuple(row.variant for row in over.rows), over.ranking)
        widths = {"wide": WIDE, "narrow": NARROW}
        pictures = {kind: Markup(ranks_picture(ranked, names, width)) for kind, width in widths.items()}
    pages = [folder / "report.html" for folder in studies]
    return render(
        "data_sets.html",
        names,
        over=over,
        named=named,
        network=words.shared_network(list(names), given),
        headline=data_sets_headline(over),
        estimators=ESTIMATORS,
        ranks_sentence=ranks_sentence(over),
        pictures=pictures,
        links=[facts.relative(page, output) if page.is_file() else "" for page in pages],
        folders=[facts.relative(folder, output) for folder in studies],
    )
