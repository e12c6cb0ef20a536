"""How every figure is drawn: inline SVG that takes its colours from the page, light or dark.

matplotlib draws with stand-in colours, which are then replaced by the CSS variables of
`report.css`; models differ in marker and line style too, never in colour alone.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#010101", "#020202"
SERIES = ("#030301", "#030302", "#030303", "#030304", "#030305", "#030306")
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHES = ("--", ":", "-.")
WIDTH = 4.4
"""Inches: small, so that the text stays legible when a phone scales the figure down."""


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """A figure of WIDTH by `height` inches, to be drawn on and given to `svg_text` in the body."""
    import matplotlib
    from matplotlib.figure import Figure

    colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor"), INK)
    colours |= {"ytick.labelcolor": INK, "legend.labelcolor": INK}
    colours |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), FAINT)
    style: dict[Any, Any] = {
        **colours,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "svg.fonttype": "none",
        # The page's text is HTML, so a dollar sign in a name is no formula.
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        yield Figure(figsize=(WIDTH, height))


def legend_above(axes: Any, columns: int | None = None) -> None:
    """A legend over the panel, in two columns unless its names are long or `columns` is given."""
    _, labels = axes.get_legend_handles_labels()
    if columns is None:
        columns = 2 if max(map(len, labels)) <= 28 else 1
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.1,
        fontsize=8,
        **({"columnspacing": 1.0, "handletextpad": 0.1} if columns > 2 else {}),
    )


def plain(text: str, longest: int = 22) -> str:
    """One line of at most `longest` letters that matplotlib takes as it is."""
    # matplotlib leaves names that begin with an underscore out of legends, and breaks at newlines.
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split()).lstrip("_") or "–"
    return line if len(line) <= longest else line[: longest - 1] + "…"


def svg_text(figure: Figure, description: str, name: str) -> str:
    """The figure as an inline <svg>.

    Args:
        description: what it shows, for those who cannot see it.
        name: tells its ids from those of other figures on the page.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several figures share a page, and with it the names of their parts.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    for number, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{number})")
    label = html.escape(description, quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def svg_file(figure: Figure, description: str, name: str) -> str:
    """The figure as a file of its own: `svg_text` with the palettes, light and dark."""
    folder = files("tgqformer.evaluation.report") / "templates"
    palettes = [
        re.findall(r"--(?:ink|faint|series-\d): [^;]+;", (folder / sheet).read_text("utf-8"))
        for sheet in ("report.css", "dark.css")
    ]
    light, dark = (" ".join(palette) for palette in palettes)
    style = f"svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"
    svg = svg_text(figure, description, name)
    return svg.replace(">", f"><style>{style}</style>", 1) + "\n"
