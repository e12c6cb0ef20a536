"""A comparison on a terminal: how far it is, and the table at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tgqformer.comparison.plan import Cell, Plan
from tgqformer.comparison.results import MARKS, CatalogResult, Gain, MethodResult, Results
from tgqformer.comparison.state import cells, error, is_judged, steps, steps_done, validation
from tgqformer.evaluation.compare import metric_label, percent
from tgqformer.evaluation.intervals import Interval

if TYPE_CHECKING:
    from rich.table import Table

EVERY = 2.0  # seconds between two looks at the folder


class Progress:
    """Steps of all cells together: a bar on a terminal, a line for each cell elsewhere."""

    def __init__(self, plan: Plan, *, show: bool) -> None:
        from rich.console import Console

        self.plan, self.show = plan, show
        self.console = Console(stderr=True)
        self.bar: Any = None
        self.at_work: list[Cell] = []
        self.looked = 0.0

    def __enter__(self) -> Progress:
        if self.show and self.console.is_terminal:
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self.task = self.bar.add_task("", total=self._total(), completed=self._done())
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, what: str, cell: Cell | None) -> None:
        """Take a report of `schedule.run_cells`."""
        if cell is not None:
            self._follow(what, cell)
        now = time.monotonic()
        if self.bar is not None and (cell is not None or now - self.looked > EVERY):
            self.looked = now
            text = " · ".join(str(each) for each in self.at_work)
            self.bar.update(
                self.task, completed=self._done(), total=self._total(), description=text
            )

    def _follow(self, what: str, cell: Cell) -> None:
        if what == "start":
            self.at_work.append(cell)
            return
        self.at_work.remove(cell)
        if what == "failed":
            self._say(f"failed: {cell}: {error(self.plan, cell)}")
            return
        if not self.show:
            return
        figure, metric = validation(self.plan, cell), metric_label(self.plan.base.training.metric)
        told = "" if figure < 0 else f": {metric} {100 * figure:.1f} % on validation pairs"
        judged = ", judged" if is_judged(self.plan, cell) else ""
        self._say(f"done: {cell}{told}{judged}; again by: {self.plan.command(cell)}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _trained(self) -> list[Cell]:
        methods = [name for name, method in self.plan.chosen.items() if not method.untrained]
        return [cell for name in methods for cell in cells(self.plan, name)]

    def _total(self) -> int:
        runs = len(self.plan.sweep) + len(self.plan.seeds) - 1
        methods = sum(not method.untrained for method in self.plan.chosen.values())
        return methods * runs * steps(self.plan)

    def _done(self) -> int:
        return sum(steps_done(self.plan, cell) for cell in self._trained())


def rich_table(results: Results, metric: str = "hit@10") -> Table:
    """Methods by catalogs: the figure with its interval, and how far ours is ahead."""
    from rich.table import Table
    from rich.text import Text

    label = metric_label(metric)
    table = Table(title=f"{label} by method and catalog", title_justify="left")
    table.caption = _caption(results)
    table.add_column("method", no_wrap=True)
    table.add_column("rate", justify="right")
    for name in results.catalogs:
        table.add_column(f"{name}, {label}", justify="right")
        table.add_column("ours ahead by", justify="right")
    for name, method in results.methods.items():
        row = [method.label, _rate(method)]
        for catalog in results.catalogs:
            row += _cells(method.catalogs.get(catalog), metric)
        table.add_row(*(Text(cell) for cell in row), style="bold" if name == results.ours else None)
    return table


def _caption(results: Results) -> str:
    rates = ", ".join(f"{rate:g}" for rate in results.sweep)
    facts = [
        f"{len(results.seeds)} seed{'s' if len(results.seeds) > 1 else ''}",
        f"{results.steps:,} steps",
        f"each method tried at rate {rates} of connector and head, chosen by validation "
        f"{metric_label(results.metric)} of the first seed",
        f"percent, 95 % intervals over {'seeds and ' if len(results.seeds) > 1 else ''}queries",
        f"relative gain of ours in brackets; {MARKS}",
    ]
    pending = sum(cell.state != "done" for cell in results.cells)
    return "; ".join(facts) + (f"; {pending} cells are not done" if pending else "")


def _rate(method: MethodResult) -> str:
    return "-" if method.learning_rate is None else f"{method.learning_rate:g}"


def _cells(found: CatalogResult | None, metric: str) -> Sequence[str]:
    if found is None or metric not in found.metrics:
        return ["-", "-"]
    figure = found.metrics[metric]
    return [percent(Interval(figure.value, figure.low, figure.high)), gain(found.gain.get(metric))]


def gain(told: Gain | None) -> str:
    """ "+5.3 (+9.1 %) *": points, the relative gain, and a mark; "" where there is none."""
    if told is None:
        return ""
    text = f"{100 * told.absolute.value:+.1f}"
    if told.relative is not None:
        text += f" ({100 * told.relative.value:+.1f} %)"
    return text + told.mark


def failures(results: Results) -> list[str]:
    """One line for each cell that failed."""
    return [
        f"failed: {cell.method}, rate {cell.learning_rate:g}, seed {cell.seed}: {cell.error}"
        for cell in results.cells
        if cell.state == "failed"
    ]
