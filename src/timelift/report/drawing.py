"""Pictures as inline SVG: text stays text, and every colour is a variable of the page's style sheet.

Drawn with matplotlib in marker colours that no picture would use, each then replaced by `var(--name)`: the
same picture is right in light and in dark.
"""

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE, BAND, ACCENT, GOOD, BAD = (f"#0d0e0{i}" for i in range(7))
VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", BAND: "--band",
    ACCENT: "--accent", GOOD: "--good", BAD: "--bad",
}  # fmt: skip
LINES = [f"#0d1e0{i}" for i in range(5)]  # one a variant; then again, dashed
VARIABLES |= {colour: f"--line-{i}" for i, colour in enumerate(LINES)}
DASHES = ("-", "--", ":")
COLOURS = {"better": GOOD, "worse": BAD, "equivalent": ACCENT}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "timelift",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDE, NARROW = 7.6, 3.7  # inches; a page shows the one that fits


def draw(paint: Callable[["Figure"], None], inches: tuple[float, float], key: str, alt: str) -> str:
    """The picture that `paint` makes of a figure of so many inches; key: for ids, one a picture of a page.

    alt: what it shows, for who cannot see it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches)
        paint(figure)
        figure.savefig(text, format="svg", transparent=True)
    return _inlined(text.getvalue(), key, alt)


def _inlined(svg: str, key: str, alt: str) -> str:
    """The <svg> element alone, with ids of its own, colours as variables, and its text for who cannot see."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", body)  # a hundredth of a point
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{key}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, name in VARIABLES.items():
        body = body.replace(colour, f"var({name})")
    box = re.search(r'viewBox="[^"]+"', body)
    assert box is not None  # matplotlib always writes one
    told = html.escape(alt, quote=True)
    opening = f'<svg {box[0]} role="img" aria-label="{told}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(r"^<svg[^>]*>", lambda _: opening, body)
