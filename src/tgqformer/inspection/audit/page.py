"""An audit as one HTML file that needs nothing else: no script, no request, no font."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tgqformer.evaluation.report.figures import write_page
from tgqformer.evaluation.report.page import GalleryCell, gallery_cell
from tgqformer.inspection.audit.audit import Audit
from tgqformer.inspection.audit.disagreement import Disagreement

_PACKAGE = "tgqformer.inspection.audit"
MOST_OF_A_GROUP = 6


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
                "cells": [cells[row] for row in group[:MOST_OF_A_GROUP]],
                "size": len(group),
                "more": max(0, len(group) - MOST_OF_A_GROUP),
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
