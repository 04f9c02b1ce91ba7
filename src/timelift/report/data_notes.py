"""What was done to the data before the first run, as every report says it."""

from collections.abc import Sequence

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
