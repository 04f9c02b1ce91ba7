"""What every report says beside its table: what rows are called, what was done to the data."""

from collections.abc import Sequence

from timelift.comparison.study import Study
from timelift.records.video import LEAKS_ALLOWED

MOST = 50  # lines of a report


def shown_notes(notes: Sequence[str]) -> list[str]:
    """The notes of a report; of very many the first, and how many more there are."""
    if len(notes) <= MOST:
        return list(notes)
    return [*notes[:MOST], f"and {len(notes) - MOST} more; data.csv has the status of every video"]


def leaks_of(notes: Sequence[str]) -> str:
    """The note that leaks between the splits were allowed; empty if there are none."""
    return next((note for note in notes if note.startswith(LEAKS_ALLOWED)), "")


def notes_markdown(notes: Sequence[str]) -> str:
    """A section for the end of a Markdown report; empty without notes."""
    if not notes:
        return ""
    lines = "\n".join(f"- {note}" for note in shown_notes(notes))
    return f"\nThe data:\n\n{lines}\n"


def names_markdown(study: Study) -> str:
    """What the names of a study's rows stand for; empty if they have none."""
    if not study.names:
        return ""
    return "\n" + "\n".join(f"- {name}: `{text}`" for name, text in study.names) + "\n"
