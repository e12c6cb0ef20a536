"""A catalog whose likely wrong categories are replaced by those of the photos that look alike.

The catalog that was audited stays as it is; the copy holds a list of what was changed. What it is
worth to a model that trusts the metadata is measured in docs/results.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.writing import check_target, save_copy
from tgqformer.inspection.audit.audit import Audit

LIST = "corrections.jsonl"


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
