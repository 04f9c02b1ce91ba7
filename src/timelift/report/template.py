"""What pages share: their templates, with the same words for numbers and names."""

import re
from importlib import resources
from typing import Any

from timelift.comparison.reaching_text import median_text, time_interval_text
from timelift.comparison.study import LINEAR_PROBE
from timelift.comparison.wording import amount, duration
from timelift.comparison.wording import percent as confidence
from timelift.report import words


def render(template: str, names: dict[str, str], **values: Any) -> str:
    """A page of the package, filled in; `names` are the variants' short ones."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_resource),
    )
    environment.filters |= {
        "percent": words.percent,
        "signed": words.signed,
        "interval": words.interval,
        "thousands": words.thousands,
        "duration": duration,
        "compact": words.compact,
        "last_line": words.last_line,
        "amount": lambda time: words.typeset(amount(time)),
        "median": median_text,
        "time_interval": lambda bounds: words.typeset(time_interval_text(bounds)),
        "confidence": confidence,
        "named": lambda text: named(text, names),
    }
    return environment.get_template(template).render(
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


def _resource(name: str) -> str:
    return resources.files("timelift.report").joinpath(name).read_text(encoding="utf-8")
