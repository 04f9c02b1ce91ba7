"""What pages share: their templates with the same words for numbers and names, and whole files."""

import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from timelift.comparison.study import LINEAR_PROBE
from timelift.comparison.wording import percent as confidence
from timelift.report import words


def render(template: str, names: dict[str, str], **values: Any) -> str:
    """A page of the package, filled in; `names` are the variants' short ones."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": words.percent,
        "signed": words.signed,
        "interval": words.interval,
        "thousands": words.thousands,
        "duration": words.duration,
        "last_line": words.last_line,
        "confidence": confidence,
        "named": lambda text: named(text, names),
    }
    return environment.from_string(_resource(template)).render(
        css=_resource("page.css"), names=names, plural=words.plural, **values
    )


def named(text: str, names: dict[str, str]) -> str:
    """The text with every variant as code, by its short name; the full one shows where the pointer rests."""
    from markupsafe import Markup, escape

    variants = sorted((name for name in names if name != LINEAR_PROBE), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, variants))})", text)  # variants at the odd places
    code = Markup('<code title="{}">{}</code>')
    return Markup("").join(
        code.format(part, names[part]) if place % 2 else escape(words.typeset(part))
        for place, part in enumerate(parts)
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _resource(name: str) -> str:
    return resources.files("timelift.report").joinpath(name).read_text(encoding="utf-8")
