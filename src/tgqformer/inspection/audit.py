"""What in a catalog looks wrong: one pass with a model, as data, as a page and as a corrected copy.

The catalog that was audited stays as it is; the copy holds a list of what was changed. What it is
worth to a model that trusts the metadata is measured in docs/results.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.writing import check_target, save_copy
from tgqformer.evaluation.figures import write_page
from tgqformer.evaluation.report import GalleryCell, gallery_cell
from tgqformer.inspection.disagreement import (
    Disagreement,
    Looked,
    Votes,
    disagreements,
    doubtful,
    look_at,
    margins,
    photo_neighbours,
    vote,
)
from tgqformer.inspection.faults import NearPair, Suspicion, near_pairs, same_photos, suspicions

if TYPE_CHECKING:
    from tgqformer.embedder import ItemEmbedder

NEAR = 0.98
"""Correlation of two small pictures from which on the photos count as nearly the same."""
LIST = "corrections.jsonl"
_NEIGHBOURS = 30
_MOST_OF_A_GROUP = 6
_PACKAGE = "tgqformer.inspection"


@dataclass(frozen=True)
class Audit:
    """What looks wrong in a catalog of N items; positions are those of its items.

    Attributes:
        disagreements: items whose photo speaks against their metadata, the worst first.
        same: groups of items with byte-identical photos.
        near: pairs of items with nearly the same photo.
        without_photo: items that name none.
        unreadable: items whose photos cannot be read.
        suspicions: metadata that looks wrong by itself.
        looked, votes: what the ranking was made of.
    """

    catalog: Catalog
    disagreements: list[Disagreement]
    same: list[list[int]]
    near: list[NearPair]
    without_photo: list[int]
    unreadable: list[int]
    suspicions: list[Suspicion]
    looked: Looked
    votes: Votes

    def counts(self) -> dict[str, int]:
        """How many items (or pairs) each part names."""
        kinds = Counter(one.kind for one in self.suspicions)
        return {
            "items": len(self.catalog),
            "without photo": len(self.without_photo),
            "unreadable photo": len(self.unreadable),
            "items that share a photo": sum(map(len, self.same)),
            "pairs of nearly the same photo": len(self.near),
            "photo speaks against the category": sum(d.likely for d in self.disagreements),
            **dict(sorted(kinds.items())),
        }

    def to_dict(self, most: int) -> dict[str, Any]:
        """Plain data, ready for JSON, with at most so many entries of each part."""
        ids = [item.item_id for item in self.catalog.items]

        def named(one: Any) -> dict[str, Any]:
            fields = asdict(one)
            return {"item_id": ids[fields.pop("position")], **fields}

        return {
            "counts": self.counts(),
            "disagreements": [named(one) for one in self.disagreements[:most]],
            "same": [[ids[row] for row in group] for group in self.same[:most]],
            "near": [
                {"items": [ids[pair.first], ids[pair.second]], "score": pair.score}
                for pair in self.near[:most]
            ],
            "without_photo": [ids[row] for row in self.without_photo[:most]],
            "unreadable": [ids[row] for row in self.unreadable[:most]],
            "suspicions": [named(one) for one in self.suspicions[:most]],
        }


def audit(
    embedder: ItemEmbedder,
    catalog: Catalog,
    *,
    near: float = NEAR,
    neighbours: int = _NEIGHBOURS,
    batch_size: int = 64,
    progress: bool = False,
) -> Audit:
    """Audit a catalog.

    Args:
        embedder: its frozen image tower finds near-duplicates and neighbours, its connector (or
            the towers' shared space) tells how far photo and metadata agree.
        near: correlation of small pictures from which on two photos are nearly the same.
        neighbours: how many nearest photos vote on an item's category.
    """
    items = catalog.items
    categories = [item.category.strip() for item in items]
    same = same_photos(items, progress=progress)
    looked = look_at(embedder, items, categories, batch_size=batch_size, progress=progress)
    shown = looked.presence[:, 0]
    scores, rows = photo_neighbours(looked.photos, shown, neighbours, progress=progress)
    votes = vote(_without_copies(rows, same), categories)
    margin = np.full(len(items), np.nan)
    asked = [row for row in doubtful(votes).tolist() if looked.presence[row].all()]
    margin[asked] = margins(
        embedder,
        [items[row] for row in asked],
        looked.words,
        [categories[row] for row in asked],
        [votes.category[row] for row in asked],
        batch_size=batch_size,
        progress=progress,
    )
    bare = np.array([not item.images for item in items], dtype=np.bool_)
    return Audit(
        catalog=catalog,
        disagreements=disagreements(votes, looked.agreement, margin, categories),
        same=same,
        near=near_pairs(items, scores, rows, same, least=near, progress=progress),
        without_photo=np.flatnonzero(bare).tolist(),
        unreadable=np.flatnonzero(~bare & ~shown).tolist(),
        suspicions=suspicions(items),
        looked=looked,
        votes=votes,
    )


def _without_copies(rows: npt.NDArray[np.int64], same: list[list[int]]) -> npt.NDArray[np.int64]:
    """Neighbours without those that show the very same photo: a copy is no second witness."""
    group = np.arange(len(rows))
    for members in same:
        group[members] = members[0]
    copies = (rows >= 0) & (group[rows] == group[:, None])
    return np.where(copies, -1, rows)


@dataclass(frozen=True)
class Correction:
    """One item's category, as it was and as its neighbours have it.

    Attributes:
        share: of the nearest photos, how many stand in `after`.
        margin: how much better the photo agrees with the words of `after`, a difference of
            cosines; None where the model was not asked.
    """

    item_id: str
    before: str
    after: str
    share: float
    margin: float | None


def corrections(audit: Audit) -> list[Correction]:
    """What both witnesses doubt (`Disagreement.likely`), the surest first."""
    items = audit.catalog.items
    return [
        Correction(
            items[one.position].item_id,
            items[one.position].category,
            one.other,
            one.other_share or 0.0,
            one.margin,
        )
        for one in audit.disagreements
        if one.likely
    ]


def check_folder(catalog: Catalog, folder: Path) -> None:
    """Refuse a folder that holds another catalog than an earlier copy of this kind.

    Raises:
        ConfigError: it is the catalog's own, or another one's.
    """
    check_target(catalog, folder, LIST)


def correct_catalog(catalog: Catalog, changes: Sequence[Correction], folder: Path) -> Catalog:
    """Write a copy of `catalog` with the changes made, and LIST with one line for each.

    Titles, attributes, pairs, labels and splits stay as they are.

    Raises:
        ConfigError: see `check_folder`.
        StorageError: the disk refuses.
    """
    after = {change.item_id: change.after for change in changes}
    items = [
        replace(item, category=after.get(item.item_id, item.category)) for item in catalog.items
    ]
    lines = [json.dumps(asdict(change)) for change in changes]
    return save_copy(catalog, items, folder, LIST, "".join(f"{line}\n" for line in lines))


def write_audit(
    path: str | os.PathLike[str],
    audit: Audit,
    *,
    title: str,
    most: int = 48,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the .html file to make.
        most: entries of each part; the page says how many more there are.
        facts: name -> value, shown at the end.

    Raises:
        StorageError: the file cannot be written.
    """
    items = audit.catalog.items
    cells = _Cells(audit)
    write_page(
        path,
        "audit.html",
        packages=(_PACKAGE,),
        title=title,
        counts=_cards(audit),
        disagreements=[
            {"cell": cells[one.position], "lines": _reasons(one)}
            for one in audit.disagreements[:most]
        ],
        likely=sum(one.likely for one in audit.disagreements),
        same=[
            {
                "cells": [cells[row] for row in group[:_MOST_OF_A_GROUP]],
                "size": len(group),
                "more": max(0, len(group) - _MOST_OF_A_GROUP),
            }
            for group in audit.same[:most]
        ],
        more_same=max(0, len(audit.same) - most),
        near=[
            {"cells": [cells[pair.first], cells[pair.second]], "score": pair.score}
            for pair in audit.near[:most]
        ],
        more_near=max(0, len(audit.near) - most),
        missing=[
            {"name": name, "count": len(rows), "cells": [cells[row] for row in rows[:most]]}
            for name, rows in (
                ("No photo", audit.without_photo),
                ("A photo that cannot be read", audit.unreadable),
            )
            if rows
        ],
        suspicions=[
            {
                "kind": kind,
                "count": count,
                "rows": [
                    {"item": items[one.position], "reason": one.reason}
                    for one in audit.suspicions
                    if one.kind == kind
                ][:most],
            }
            for kind, count in Counter(one.kind for one in audit.suspicions).most_common()
        ],
        facts=[(name, str(value)) for name, value in (facts or {}).items()],
        most=most,
    )


class _Cells:
    """Items as they are shown, each thumbnail made once."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._made: dict[int, tuple[str, GalleryCell]] = {}

    def __getitem__(self, row: int) -> tuple[str, GalleryCell]:
        if row not in self._made:
            item = self._audit.catalog.items[row]
            self._made[row] = item.item_id, gallery_cell(item)
        return self._made[row]


def _cards(audit: Audit) -> list[tuple[str, int]]:
    counts = audit.counts()
    suspicious = len({one.position for one in audit.suspicions})
    return [
        ("photos that speak against the category", counts["photo speaks against the category"]),
        ("items that share a photo", counts["items that share a photo"]),
        ("pairs of nearly the same photo", counts["pairs of nearly the same photo"]),
        ("items without a readable photo", counts["without photo"] + counts["unreadable photo"]),
        ("items with suspicious metadata", suspicious),
    ]


def _reasons(one: Disagreement) -> list[str]:
    lines = []
    if one.own is not None and one.other:
        there, here = 100 * (one.other_share or 0), 100 * one.own
        lines.append(
            f"{there:.0f} % of the most similar photos stand in {one.other}, {here:.0f} % in its "
            "own category."
        )
    if one.margin is not None:
        side = "better" if one.margin > 0 else "worse"
        lines.append(
            f"To the model the photo agrees {side} with that category ({one.margin:+.2f})."
        )
    if one.agreement is not None and one.deviation is not None and one.deviation < -2:
        lines.append("Photo and metadata agree far less than is usual in its category.")
    return lines
