"""``tgqformer compare``: every method at equal budget, trained, tuned and judged alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from tgqformer.cli.shared import (
    json_option,
    preset_option,
    print_json,
    quiet_option,
    set_option,
    show,
)

if TYPE_CHECKING:
    from rich.table import Table

    from tgqformer.comparison.plan import Plan
    from tgqformer.comparison.results import CatalogResult, Results
    from tgqformer.evaluation.robustness import Family

N = TypeVar("N", int, float)
V = TypeVar("V", int, str)


@click.command(short_help="Compare connectors at equal budget, tuning included.")
@click.argument(
    "catalog_path", metavar="[CATALOG]", required=False, type=click.Path(path_type=Path)
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Its folder.")
@preset_option
@set_option
@click.option(
    "--connectors",
    default="all",
    show_default=True,
    help='Methods by name, joined by commas; "all" is every rival. A wrong name lists them.',
)
@click.option(
    "--ablations",
    is_flag=True,
    help="TGQ-Former without each of its parts, too, and --other-metadata.",
)
@click.option(
    "--other-metadata",
    is_flag=True,
    help="Judge TGQ-Former with less metadata than it was trained with, or another item's, too.",
)
@click.option("--seeds", default="0,1,2", show_default=True, help="Joined by commas.")
@click.option(
    "--sweep",
    help="Peak learning rates of connector and head that each method is tried at with the first "
    "seed; by default 0.3, 1 and 3 times the preset's.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=CATALOG",
    help="Judge the trained models on this catalog too; may be given often.",
)
@click.option(
    "--robustness/--no-robustness",
    default=True,
    show_default=True,
    help="Judge corrupted queries too, by kind and severity.",
)
@click.option("--robustness-queries", default=300, show_default=True, type=click.IntRange(1))
@click.option(
    "--robustness-kinds",
    type=click.Choice(["unseen", "seen"]),
    help="By corruptions that training never uses, or may use; unseen where OUT has no others.",
)
@click.option("--quick", is_flag=True, help="A small form of it; draws a shop where none is named.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Runs at a time; by default one for each core or GPU."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Keep the towers' output here.")
@click.option("--device", help="cpu, cuda, ...; by default the GPU where there is one.")
@quiet_option
@json_option
def compare(
    catalog_path: Path | None,
    out: Path,
    preset: str,
    assignments: tuple[str, ...],
    connectors: str,
    ablations: bool,
    other_metadata: bool,
    seeds: str,
    sweep: str | None,
    also: tuple[str, ...],
    robustness: bool,
    robustness_queries: int,
    robustness_kinds: Family | None,
    quick: bool,
    jobs: int | None,
    cache: Path | None,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train every method on CATALOG with the same steps, batches and sweep, and judge them alike.

    Each method is trained at each rate of the sweep with the first seed; the best rate by the run's
    own validation figure is kept for the other seeds, and its runs are judged on the test queries.
    A comparison that was stopped, or killed, goes on by the same command and ends alike. Exit code
    1 tells that a run has failed; the others are still compared.
    """
    from tgqformer.comparison import run as runner
    from tgqformer.comparison.methods import find_methods
    from tgqformer.comparison.plan import PLAN, Plan, default_sweep

    if quick:
        assignments = (*runner.QUICK_STEPS, *assignments)
        connectors = _unless_given("connectors", connectors, ",".join(runner.QUICK_METHODS))
        seeds = _unless_given("seeds", seeds, "0")
        robustness_queries = _unless_given(
            "robustness_queries", robustness_queries, runner.QUICK_QUERIES
        )
    elif catalog_path is None:
        raise click.UsageError("CATALOG is missing; name a catalog's folder, or give --quick.")
    rates = _numbers("--sweep", sweep, float) if sweep else default_sweep(preset, assignments)
    if quick and not sweep:
        rates = rates[1:2]
    runs, threads = _share(jobs, device)
    names = tuple(find_methods(connectors.split(","), ablations=ablations))
    if catalog_path is None:
        from tgqformer.storefront import draw_storefront

        catalog_path = out / "shop"  # drawn once, then found again
        draw_storefront(
            catalog_path, items=runner.QUICK_ITEMS, noise="market", seed=0, progress=not quiet
        )
    if robustness_kinds is None:
        begun = (out / PLAN).is_file()
        robustness_kinds = Plan.load(out).robustness_kinds if begun else "unseen"
    plan = Plan(
        out=out,
        catalogs=_catalogs(catalog_path, also),
        preset=preset,
        assignments=assignments,
        methods=names,
        seeds=_numbers("--seeds", seeds, int),
        sweep=rates,
        conditions=ablations or other_metadata,
        robustness=robustness,
        robustness_queries=robustness_queries,
        robustness_kinds=robustness_kinds,
        jobs=runs,
        threads=threads,
        cache=cache,
        device=device,
    )
    results = runner.compare(plan, progress=not quiet)
    if as_json:
        print_json(results.to_dict())
    else:
        _print(plan, results)
    return 1 if _failures(results) else 0


def _print(plan: Plan, results: Results) -> None:
    show(rich_table(results))
    for line in _failures(results):
        click.echo(line, err=True)
    click.echo(
        f"All of it on a page: {plan.out / 'report.html'}; as data: {plan.out / 'results.json'}"
    )


def rich_table(results: Results, metric: str = "hit@10") -> Table:
    """Methods by catalogs: the figure with its interval, and how far ours is ahead."""
    from rich.table import Table
    from rich.text import Text

    from tgqformer.evaluation.compare import metric_label

    label = metric_label(metric)
    table = Table(title=f"{label} by method and catalog", title_justify="left")
    table.caption = _caption(results)
    table.add_column("method", no_wrap=True)
    table.add_column("rate", justify="right")
    for name in results.catalogs:
        table.add_column(f"{name}, {label}", justify="right")
        table.add_column("ours ahead by", justify="right")
    for name, method in results.methods.items():
        rate = method.learning_rate
        row = [method.label, "-" if rate is None else f"{rate:g}"]
        for catalog in results.catalogs:
            row += _cells(method.catalogs.get(catalog), metric)
        table.add_row(*(Text(cell) for cell in row), style="bold" if name == results.ours else None)
    return table


def _caption(results: Results) -> str:
    from tgqformer.comparison.results import MARKS
    from tgqformer.evaluation.compare import metric_label

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


def _cells(found: CatalogResult | None, metric: str) -> list[str]:
    """The figure, "61.2 [58.1, 64.4]", and our gain, "+5.3 (+9.1 %) *"."""
    from tgqformer.comparison.standing import interval
    from tgqformer.evaluation.compare import percent

    if found is None or metric not in found.metrics:
        return ["-", "-"]
    gain, ahead = found.gain.get(metric), ""
    if gain is not None:
        ahead = f"{100 * gain.absolute.value:+.1f}"
        if gain.relative is not None:
            ahead += f" ({100 * gain.relative.value:+.1f} %)"
        ahead += gain.mark
    return [percent(interval(found.metrics[metric])), ahead]


def _failures(results: Results) -> list[str]:
    """One line for each cell that failed."""
    return [
        f"failed: {cell.method}, rate {cell.learning_rate:g}, seed {cell.seed}: {cell.error}"
        for cell in results.cells
        if cell.state == "failed"
    ]


def _numbers(option: str, text: str, kind: type[N]) -> tuple[N, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(
            f"{option} is {text!r}, but must be numbers joined by commas."
        ) from None


def _catalogs(main: Path, also: Sequence[str]) -> dict[str, Path]:
    """Name to path, the one that is trained on first; it goes by its folder's name."""
    found = {re.sub(r"[^\w.-]+", "-", main.resolve().name).lstrip(".") or "catalog": main}
    for entry in also:
        name, equals, path = entry.partition("=")
        if not equals or not path or name in found:
            raise click.UsageError(
                f"--also {entry!r} must be NAME=CATALOG, with a name that no other catalog has."
            )
        found[name] = Path(path)
    return found


def _share(jobs: int | None, device: str | None) -> tuple[int, int]:
    """(processes at a time, threads of each, no more than OMP_NUM_THREADS allows)."""
    from tgqformer.cli.doctor import gpus
    from tgqformer.cores import cores, product_threads

    if jobs is None:
        on_gpu = gpus() if device is None else not device.startswith("cpu")
        jobs = 1 if on_gpu else cores()
    return jobs, max(1, min(product_threads(), cores() // jobs))


def _unless_given(name: str, value: V, other: V) -> V:
    source = click.get_current_context().get_parameter_source(name)
    return other if source is ParameterSource.DEFAULT else value
