"""Pairs for data sets that have none: items that agree in what is known of them (ours).

A stand-in for co-engagement, and no more: two products of one model line, or of one type, gender
and colour. What makes the groups should be hidden from the model, or it has only to be read off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tgqformer.catalog.importers.parts import Links
from tgqformer.catalog.quarantine import Quarantine
from tgqformer.catalog.tables import Table
from tgqformer.errors import ConfigError


class Groups:
    """Items by what they agree in.

    Args:
        fields: what an item must agree in with another, named by the importer's own names.
        max_group: larger groups say too little to tie their items, and are left out.

    Raises:
        ConfigError: max_group is below 2.
    """

    def __init__(self, fields: Sequence[str], max_group: int) -> None:
        if max_group < 2:
            raise ConfigError(f"max_group ({max_group}) must be 2 or more.")
        self._fields = fields
        self._max = max_group
        self._members: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)

    def add(self, item_id: str, values: Sequence[str]) -> None:
        """Record an item's values [fields]; one that lacks a value is in no group."""
        if values and all(values):
            self._members[tuple(value.casefold() for value in values)][item_id] = None

    def table(self, quarantine: Quarantine) -> Table:
        """Return all pairs within each group, both ways round, as a table."""
        links, left_out = Links(), 0
        for members in self._members.values():
            if len(members) > self._max:
                left_out += len(members)
            elif len(members) > 1:
                for item_id in members:
                    links.add(item_id, members)
        if left_out:
            quarantine.add(
                "pairs",
                0,
                None,
                "query_id",
                "group too large",
                f"{left_out:,} items are in groups of more than {self._max:,} that agree in "
                f"{', '.join(self._fields)}, and are not tied; name more fields or raise max_group",
            )
        known = {item_id for members in self._members.values() for item_id in members}
        return links.table(known, quarantine)
