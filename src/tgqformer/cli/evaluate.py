"""``tgqformer evaluate``: a run beside its two reference points, over the full pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tgqformer.cli.shared import json_option, print_json, quiet_option, show, table, with_log

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.compare import Comparison
    from tgqformer.evaluation.evaluate import Precomputed
    from tgqformer.evaluation.metrics import Scorer
    from tgqformer.evaluation.result import Evaluation
    from tgqformer.retrieval.scores import Rows

_TEXT_ONLY = "text only (frozen)"
_CONCATENATION = "photo + text (frozen)"
_FOLDERS = {
    _TEXT_ONLY: "text-only",
    _CONCATENATION: "frozen",
    "popularity": "popularity",
    "item-to-item cosine": "item-cosine",
    "EASE": "ease",
}
"""Where `evaluate --out` keeps the figures of each."""
_UNASKED_EASE = 5_000  # items: more take minutes, and are only inverted where they are asked for


@click.command(short_help="Evaluate a run over the full pool beside two references.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"])
)
@click.option(
    "-k",
    "ks",
    multiple=True,
    default=(1, 10, 50, 100),
    show_default=True,
    type=click.IntRange(1),
    help="The K of H@K; give it once for each.",
)
@click.option("--reference/--no-reference", default=True, help="Show the reference points.")
@click.option(
    "--collaborative/--no-collaborative",
    default=None,
    help="Show popularity, item-to-item cosine and EASE too; by default where the split asks for "
    "items of the training pairs, or a log is given.",
)
@with_log
@click.option(
    "--known",
    default="mask",
    show_default=True,
    type=click.Choice(["mask", "count"]),
    help="A query's partners in the earlier splits: leave them out of its pool, or count them as "
    "wrong.",
)
@click.option(
    "--other-group",
    is_flag=True,
    help="Finds are other products: a query's variants are left out of its pool and its pairs.",
)
@click.option("--bootstrap", default=1000, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the figures and a row for each query into this folder, one below it for each "
    "model.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Keep the towers' output here; by default in the run's folder, where it has a cache.",
)
@quiet_option
@json_option
def evaluate(
    run: Path,
    catalog_path: Path,
    split: str,
    ks: tuple[int, ...],
    reference: bool,
    collaborative: bool | None,
    log_path: Path | None,
    log_user: str,
    log_item: str,
    log_time: str,
    known: Literal["mask", "count"],
    other_group: bool,
    bootstrap: int,
    seed: int,
    out: Path | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Rank the full pool of CATALOG for every query of a split, with RUN's model.

    Beside it stand two reference points: the frozen text tower alone, and the frozen towers'
    vectors side by side; an end-to-end MLLM has none. Where queries are warm, so do the
    collaborative references: popularity, item-to-item cosine and EASE, learned from the training
    pairs or a log, and the figures come apart by how often a query was seen. Intervals are 95 %
    bootstrap intervals over the queries.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.cli.shared import load_embedder, model_folder, run_cache
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.compare import compare
    from tgqformer.evaluation.evaluate import evaluate as judge

    model_folder(run)  # a run without a model is told before a large catalog is read
    catalog = Catalog.load(catalog_path)
    catalog.require_pairs(split)
    if other_group:
        catalog.require_groups()
    embedder = load_embedder(run, cache or run_cache(run))
    models: list[Any] = [embedder]
    if isinstance(embedder, ItemEmbedder):
        embedder.features.fill(catalog.items, progress=not quiet)
        models += reference_points(embedder, catalog) if reference else []
    seen = None
    if collaborative is not False:
        points, seen = collaborative_points(
            catalog,
            split,
            log_path,
            user=log_user,
            item=log_item,
            time=log_time,
            wanted=collaborative,
        )
        models += points
    names = [run.resolve().name, *(model.name for model in models[1:])]
    evaluations = [
        judge(
            model,
            catalog,
            split=split,
            name=name,
            known=known,
            other_group=other_group,
            seen=seen,
            ks=ks,
            bootstrap=bootstrap,
            seed=seed,
            progress=not quiet,
        )
        for name, model in zip(names, models)
    ]
    if out is not None:
        _save(evaluations, out)
    comparison = compare(evaluations, seed=seed)
    if as_json:
        told = [evaluation.to_dict() for evaluation in evaluations]
        print_json({"comparison": comparison.to_dict(), "evaluations": told})
        return
    show(comparison.rich_table(f"{run.name} on {catalog_path.name}, {split}"))
    if len(models) > 1:
        click.echo(gain_line(comparison))
    _print_breakdown(evaluations)


def gain_line(comparison: Comparison) -> str:
    """One line: how far the model is ahead of the better of its reference points."""
    from tgqformer.evaluation.compare import metric_label, points

    others = comparison.names[1:]
    metric = "hit@10" if "hit@10" in comparison.metrics else comparison.metrics[0]
    best = max(others, key=lambda name: comparison.values[name][metric].value)
    gap = points(comparison.differences[best][metric])
    return f"Gain over {best}, the better reference point: {metric_label(metric)} {gap}"


def reference_points(embedder: ItemEmbedder, catalog: Catalog) -> list[Precomputed]:
    """Return what the frozen towers of `embedder` say: the text's alone, and photo beside text."""
    from tgqformer.evaluation.evaluate import Precomputed, concat_normalised, frozen_parts

    ids = [item.item_id for item in catalog.items]
    parts = frozen_parts(embedder.features, catalog.items)
    text = concat_normalised([parts["text"]])
    both = concat_normalised([parts["image"], parts["text"]])
    return [Precomputed(_TEXT_ONLY, ids, text), Precomputed(_CONCATENATION, ids, both)]


def collaborative_points(
    catalog: Catalog,
    split: str,
    log_path: Path | None,
    *,
    user: str,
    item: str,
    time: str,
    wanted: bool | None,
) -> tuple[list[Scorer], Rows | None]:
    """Return popularity, item-to-item cosine and EASE, and how often each item was seen.

    Args:
        wanted: None takes them where the split has warm queries, and tells on stderr if EASE is
            left out for its size.

    Raises:
        CatalogError: there is nothing to learn from.
        ConfigError: EASE is asked for, and too many items were seen.
    """
    import numpy as np

    from tgqformer.cli.shared import engagement_line, engagement_of
    from tgqformer.errors import ConfigError
    from tgqformer.evaluation.collaborative import REFERENCES
    from tgqformer.evaluation.evaluate import training_partners

    if split == "train":
        if wanted or log_path is not None:
            raise ConfigError(
                "split is 'train', but the collaborative references have learned its pairs; ask "
                "for val or test."
            )
        return [], None
    if wanted is None and log_path is None:
        queries = np.unique(catalog.pair_indices(split)[0])
        if not training_partners(catalog)[queries].any():
            return [], None
    engagement = engagement_of(catalog, log_path, user=user, item=item, time=time)
    click.echo(engagement_line(engagement, catalog, split), err=True)
    names, items = list(REFERENCES), int((engagement.counts > 0).sum())
    if wanted is None and items > _UNASKED_EASE:
        names.remove("ease")
        click.echo(f"EASE of {items:,} items is left out; --collaborative asks for it", err=True)
    return [REFERENCES[name](engagement) for name in names], engagement.seen


def _save(evaluations: Sequence[Evaluation], out: Path) -> list[Path]:
    """Write each evaluation into a folder of its own below `out`, the model's first."""
    names = ["model", *(_FOLDERS[evaluation.name] for evaluation in evaluations[1:])]
    folders = [out / name for name in names]
    for evaluation, folder in zip(evaluations, folders):
        evaluation.save(folder)
    return folders


def _print_breakdown(evaluations: Sequence[Evaluation]) -> None:
    """Print H@10, or the middle K's, of every model by noise, faults, what is missing, history."""
    first = evaluations[0]
    metric = f"hit@{10 if 10 in first.ks else first.ks[len(first.ks) // 2]}"
    for dimension in ("noise", "faults", "missing", "history", "interactions"):
        groups = first.breakdown.get(dimension, {})
        if len(groups) < 2:
            continue
        rows = [
            [value, group.queries]
            + [
                f"{100 * other.breakdown[dimension][value].metrics[metric].value:.1f}"
                for other in evaluations
            ]
            for value, group in groups.items()
        ]
        columns = [dimension, "queries", *(evaluation.name for evaluation in evaluations)]
        table(f"{metric} in percent by {dimension}", columns, rows)
