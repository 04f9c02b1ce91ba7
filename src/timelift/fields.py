"""How a frozen dataclass of choices writes itself: what is typed, stored, printed and parsed back."""

import dataclasses
from typing import Any


def typed(choices: Any) -> str:
    """`Inflate(frames=3, start='negative')`: the first field, and every other that is not at its default."""
    fields = dataclasses.fields(choices)
    said = [
        f"{field.name}={getattr(choices, field.name)!r}"
        for i, field in enumerate(fields)
        if i == 0 or getattr(choices, field.name) != field.default
    ]
    return f"{type(choices).__name__}({', '.join(said)})"
