"""How figures fall as photos get worse: one evaluation for each corruption kind and severity."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tgqformer.catalog.items import Embedder, ImageRef, Item
from tgqformer.errors import ConfigError, ImageError
from tgqformer.evaluation.evaluate import KS, evaluate
from tgqformer.evaluation.result import Evaluation
from tgqformer.retrieval.scores import Vectors, as_vectors

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

Where: TypeAlias = Literal["queries", "all"]


@dataclass(frozen=True)
class RobustnessPoint:
    """One severity of one kind.

    Attributes:
        kind: the corruptions that were applied, joined by "+".
        severity: 0 (untouched) to 1.
        evaluation: what the model still finds.
    """

    kind: str
    severity: float
    evaluation: Evaluation

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "metrics": {name: i.to_dict() for name, i in self.evaluation.metrics.items()},
        }


def robustness_curve(
    embedder: Embedder,
    catalog: Catalog,
    *,
    kinds: Sequence[str | Sequence[str]],
    severities: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    where: Where = "queries",
    split: str = "test",
    ks: Sequence[int] = KS,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> list[RobustnessPoint]:
    """Evaluate `embedder` on corrupted photos, kind by kind, severity by severity.

    The corrupted photos reach the embedder as the images of ordinary items, losslessly encoded, so
    any embedder can be asked. One seed gives each item the same corruption for every model and,
    only stronger, at every severity, so points can be compared query by query.

    Args:
        kinds: names of `corruption.CORRUPTIONS`, each one or a sequence applied in that order.
        where: corrupt the photos of the "queries" alone, which then search a clean pool, or of
            "all" items.

    Raises:
        ConfigError: an unknown kind, a severity outside 0..1, or an unknown `where`.
        CatalogError: the split has no pair that can be ranked.
    """
    if where not in ("queries", "all"):
        raise ConfigError(f"where is {where!r}, but must be 'queries' or 'all'.")
    chains = [(kind,) if isinstance(kind, str) else tuple(kind) for kind in kinds]
    _check(chains, severities)
    queries = np.unique(catalog.pair_indices(split)[0])
    everything = np.union1d(catalog.pool_indices(split), queries)
    clean = _encode(embedder, [catalog.items[row] for row in everything], progress=progress)
    found = np.zeros((len(catalog.items), clean.shape[1]), dtype=np.float32)
    found[everything] = clean
    changed = queries if where == "queries" else everything
    points = []
    for names in chains:
        for severity in severities:
            asking = found.copy()
            if severity != 0:
                items = [corrupt_item(catalog.items[r], names, severity, seed) for r in changed]
                asking[changed] = _encode(embedder, items, progress=progress)
            evaluation = evaluate(
                found if where == "queries" else asking,
                catalog,
                split=split,
                name=str(getattr(embedder, "name", "model")),
                query_vectors=asking,
                ks=ks,
                bootstrap=bootstrap,
                seed=seed,
            )
            points.append(RobustnessPoint("+".join(names), float(severity), evaluation))
    return points


def corrupt_item(item: Item, kinds: Sequence[str], severity: float, seed: int = 0) -> Item:
    """The item with all its photos corrupted, as PNG bytes; photos that cannot be read stay."""
    from tgqformer.catalog.images import decode_image
    from tgqformer.corruption import corrupt

    photos: list[ImageRef] = []
    for number, photo in enumerate(item.images):
        try:
            image = decode_image(photo)
        except ImageError:
            photos.append(photo)
            continue
        # The stream hangs on the item, not on its place, so that any part of a catalog agrees.
        stream = zlib.crc32(item.item_id.encode("utf-8", "surrogatepass"))
        rng = np.random.default_rng([seed, stream, number])
        buffer = io.BytesIO()
        corrupt(image, kinds, severity, rng).save(buffer, "PNG", compress_level=1)
        photos.append(buffer.getvalue())
    return replace(item, images=tuple(photos))


def _check(chains: Sequence[Sequence[str]], severities: Sequence[float]) -> None:
    """Let a wrong name or severity be told before an hour of encoding, not after."""
    from PIL import Image

    from tgqformer.corruption import corrupt

    for names in chains:
        for severity in severities:
            corrupt(Image.new("RGB", (16, 16)), names, severity, np.random.default_rng(0))


def _encode(embedder: Embedder, items: Sequence[Item], *, progress: bool) -> Vectors:
    return as_vectors(embedder.encode(items, progress=progress), "the embedder's output")
