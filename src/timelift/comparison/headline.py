"""What a study shows in a few sentences, and what a reader must know beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from timelift.comparison.looks import describe_look
from timelift.comparison.study import LINEAR_PROBE
from timelift.comparison.wording import plural, points
from timelift.records.run import Run

if TYPE_CHECKING:
    from timelift.comparison.table import Row, StudyTable


def headline_of(table: StudyTable) -> str:
    """The verdict of the whole study: what is better, or what cannot be concluded; and the probe to beat."""
    judged = [row for row in table.rows if row.difference is not None and not row.is_probe]
    if table.open:
        done = sum(row.runs for row in table.rows)
        total = done + table.open + len(table.failed)
        return (
            f"Not finished: {done} of {total} runs are there. No verdict is drawn before all have ended; "
            "the numbers so far are interim."
        )
    if not judged and all(row.is_probe or row.variant == table.baseline for row in table.rows):
        return " ".join((f"{table.baseline} stands alone: there is no other variant.", *_probe(table)))
    if not judged:
        return f"Nothing can be compared with {table.baseline}: no other variant has a run of the same seed."
    running = [row for row in judged if row.verdict != "stopped early"]
    if not running:
        names = ", ".join(row.variant for row in judged)
        return f"All variants but {table.baseline} were stopped early: {names}."
    better = [row for row in judged if row.verdict == "better"]
    lead = max(better or running, key=lambda row: row.mean)
    start = "" if better else f"No variant is shown to be better than {table.baseline}. "
    rest = [row for row in judged if row is not lead]
    return " ".join((start + lead.sentence, *_others(rest), *_probe(table))).strip()


def _others(rows: Sequence[Row]) -> list[str]:
    """ "Also better: X. Undecided: Y, Z.", of the rows that the headline does not quote."""
    words = {
        "better": "Also better",
        "worse": "Worse",
        "equivalent": "Equivalent",
        "inconclusive": "Undecided",
        "too few runs": "Too few runs",
        "stopped early": "Stopped early",
    }
    found = {verdict: [row.variant for row in rows if row.verdict == verdict] for verdict in words}
    return [f"{words[verdict]}: {', '.join(names)}." for verdict, names in found.items() if names]


def _probe(table: StudyTable) -> list[str]:
    probe = next((row for row in table.rows if row.is_probe and row.runs), None)
    if probe is None:
        return []
    highest = max((row for row in table.rows if not row.is_probe and row.runs), key=lambda row: row.mean)
    reached = f"The linear probe on frozen image features reaches {points(probe.mean)} %"
    if highest.mean < probe.mean:
        return [f"{reached}; no variant does better on average, the highest has {points(highest.mean)} %."]
    return [f"{reached}, the highest variant {points(highest.mean)} %."]


def table_notes(table: StudyTable, runs: Sequence[Run]) -> tuple[str, ...]:
    """Training videos, family, look, missing runs, and the notes of differences and runs; each once."""
    notes = [_training_videos(runs), _family(table), _look(table), _failed(table), stopped_note(table)]
    for row in table.rows:
        notes += row.difference.notes if row.difference is not None else ()
    for run in runs:
        notes += [f"{run.variant}: {note}" for note in run.notes]
    return tuple(dict.fromkeys(note for note in notes if note))


def _training_videos(runs: Sequence[Run]) -> str:
    trained = [run for run in runs if run.variant != LINEAR_PROBE]
    seeds, sets = {run.seed for run in trained}, {run.train_digest for run in trained}
    if len(seeds) < 2:
        return ""
    if len(sets) == 1:
        return (
            "All runs trained on the same videos: the intervals say what other seeds would give, "
            "not what other training videos would."
        )
    return (
        "The training videos varied between runs (run i of every variant had the same): "
        "the intervals include the choice of training videos."
    )


def _family(table: StudyTable) -> str:
    judged = [row for row in table.rows if row.difference is not None and not row.is_probe]
    if len(judged) < 2:
        return ""
    return (
        f"{len(judged)} comparisons with {table.baseline} are judged together (Holm): the chance of any "
        f"false verdict among them is at most {100 * table.look.nominal:.2g} %, "
        "and their intervals are widened to match."
    )


def _look(table: StudyTable) -> str:
    return "" if table.open else describe_look(table.look)


def stopped_note(table: StudyTable) -> str:
    """What early stop means for the table; "" where nothing was stopped."""
    stopped = [row for row in table.rows if row.verdict == "stopped early"]
    if not stopped:
        return ""
    return (
        f"{plural(len(stopped), 'variant')} stopped early, by a rule on validation videos that was stated "
        "before the first run: means of these are over fewer seeds than the others', their intervals are for "
        "orientation, and they have no verdict. They stay in the family of comparisons."
    )


def _failed(table: StudyTable) -> str:
    if not table.failed:
        return ""
    return (
        f"{plural(len(table.failed), 'run')} failed; a comparison rests on the seeds "
        "that both of its variants finished."
    )
