"""What all cells share, made once before them: corrupted photos, tower outputs, costs.

And what a run of ours starts as, the base, which no training reaches.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import image_key
from tgqformer.catalog.items import Item, Vectors
from tgqformer.catalog.text import item_text
from tgqformer.comparison.plan import COSTS, FACTS, Plan, read_json
from tgqformer.embedder.flops import Cost, count_cost
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.errors import ConfigError, ImageError, TGQFormerError
from tgqformer.evaluation.robustness import KINDS, SEVERITIES, corrupted_items, draw_queries
from tgqformer.files import write_text
from tgqformer.towers.features import ItemFeatures
from tgqformer.towers.load import keep_large_buffers, load_image_tower, load_text_tower
from tgqformer.training.run import plan_run
from tgqformer.training.start import fit_base
from tgqformer.training.validation import hold_out


def prepare(plan: Plan) -> None:
    """Check the catalogs, draw the corrupted photos, fill the token cache, count the costs.

    Raises:
        CatalogError: a catalog cannot be read, or has no pairs to train or to judge on.
        ConfigError: a catalog is not the one that this comparison began with.
        ModelError, CacheError, StorageError: the towers, or the disk.
    """
    catalogs = {name: Catalog.load(path) for name, path in plan.catalogs.items()}
    trained = [
        method.configure(plan.base) for method in plan.chosen.values() if not method.untrained
    ]
    if not all(config.training.noise.views for config in trained):
        catalogs[plan.main].require_pairs("train")  # some method has nothing else to learn from
    counted = any(method.collaborative is not None for method in plan.chosen.values())
    for catalog in catalogs.values():
        catalog.require_pairs("test")
        if counted:
            catalog.require_pairs("train")
    _write_facts(plan, catalogs)
    _count_costs(plan)
    features = load_features(plan)
    for name, catalog in catalogs.items():
        _tell(f"encoding {name}, {len(catalog):,} items")
        features.fill(catalog.items)
    others = [method.metadata for method in plan.chosen.values() if method.metadata]
    others += [each for method in plan.chosen for each in plan.conditions_of(method).values()]
    for metadata in others:
        for catalog in catalogs.values():
            features.fill([], texts=set(metadata.texts(catalog.items).values()))
    if plan.robustness:
        items = query_items(draw_queries(catalogs[plan.main], plan.robustness_queries))
        for them in corrupted_queries(plan, items).values():
            features.fill(them)


def load_features(plan: Plan) -> ItemFeatures:
    """The frozen towers over the comparison's token cache."""
    import torch

    keep_large_buffers()
    config = plan.base.embedder
    device = plan.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return ItemFeatures(
        load_image_tower(config.image_tower, device=device),
        load_text_tower(config.text_tower, device=device),
        plan.cache_dir,
        max_images=config.max_images,
    )


def _write_facts(plan: Plan, catalogs: dict[str, Catalog]) -> None:
    facts = read_json(plan.out / FACTS)
    for name, catalog in catalogs.items():
        found = {
            "items": len(catalog),
            "queries": len(np.unique(catalog.pair_indices("test")[0])),
            "pool": len(catalog.pool_indices("test")),
            "digest": _digest(catalog),
            "photos": _photo_digest(catalog, plan.base.embedder.max_images),
        }
        if name == plan.main:
            training = plan.base.training
            known, held_out = hold_out(catalog, training.seed)
            found["steps"] = plan_run(training, known, held_out=held_out).training.steps
        before = facts.get(name, {})
        if any(before[key] != found[key] for key in before.keys() & found.keys() - {"steps"}):
            raise ConfigError(
                f"catalog '{name}' is not the one that the comparison in {plan.out} began with; "
                "bring it back, or choose another --out."
            )
        facts[name] = found
    write_text(plan.out / FACTS, json.dumps(facts, indent=1))


def _digest(catalog: Catalog) -> str:
    """Of ids, metadata and pairs."""
    digest = hashlib.sha256()
    for item in catalog.items:
        digest.update(f"{item.item_id}\0{item_text(item)}\0".encode("utf-8", "surrogatepass"))
    digest.update(catalog.pair_table.select("query", "target", "split").write_csv().encode())
    return digest.hexdigest()[:16]


def _photo_digest(catalog: Catalog, max_images: int) -> str:
    """Of the photos' bytes: the same shop under other noise has the same pairs."""
    digest = hashlib.sha256()
    for item in catalog.items:
        for photo in item.images[:max_images]:
            with suppress(ImageError):  # it counts as absent everywhere
                digest.update(image_key(photo).encode())
    return digest.hexdigest()[:16]


def _count_costs(plan: Plan) -> None:
    """What each method costs; {} for one that cannot be counted."""
    costs = read_json(plan.out / COSTS)
    counted: dict[str, Cost] = {}  # by configuration: a frozen method's is the preset's, as ours is
    for name, method in plan.chosen.items():
        if costs.get(name):
            continue
        if method.collaborative is not None:  # a table that is looked up
            costs[name] = {}
            continue
        _tell(f"counting {name}")
        config = method.configure(plan.base).embedder
        try:
            cost = counted[repr(config)] = counted.get(repr(config)) or count_cost(config)
        except TGQFormerError as error:
            _tell(f"{name} is not counted: {error}")
            costs[name] = {}
            continue
        towers = [cost.part(f"{tower} tower") for tower in method.frozen]
        costs[name] = {
            "multiply_adds": sum(part.multiply_adds for part in towers or cost.parts),
            "parameters": sum(part.parameters for part in towers or cost.parts),
            "trained_parameters": 0 if towers else cost.trained,
            "visual_tokens": 0 if towers else cost.part("connector").tokens,
        }
    write_text(plan.out / COSTS, json.dumps(costs, indent=1))


def query_items(catalog: Catalog, split: str = "test") -> list[Item]:
    """The items that a split's queries are, in the order of the catalog."""
    return [catalog.items[row] for row in np.unique(catalog.pair_indices(split)[0])]


def corrupted_queries(plan: Plan, items: list[Item]) -> dict[tuple[str, float], list[Item]]:
    """Kind and severity -> the items with corrupted photos; {} where it is not asked for."""
    if not plan.robustness:
        return {}
    folder, most = plan.out / "corrupted", plan.base.embedder.max_images
    return {
        (kind, severity): corrupted_items(
            items, kind, severity, folder, max_images=most, family=plan.robustness_kinds
        )
        for kind in KINDS
        for severity in SEVERITIES
    }


class BaseEmbedder:
    """The frozen base, fitted to a catalog as a run fits it: what a run of ours starts as."""

    def __init__(self, name: str, embedder: ItemEmbedder, catalog: Catalog, *, seed: int) -> None:
        self.name, self.embedder = name, embedder
        embedder.features.fill(catalog.items)
        fit_base(embedder, catalog, seed)

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Float32 [N, D], rows of unit length, or zero where an item has no part."""
        return self.embedder.encode_base(items)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
