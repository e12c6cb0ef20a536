"""The files of docs/results/: comparisons reduced to what docs/results.md needs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tgqformer.comparison.results import VARIANTS, CatalogResult, Results
from tgqformer.comparison.standing import COMPARED, names
from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import write_text

METRIC = "hit@10"
KEPT = ("hit@1", METRIC, "hit@100", "mrr", "map@r")
SEVERITIES = (0.5, 1.0)
FOLDERS = {"--out": "runs/", "--preset": "recipes/", "--cache": "", "--set": ""}
"""Where a page says that an option's path is, in place of this machine's."""


@dataclass(frozen=True)
class Comparison:
    """One file of docs/results/.

    Attributes:
        name: of the file. about: what its data are, in a sentence without figures.
        origin: "version", "commit", "machine", "hours", "unfinished" (runs).
        series: heading of the section that it shares with others of that series; "" for its own.
        aside: the first screen leaves it out.
    """

    name: str
    results: Results
    origin: dict[str, Any]
    about: str = ""
    series: str = ""
    aside: bool = False

    @property
    def of_rivals(self) -> bool:
        """Whether other methods than ours and its variants are in it."""
        return len(names(self.results)) > 1

    @property
    def shown(self) -> list[str]:
        """The methods of its figure and table."""
        return names(self.results, COMPARED if self.of_rivals else (*COMPARED, *VARIANTS))


def read(folder: Path) -> list[Comparison]:
    """All comparisons, those with rivals first; StorageError where one cannot be read."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            results = Results.from_dict(data["results"])
            more = data.get("series", ""), data.get("aside", False)
            found.append(Comparison(path.stem, results, data["origin"], data["about"], *more))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} is no comparison of this version ({type(error).__name__}: {error}); add "
                "it again, or remove it."
            ) from error
    return sorted(found, key=lambda each: not each.of_rivals)


def add(
    path: Path,
    name: str,
    folder: Path,
    told: dict[str, str],
    *,
    about: str = "",
    series: str = "",
    aside: bool = False,
) -> None:
    """Reduce a comparison's results.json into `folder`.

    Args:
        told: "version", "commit", "machine" where the runs themselves do not say.
        about, series, aside: see `Comparison`.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ConfigError(f"name '{name}' must be made of a to z, digits and '-'.")
    results = Results.load(path)
    chosen = [cell for cell in results.cells if cell.chosen and cell.state == "done"]
    origin: dict[str, Any] = {}
    for key, value in told.items():
        known = {cell.origin[key] for cell in chosen if cell.origin.get(key)}
        origin[key] = ", ".join(sorted(known)) or value
    origin["hours"] = sum(cell.seconds for cell in results.cells) / 3600
    origin["unfinished"] = sum(cell.state != "done" for cell in results.cells)
    place = ({"series": series} if series else {}) | ({"aside": True} if aside else {})
    data = {"about": about, **place, "origin": origin, "results": reduced(results).to_dict()}
    text = json.dumps(_rounded(data), indent=1, ensure_ascii=False, allow_nan=False)
    text = re.sub(r"\{[^][{}]*\}|\[[^][{}]*\]", lambda part: " ".join(part[0].split()), text)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", text + "\n")


def reduced(results: Results) -> Results:
    """What the page needs, without this machine's paths."""
    methods = {}
    for name, method in results.methods.items():
        catalogs = {
            catalog: CatalogResult(_kept(found.metrics), {}, _kept(found.gain))
            for catalog, found in method.catalogs.items()
        }
        points = tuple(
            replace(point, metrics=_kept(point.metrics, (METRIC,)), gain={})
            for point in method.robustness
            if point.severity in SEVERITIES
        )
        gates = method.gates if name == results.ours else ()
        methods[name] = replace(method, catalogs=catalogs, robustness=points, gates=gates)
    return replace(
        results,
        command=portable(results.command),
        overrides=tuple(_bare(word) for word in results.overrides),
        methods=methods,
        cells=(),
    )


def portable(command: str) -> str:
    """The command with absolute paths made short: catalogs in shops/, the rest in runs/."""
    words, before = [], ""
    for word in shlex.split(command):
        folder = FOLDERS.get(before, "shops/")
        words.append(_bare(word, folder))
        before = word
    return shlex.join(words)


def folded(command: str, width: int) -> str:
    """A command over several lines, none far beyond `width` where commas let it be cut."""
    lines: list[str] = []
    for words in re.split(r" (?=--)", command):
        if lines and len(lines[-1]) + len(words) < width:
            lines[-1] += f" {words}"
        else:
            lines.append(words)
    cut = []
    for line in lines:
        while len(line) > width and (comma := line.rfind(",", 0, width)) > 0:
            cut.append(f"{line[: comma + 1]}\\\n")
            line = line[comma + 1 :]
        cut.append(f"{line} \\\n    ")
    return "".join(cut).removesuffix(" \\\n    ")


def _bare(word: str, folder: str = "") -> str:
    key, equals, path = word.rpartition("=")
    return f"{key}{equals}{folder}{Path(path).name}" if path.startswith("/") else word


def _kept(figures: dict[str, Any], which: Sequence[str] = KEPT) -> dict[str, Any]:
    return {name: figures[name] for name in which if name in figures}


def _rounded(data: Any) -> Any:
    if isinstance(data, float):
        return round(data, 5)
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    return [_rounded(each) for each in data] if isinstance(data, list | tuple) else data
