"""Heatmaps checked, not only drawn: do the queries look at the product that is for sale?

Where the labels know the product's box (the storefront's `product_box`), two figures for each
photo and stream: the share of the map inside the box, and the pointing game, whether its highest
cell lies inside. Chance is the box's share of the photo: what a map that looks everywhere alike
would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.config import whole_number
from tgqformer.errors import CatalogError
from tgqformer.evaluation.intervals import Interval, mean_intervals, paired_difference
from tgqformer.inspection.explain import connector_output, heatmaps_of, photo_of
from tgqformer.progress import track

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder

BOX = "product_box"
MEASURES = ("inside", "pointing")


@dataclass(frozen=True)
class Measured:
    """What one model's streams do on M photos.

    Attributes:
        name: of the model.
        streams: stream to measure ("inside", "pointing", "seen") to [M] values.
        kind: of its connector.
    """

    name: str
    streams: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
    kind: str


@dataclass(frozen=True)
class Pointing:
    """The pointing game of several models on the same photos.

    Attributes:
        positions: [M] of the items in the catalog.
        regimes: [M] the noise of each photo, "" where the labels do not tell.
        chance: [M] the share of the photo that the box takes.
        models: what each model does.
    """

    positions: npt.NDArray[np.int64]
    regimes: Sequence[str]
    chance: npt.NDArray[np.float64]
    models: Sequence[Measured]

    def table(self, *, samples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
        """A row for each regime, model and stream, with 95 % bootstrap intervals over photos."""
        rows: list[dict[str, Any]] = []
        names = np.array(self.regimes)
        for regime in dict.fromkeys(self.regimes):
            own = np.flatnonzero(names == regime)
            chance = dict.fromkeys(MEASURES, self.chance)
            rows.append(_row(regime, "chance", "", chance, own, samples, seed))
            for model in self.models:
                for stream, values in model.streams.items():
                    rows.append(_row(regime, model.name, stream, values, own, samples, seed))
        return rows

    def leads(self, *, samples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
        """How far each stream of the first model lies above those of the others.

        Paired over the photos of a regime: a row for each regime, stream, other model, its stream,
        and measure.
        """
        names = np.array(self.regimes)
        first, *others = self.models
        return [
            {
                "regime": regime,
                "measure": measure,
                "stream": stream,
                "model": other.name,
                "other_stream": other_stream,
                **paired_difference(
                    theirs[measure][names == regime],
                    ours[measure][names == regime],
                    samples=samples,
                    seed=seed,
                ).to_dict(),
            }
            for regime in dict.fromkeys(self.regimes)
            for stream, ours in first.streams.items()
            for other in others
            for other_stream, theirs in other.streams.items()
            for measure in MEASURES
        ]


def boxed_items(
    catalog: Catalog, *, per_regime: int, split: str | None = None, seed: int = 0
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Draw items whose product's box is known, at most `per_regime` of each noise regime.

    Args:
        split: only items of this split of the labels; None takes all.

    Returns:
        Positions [M] in the catalog, and the regime of each.

    Raises:
        CatalogError: the labels know no box.
    """
    labels = catalog.labels
    if labels is None or BOX not in labels.columns or labels[BOX].null_count() == len(labels):
        raise CatalogError(
            f"The labels of the catalog know no {BOX}, and the pointing game needs it; draw a "
            "catalog that does with `tgqformer storefront`."
        )
    noise = labels["noise"] if "noise" in labels.columns else pl.Series([""] * len(labels))
    known = labels[BOX].is_not_null()
    if split is not None:
        if "split" not in labels.columns:
            raise CatalogError(
                f"The labels of the catalog have no column split, so none of {split!r} can be "
                "chosen; leave --split out."
            )
        known = known & (labels["split"] == split)
    regimes = noise.cast(pl.String).fill_null("")
    rows = np.flatnonzero(known.fill_null(False).to_numpy())
    shuffled = np.random.default_rng(seed).permutation(rows)
    names = regimes.to_numpy()
    drawn = [
        np.sort(shuffled[names[shuffled] == regime][:per_regime]) for regime in _order(names[rows])
    ]
    if not drawn:
        raise CatalogError(f"The labels of the catalog know no {BOX} in the split {split!r}.")
    positions = np.concatenate(drawn).astype(np.int64)
    return positions, [str(names[row]) for row in positions]


def play(
    models: Iterable[tuple[str, ItemEmbedder]],
    catalog: Catalog,
    positions: npt.NDArray[np.int64],
    regimes: Sequence[str],
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Pointing:
    """Play the pointing game.

    Args:
        models: names and models, taken one after another; one without attention has no stream.
        positions, regimes: see `boxed_items`.

    Raises:
        CatalogError: a photo cannot be read, though its labels know a box.
    """
    items = [catalog.items[row] for row in positions]
    assert catalog.labels is not None
    boxes = [tuple(box) for box in catalog.labels[BOX].gather(positions).to_list()]
    chance = np.zeros(len(items))
    measured = []
    for name, embedder in models:
        embedder.features.fill(items, progress=progress)
        streams: dict[str, dict[str, list[float]]] = {}
        starts = range(0, len(items), whole_number(batch_size, "batch_size"))
        for start in track(starts, total=len(starts), text=name, show=progress):
            part = items[start : start + batch_size]
            output = connector_output(embedder, part)
            for row, item in enumerate(part):
                photo, box = photo_of(item), boxes[start + row]
                if photo is None:
                    raise CatalogError(
                        f"The photo of item {item.item_id!r} cannot be read, though its labels "
                        "know a box; put it back or remove its box."
                    )
                for stream, found in heatmaps_of(embedder, item, photo, output, row).items():
                    to = streams.setdefault(stream, {m: [] for m in (*MEASURES, "seen")})
                    to["inside"].append(found.inside(box))
                    to["pointing"].append(found.points_into(box))
                    to["seen"].append(found.seen)
                chance[start + row] = _area(box) / (photo.width * photo.height)
        kind = embedder.config.connector.kind
        arrays = {s: {m: np.array(v) for m, v in of.items()} for s, of in streams.items()}
        measured.append(Measured(name, arrays, kind))
    return Pointing(positions, regimes, chance, measured)


def _row(
    regime: str,
    model: str,
    stream: str,
    values: Mapping[str, npt.NDArray[np.float64]],
    own: npt.NDArray[np.intp],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    table = {name: values[name][own] for name in MEASURES}
    found: dict[str, Interval] = mean_intervals(table, samples=samples, seed=seed)
    seen = float(values["seen"][own].mean()) if "seen" in values else None
    return {
        "regime": regime,
        "photos": len(own),
        "model": model,
        "stream": stream,
        **{name: interval.to_dict() for name, interval in found.items()},
        "seen": seen,
    }


def _area(box: Sequence[int]) -> float:
    return float(max(0, box[2] - box[0]) * max(0, box[3] - box[1]))


def _order(names: npt.NDArray[Any]) -> list[str]:
    """The regimes as the storefront orders them, any others behind."""
    from tgqformer.storefront.regimes import REGIMES

    found = set(names.tolist())
    return [*(name for name in REGIMES if name in found), *sorted(found - set(REGIMES))]
