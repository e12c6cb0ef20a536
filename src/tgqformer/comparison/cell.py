"""One cell: a training run and, where its rate is the method's, all its test figures.

A model may read other metadata than an item's own, by its connector alone or by its backbone too:
where a connector that is guided by wrong or poorer metadata finds as much as before, the guidance
does not guide.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Embedder, Item, Vectors
from tgqformer.comparison.methods import SHUFFLED, Metadata
from tgqformer.comparison.plan import (
    CELL,
    GATES,
    ROBUSTNESS,
    RUN,
    VECTORS,
    Cell,
    Job,
    Plan,
    missing,
    origin,
    read_cell,
)
from tgqformer.comparison.prepare import BaseEmbedder, corrupted_queries, load_features, query_items
from tgqformer.comparison.results import GateFigure, GateResult
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.evaluation.collaborative import REFERENCES, Engagement
from tgqformer.evaluation.evaluate import FrozenEmbedder, evaluate
from tgqformer.evaluation.robustness import draw_queries
from tgqformer.files import atomic_path, write_text
from tgqformer.training.noise import metadata_faults
from tgqformer.training.run import train

_TOLD = ("hit@10", "hit@1", "hit@50", "mrr", "visual_hit@10")
"""Validation figures that curves are made of, beside the one that the run is chosen by."""
_BATCH, _SEED = 64, 9
_WEIGHT = "weight of "
_Values = npt.NDArray[np.float64]


def run_cell(plan: Plan, cell: Cell, *, judge: bool) -> None:
    """Train, and judge on what is missing; cell.json comes last.

    Raises:
        TGQFormerError: any of training or evaluation; what is done stays.
    """
    folder = plan.path(cell)
    catalog = Catalog.load(plan.catalogs[plan.main])
    embedder, facts = _embedder(plan, cell, catalog)
    started = time.monotonic()
    wanted = missing(plan, Job(cell, judge))
    for part in wanted:
        _make(plan, cell, catalog, embedder, part)
    before = read_cell(plan, cell).get("judged_seconds", 0.0)
    judged = round(before + time.monotonic() - started, 1)
    facts["origin"] = read_cell(plan, cell).get("origin") or origin()
    facts |= {"judged_seconds": judged, "seconds": round(facts.get("seconds", 0.0) + judged, 1)}
    write_text(folder / CELL, json.dumps(facts, indent=1))


def _embedder(plan: Plan, cell: Cell, catalog: Catalog) -> tuple[Any, dict[str, Any]]:
    """The trained embedder, or the frozen towers, and what is known of the run."""
    method = plan.chosen[cell.method]
    if method.collaborative is not None:
        return None, {}  # learned from the pairs of each catalog that it is judged on
    if method.fitted:
        config = plan.config(cell)
        embedder = ItemEmbedder.from_config(
            config.embedder, cache_dir=plan.cache_dir, device=plan.device
        )
        return BaseEmbedder(method.label, embedder, catalog, seed=config.training.seed), {}
    if method.frozen:
        return FrozenEmbedder(method.label, load_features(plan), method.frozen), {}
    run, config = plan.path(cell) / RUN, plan.config(cell)
    result = train(
        catalog,
        config,
        run,
        resume=True,
        cache_dir=plan.cache_dir,
        device=plan.device,
        build=_builder(method.metadata, catalog.items),
    )
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    facts = {
        "seconds": result.summary["seconds"],
        "alignment_steps": result.summary["plan"]["alignment_steps"],
        "validation": result.summary.get("validation", {}),
        "curve": _curve(result.curve, config.training.metric),
    }
    return result.embedder, facts


def _builder(metadata: Metadata | None, items: Sequence[Item]) -> Callable[..., ItemEmbedder]:
    """`ItemEmbedder.from_config`, or one that reads other metadata."""
    if metadata is None:
        return ItemEmbedder.from_config
    return partial(_build, metadata, items)


def _build(metadata: Metadata, items: Sequence[Item], *args: Any, **options: Any) -> ItemEmbedder:
    embedder = ItemEmbedder.from_config(*args, **options)
    return _with_metadata(embedder, metadata, items)


def _with_metadata(
    embedder: ItemEmbedder, metadata: Metadata | None, items: Sequence[Item]
) -> ItemEmbedder:
    """`embedder` reading the `metadata` of `items`; itself where there is none."""
    if metadata is None:
        return embedder
    return OtherMetadata(embedder, metadata.texts(items), backbone=metadata.backbone)


class OtherMetadata(ItemEmbedder):
    """An embedder that reads `given` texts; an item whose metadata is hidden stays without.

    Attributes:
        given: item id to text; items that are not in it keep their own.
        backbone: the backbone reads them too.
    """

    def __init__(self, embedder: ItemEmbedder, given: dict[str, str], *, backbone: bool) -> None:
        """The model of `embedder`, shared with it; `given` is encoded at once."""
        super().__init__(embedder.config, embedder.features, embedder.model)
        self.given, self.backbone, self.facts = given, backbone, embedder.facts
        self.features.fill([], texts=sorted(set(given.values())))

    def connector_text(self, item: Item, text: str) -> str:
        """The item's given text; "" where its metadata is hidden."""
        return self.given.get(item.item_id, text) if text else ""

    def batch(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        prompt_texts: Sequence[str] | None = None,
    ) -> ItemBatch:
        """As `ItemEmbedder.batch`; the backbone too reads the given texts, if it is to."""
        texts = [self.text(item) for item in items] if texts is None else texts
        prompts = texts if prompt_texts is None else prompt_texts
        if self.backbone:
            prompts = [self.connector_text(i, text) for i, text in zip(items, prompts, strict=True)]
        return super().batch(items, texts=texts, prompt_texts=prompts)


def _make(plan: Plan, cell: Cell, catalog: Catalog, embedder: Any, part: str) -> None:
    """Make one of the files that `plan.parts` names."""
    folder, method = plan.path(cell), plan.chosen[cell.method]
    kind, *names = part.split("/")
    if kind == "test":
        other = catalog if names[0] == plan.main else Catalog.load(plan.catalogs[names[0]])
        where = folder / "test" / names[0]
        if method.collaborative is not None:
            scorer = REFERENCES[method.collaborative](Engagement.from_pairs(other))
            evaluate(scorer, other, name=method.label, bootstrap=0).save(where)
            return
        own = _with_metadata(embedder, method.metadata, other.items)
        _judge(own, other, method.label, where, keep=_first(plan, cell))
    elif kind == "conditions":
        metadata = plan.conditions_of(cell.method)[names[0]]
        other = catalog if names[1] == plan.main else Catalog.load(plan.catalogs[names[1]])
        misled = _with_metadata(embedder, metadata, other.items)
        _judge(misled, other, metadata.label, folder / "conditions" / names[0] / names[1])
    elif part in (ROBUSTNESS, GATES):
        some = draw_queries(catalog, plan.robustness_queries)
        own = _with_metadata(embedder, method.metadata, catalog.items)
        make = _robustness if part == ROBUSTNESS else _gates
        make(plan, own, some, folder / part)


def _first(plan: Plan, cell: Cell) -> bool:
    return plan.chosen[cell.method].untrained or cell.seed == plan.seeds[0]


def _judge(
    embedder: Embedder, catalog: Catalog, name: str, folder: Path, *, keep: bool = False
) -> None:
    """Evaluate on the test queries; `keep` the vectors too, for the report's galleries."""
    vectors = _encode(embedder, catalog, query_items(catalog))
    if keep:
        with atomic_path(folder / VECTORS) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    # intervals over the queries of one seed are of no use here: `statistics` takes both
    evaluate(vectors, catalog, name=name, bootstrap=0).save(folder)


def _encode(embedder: Embedder, catalog: Catalog, items: Sequence[Item]) -> Vectors:
    """[N, D] in the order of the catalog, zero but for the pool and these items."""
    rows = [catalog.index[item.item_id] for item in items]
    needed = np.union1d(catalog.pool_indices("test"), rows)
    found = embedder.encode([catalog.items[row] for row in needed])
    vectors: Vectors = np.zeros((len(catalog), found.shape[1]), dtype=np.float32)
    vectors[needed] = found
    return vectors


def _robustness(plan: Plan, embedder: Embedder, catalog: Catalog, path: Path) -> None:
    """One row for each kind, severity and query; kind "clean" at severity 0."""
    items = query_items(catalog)
    rows = [catalog.index[item.item_id] for item in items]
    stored = path.parent / "test" / plan.main / VECTORS
    clean = np.load(stored) if stored.is_file() else _encode(embedder, catalog, items)
    judge = partial(evaluate, clean, catalog, bootstrap=0)
    tables = [_rows(judge(query_vectors=clean).per_query, "clean", 0.0)]
    for (kind, severity), them in corrupted_queries(plan, items).items():
        asking = clean.copy()
        asking[rows] = embedder.encode(them)
        tables.append(_rows(judge(query_vectors=asking).per_query, kind, severity))
    with atomic_path(path) as temporary:
        pl.concat(tables).write_parquet(temporary)


def _rows(table: pl.DataFrame, kind: str, severity: float) -> pl.DataFrame:
    figures = [n for n in table.columns if n.startswith("hit@") or n in ("mrr", "map@r")]
    return table.select(
        pl.lit(kind).alias("kind"), pl.lit(severity).alias("severity"), "query_id", *figures
    )


def _gates(plan: Plan, embedder: ItemEmbedder, catalog: Catalog, path: Path) -> None:
    items = query_items(catalog)
    found = measure_gates(embedder, items, corrupted_queries(plan, items))
    write_text(path, json.dumps([asdict(each) for each in found], indent=1))


def _curve(log: Sequence[dict[str, Any]], metric: str) -> list[dict[str, float]]:
    """The log lines that tell a loss or a figure on validation, by plain names."""
    told = {f"eval_{name}": name for name in (metric, *_TOLD)} | {"loss": "loss"}
    lines = []
    for entry in log:
        known = {told[name]: float(value) for name, value in entry.items() if name in told}
        if known:
            lines.append({"step": entry["step"], **known})
    return lines


def measure_gates(
    embedder: ItemEmbedder,
    items: Sequence[Item],
    corrupted: dict[tuple[str, float], list[Item]],
) -> list[GateResult]:
    """Every condition for the same items; [] where there is no gate, agreement or reliability.

    A fault of metadata is that of the items which can have it.

    Args:
        items: as they are.
        corrupted: kind and severity -> the same items with corrupted photos.
    """
    clean = _measure(embedder, items, "clean")
    if clean == GateResult("clean", 0.0):
        return []
    shuffled = _with_metadata(embedder, SHUFFLED, items)
    return [
        clean,
        *(_measure(embedder, them, kind, level) for (kind, level), them in corrupted.items()),
        _measure(shuffled, items, "shuffled metadata"),
        _measure(embedder, [replace(item, images=()) for item in items], "no photo"),
        _measure(embedder, [_bare(item) for item in items], "no metadata"),
        *(_measure(embedder, them, name) for name, them in faulty(items).items()),
    ]


def faulty(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Fault of the noise views -> the items that can have it, with it; drawn by a fixed seed.

    What is another's is that of the next item, in a drawn order, of the most unlike ones.
    """
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(items)).tolist()
    found: dict[str, list[Item]] = {}
    for place, row in enumerate(order):
        item, others = items[row], [items[i] for i in order[place + 1 :] + order[:place]]
        other = max(others, key=lambda each: _unlike(each, item), default=item)
        for name, them in metadata_faults(item, other, rng).items():
            found.setdefault(name, []).append(them)
    return found


def _unlike(other: Item, item: Item) -> int:
    return (other.brand != item.brand) + (other.category != item.category)


def _bare(item: Item) -> Item:
    return replace(item, title="", brand="", category="", attributes={})


def _measure(
    embedder: ItemEmbedder, items: Sequence[Item], condition: str, severity: float = 0.0
) -> GateResult:
    found: dict[str, list[_Values]] = {}
    embedder.features.fill(items)
    for start in range(0, len(items), _BATCH):
        for name, values in _channels(embedder, items[start : start + _BATCH]).items():
            found.setdefault(name, []).append(values)
    figures = {name: _figure(np.concatenate(values)) for name, values in found.items()}
    weights = {n.removeprefix(_WEIGHT): figures.pop(n) for n in [*figures] if n.startswith(_WEIGHT)}
    return GateResult(condition, severity, **figures, weights=weights)


@torch.inference_mode()
def _channels(embedder: ItemEmbedder, items: Sequence[Item]) -> dict[str, _Values]:
    """Name to [B, C]: the gates' channels, and the one of agreement and of each weight."""
    embedder.model.eval()
    batch = embedder.batch(items).to(embedder.device)
    output = embedder.model(batch, connector_only=True)
    said = output.connector
    known = {name: said.gates[name] for name in ("anchored", "exploratory") if name in said.gates}
    if said.agreement is not None:
        known["agreement"] = said.agreement
    known |= {_WEIGHT + name: weight for name, weight in output.weights.items()}
    return {name: x.float().cpu().double().numpy() for name, x in known.items()}


def _figure(values: _Values) -> GateFigure:
    return GateFigure(
        mean=float(values.mean()),
        magnitude=float(np.abs(values).mean()),
        spread=float(values.mean(axis=1).std()),
    )
