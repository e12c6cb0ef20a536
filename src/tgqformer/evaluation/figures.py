"""How every figure and page is drawn, and the two figures of one evaluation.

A figure is inline SVG that takes its colours from the page, light or dark: matplotlib draws with
stand-in colours, which are then replaced by the CSS variables of `report.css`. Models differ in
marker and line style too, never in colour alone.
"""

from __future__ import annotations

import html
import io
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgqformer.evaluation.compare import metric_label
from tgqformer.evaluation.intervals import Interval
from tgqformer.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#010101", "#020202"
SERIES = ("#030301", "#030302", "#030303", "#030304", "#030305", "#030306")
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHES = ("--", ":", "-.")
_WIDTH = 4.4
"""Inches: small, so that the text stays legible when a phone scales the figure down."""
_PACKAGE = "tgqformer.evaluation"


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """A figure of _WIDTH by `height` inches, to be drawn on and given to `svg_text` in the body."""
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
        yield Figure(figsize=(_WIDTH, height))


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
    folder = files("tgqformer.evaluation") / "templates"
    palettes = [
        re.findall(r"--(?:ink|faint|series-\d): [^;]+;", (folder / sheet).read_text("utf-8"))
        for sheet in ("report.css", "dark.css")
    ]
    light, dark = (" ".join(palette) for palette in palettes)
    style = f"svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"
    svg = svg_text(figure, description, name)
    return svg.replace(">", f"><style>{style}</style>", 1) + "\n"


def write_page(
    path: str | os.PathLike[str], template: str, *, packages: tuple[str, ...] = (), **values: Any
) -> None:
    """Render `template` with `values`, every one of them escaped, and write it to `path`.

    Args:
        packages: more packages whose folder templates/ is searched, before this one's.

    Raises:
        StorageError: the file cannot be written.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, _PACKAGE)]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["format_count"] = "{:,}".format
    page = environment.get_template(template).render(**values)
    # A lone surrogate in a title has no UTF-8; it is shown as a question mark.
    write_text(Path(path), page.encode("utf-8", "replace").decode("utf-8"))


def curve_figure(
    curve: Sequence[Mapping[str, Any]],
    metric: str,
    levels: Mapping[str, float],
    models: Sequence[str] = (),
) -> str:
    """Training loss and, below it, `metric` on the validation sample, by step; "" without both.

    Args:
        curve: rows with "step" and any of "loss", `metric` and "visual_" + `metric`, the last two
            with or without "eval_" before them; other keys are ignored.
        levels: name -> value of `metric` (0..1) of a reference on the same sample, drawn dashed.
        models: names in the page's order of colours; a level of such a name takes its colour.
    """
    loss = _series(curve, "loss")
    hits = {
        "whole model": _series(curve, metric),
        "visual tokens alone": _series(curve, f"visual_{metric}"),
    }
    hits = {name: points for name, points in hits.items() if points}
    panels = [panel for panel, there in (("loss", loss), ("hits", hits)) if there]
    if not panels:
        return ""
    with drawing(height=2.1 * len(panels) + 0.3) as figure:
        axes = dict(zip(panels, figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]))
        if loss:
            axes["loss"].plot(*zip(*loss), color=SERIES[0], linewidth=1.6)
            axes["loss"].set_ylabel("training loss")
        if hits:
            for number, (name, points) in enumerate(hits.items()):
                steps, values = zip(*points)
                axes["hits"].plot(
                    steps,
                    [100 * v for v in values],
                    color=SERIES[-number],
                    marker=MARKERS[number],
                    markersize=4,
                    linewidth=1.6,
                    label=name,
                )
            for number, (name, level) in enumerate(levels.items()):
                style = DASHES[number % len(DASHES)]
                place = models.index(name) if name in models else number + 3
                colour = SERIES[place % len(SERIES)]
                axes["hits"].axhline(
                    100 * level, color=colour, linestyle=style, label=plain(name, 44)
                )
            axes["hits"].set_ylim(bottom=0)
            axes["hits"].set_ylabel(f"{metric_label(metric)}, validation, %")
            if len(hits) + len(levels) > 1:
                legend_above(axes["hits"])
        axes[panels[-1]].set_xlabel("step")
        text = [f"Training curve over {len(loss) or len(curve)} log entries."]
        for name, points in hits.items():
            step, best = max(points, key=lambda point: point[1])
            text.append(f"{metric_label(metric)} of the {name}: best {best:.1%} at step {step:g}.")
        text += [f"{name}: {level:.1%}." for name, level in levels.items()]
        return svg_text(figure, " ".join(text), "curve")


def _series(curve: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    keys = (key, f"eval_{key}")
    return [
        (float(row["step"]), float(row[k]))
        for row in curve
        for k in keys
        if "step" in row and isinstance(row.get(k), (int, float)) and math.isfinite(row[k])
    ]


def interval_figure(rows: Mapping[str, Mapping[str, Interval]], label: str, name: str) -> str:
    """Dots with 95 % intervals, in percent: row -> model -> interval, every model in every row.

    Args:
        label: what is shown, for those who cannot see it.
        name: tells this figure's SVG ids from those of others on the page.
    """
    models = list(next(iter(rows.values())))
    with drawing(height=0.75 + len(rows) * (0.13 + 0.15 * len(models))) as figure:
        axes = figure.subplots()
        for number, model in enumerate(models):
            colour = SERIES[number % len(SERIES)]
            offset = (number - (len(models) - 1) / 2) * min(0.22, 0.8 / len(models))
            found = {height + offset: row[model] for height, row in enumerate(rows.values())}
            for height, one in found.items():
                if one.low is not None and one.high is not None:
                    axes.hlines(
                        height, 100 * one.low, 100 * one.high, colour, linewidth=2, alpha=0.55
                    )
            axes.plot(
                [100 * one.value for one in found.values()],
                list(found),
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                linestyle="",
                label=plain(model, 44),
            )
        axes.set_yticks(range(len(rows)), [plain(row) for row in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(left=0)
        legend_above(axes)
        text = "; ".join(
            f"{row}: " + ", ".join(f"{m} {100 * i.value:.1f}" for m, i in intervals.items())
            for row, intervals in rows.items()
        )
        return svg_text(figure, f"{label}, percent. {text}.", name)
