"""Several data sets in words, as CSV (fractions) and as Markdown (percent)."""

import csv
import io
import math

from timelift.comparison.data_sets import Across, OverDataSets
from timelift.comparison.table_text import plain
from timelift.comparison.twoway import Interval
from timelift.comparison.wording import interval_text, p_text, percent, plural, points

COLUMNS = (
    "variant", "role", "data_sets", "iqm", "iqm_lower", "iqm_upper", "improvement", "improvement_lower",
    "improvement_upper", "level", "rank", "friedman_p", "critical_difference",
)  # fmt: skip
ESTIMATORS = (
    "Interquartile mean: the mean of the middle half of all runs on all data sets. Probability of "
    "improvement: how often a run of the variant is right more often than one of the baseline, averaged over "
    "data sets (Agarwal et al. 2021). Their intervals resample runs within each data set: they are about "
    "these data sets, trained again, and not about further ones; they need 5 runs on each, are not corrected "
    "for several variants, and draw no verdict. A verdict on each data set is in its own study."
)


def data_sets_headline(over: OverDataSets) -> str:
    """How often each variant's runs beat the baseline's."""
    waiting = f"Not finished: {plural(over.open, 'run')} still to come. " if over.open else ""
    told = [
        f"{row.variant} in {points(row.improvement.probability)} % ({_between(row.improvement.interval)})"
        for row in over.rows
        if row.improvement is not None
    ]
    return (
        f"{waiting}Over {len(over.names)} data sets, a run beats one of {over.baseline}: {'; '.join(told)}. "
        f"In brackets {percent(over.level)} intervals, on these data sets, trained again."
    )


def _between(interval: Interval) -> str:
    return interval_text(interval) if any(map(math.isfinite, interval)) else "no interval"


def ranks_sentence(over: OverDataSets) -> str:
    """What Friedman's test over data sets says; "" for fewer than 3 variants."""
    if (ranking := over.ranking) is None:
        return ""
    start = (
        f"Ranks over {ranking.blocks} data sets: Friedman's test that all variants are alike has "
        f"{p_text(ranking.p)}"
    )
    if ranking.p > over.level:
        return f"{start}, so none are told apart; it takes many data sets to tell."
    return f"{start}; average ranks {ranking.critical_difference:.2f} or more apart differ (Nemenyi)."


def data_sets_csv(over: OverDataSets) -> str:
    """One line a variant, with its mean and its number of runs on each data set."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    each = [f"{what}: {name}" for name in over.names for what in ("mean", "runs")]
    writer.writerow((*COLUMNS, *each))
    for row in over.rows:
        values = _values(over, row)
        own = [value for pair in zip(row.means, row.runs, strict=True) for value in pair]
        writer.writerow([plain(value) for value in (*(values.get(column, "") for column in COLUMNS), *own)])
    return text.getvalue()


def _values(over: OverDataSets, row: Across) -> dict[str, object]:
    values: dict[str, object] = {
        "variant": row.variant,
        "role": "baseline" if row.is_baseline else "variant",
        "data_sets": len(over.names),
        "iqm": row.iqm,
        "iqm_lower": row.interval[0],
        "iqm_upper": row.interval[1],
        "level": over.level,
        "rank": row.rank,
    }
    if (found := row.improvement) is not None:
        values |= {
            "improvement": found.probability,
            "improvement_lower": found.interval[0],
            "improvement_upper": found.interval[1],
        }
    if (ranking := over.ranking) is not None:
        values |= {"friedman_p": ranking.p, "critical_difference": ranking.critical_difference}
    return values


def data_sets_markdown(over: OverDataSets) -> str:
    """Headline, table, and what the estimators are."""
    level = percent(over.level)
    headings = (
        "variant", "interquartile mean, %", f"{level} interval", "probability of improvement, %",
        f"{level} interval", "average rank", *(f"{name}, %" for name in over.names),
    )  # fmt: skip
    lines = ["# Several data sets", "", data_sets_headline(over), "", _line(headings)]
    lines += ["|" + "---|" * len(headings), *(_line(_cells(row)) for row in over.rows), "", ESTIMATORS]
    return "\n".join([*lines, *(["", ranks_sentence(over)] if over.ranking else [])]) + "\n"


def _cells(row: Across) -> tuple[str, ...]:
    name = f"{row.variant} (baseline)" if row.is_baseline else row.variant
    found = row.improvement
    better = ("", "") if found is None else (points(found.probability), _between(found.interval))
    means = (f"{points(mean)} ({runs} runs)" for mean, runs in zip(row.means, row.runs, strict=True))
    return name, points(row.iqm), _between(row.interval), *better, f"{row.rank:.2f}", *means


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
