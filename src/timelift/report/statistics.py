"""What a page shows beyond the verdicts: other estimates, ranks, and times to an accuracy."""

from timelift.comparison.beside import beside
from timelift.comparison.reaching_text import NOTE, what_it_is
from timelift.comparison.table import StudyTable
from timelift.report.drawing import NARROW, WIDE
from timelift.report.ranks import ranked_runs, ranks_picture


def statistics(table: StudyTable, names: dict[str, str]) -> dict[str, object]:
    """The values of page.html by name; ranks are None where they are not shown."""
    from markupsafe import Markup

    ranked, widths = ranked_runs(table), {"wide": WIDE, "narrow": NARROW}
    return {
        "beside": {row.variant: beside(row.difference) for row in table.rows if row.difference is not None},
        "ranks": ranked,
        "ranks_picture": None
        if ranked is None
        else {kind: Markup(ranks_picture(ranked, names, width)) for kind, width in widths.items()},
        "what_it_is": "" if table.times is None else what_it_is(table.times),
        "times_note": NOTE,
    }
