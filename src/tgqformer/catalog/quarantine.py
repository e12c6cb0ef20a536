"""Where rows go that break a rule: told one by one, counted, and never in the way of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from tgqformer.catalog.files import write_table
from tgqformer.catalog.text import replace_surrogates
from tgqformer.errors import CatalogError

DROPPED = "row dropped"
CLEARED = "value dropped"
REPAIRED = "value repaired"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One broken rule.

    Attributes:
        table: "items", "pairs" or "labels".
        row: number of the row, from 1, a header not counted; 0 where rows have no numbers.
        item_id: the id as far as it is known; of a pair, the query's.
        field: the column.
        rule: the kind of fault in a few words, the same for every row; what the summary counts.
        reason: the value, the rule and the remedy.
        action: "row dropped", "value dropped" (the row stays without it) or "value repaired".
    """

    table: str
    row: int
    item_id: str
    field: str
    rule: str
    reason: str
    action: str

    def __str__(self) -> str:
        name = f" ({shown(self.item_id)})" if self.item_id else ""
        return f"{self.table} row {self.row}{name}, {self.field}: {self.reason}."


class Quarantine:
    """The rejections of one catalog, in the order in which they were found."""

    def __init__(self) -> None:
        self._rejections: list[Rejection] = []

    def add(
        self,
        table: str,
        row: int,
        item_id: str | None,
        field: str,
        rule: str,
        reason: str,
        action: str = DROPPED,
    ) -> None:
        """Record one broken rule; see Rejection for the fields."""
        name = replace_surrogates(item_id or "")
        self._rejections.append(
            Rejection(table, row, name, field, rule, replace_surrogates(reason), action)
        )

    def __len__(self) -> int:
        return len(self._rejections)

    def __iter__(self) -> Iterator[Rejection]:
        return iter(self._rejections)

    def counts(self) -> dict[str, int]:
        """Return how often each rule was broken, as ``{"items: duplicate id": 3}``, by count."""
        counter = Counter(f"{entry.table}: {entry.rule}" for entry in self._rejections)
        return dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))

    def summary(self) -> str:
        """Return the counts in one line, ``"nothing quarantined"`` where there are none."""
        if not self._rejections:
            return "nothing quarantined"
        told = ", ".join(f"{rule} {count:,}" for rule, count in self.counts().items())
        return f"{len(self):,} quarantined ({told})"

    def frame(self) -> pl.DataFrame:
        """Return one row for each rejection, with the columns of Rejection."""
        schema: dict[str, type[pl.DataType]] = {
            field.name: pl.Int64 if field.name == "row" else pl.String
            for field in fields(Rejection)
        }
        return pl.DataFrame([asdict(entry) for entry in self._rejections], schema=schema)

    def save(self, path: Path) -> None:
        """Write the table to a .parquet, .jsonl or .csv file, atomically."""
        write_table(self.frame(), path)

    def raise_first(self, source: str) -> None:
        """Raise the rejection of the lowest row as an error; do nothing where there is none.

        Raises:
            CatalogError: there is a rejection.
        """
        if not self._rejections:
            return
        order = {"items": 0, "pairs": 1, "labels": 2}
        first = min(self._rejections, key=lambda entry: (order.get(entry.table, 3), entry.row))
        more = f" ({len(self) - 1:,} more)" if len(self) > 1 else ""
        raise CatalogError(f"{source}: {first}{more}")


def shown(value: object, limit: int = 60) -> str:
    """Return a value as it may stand in a message: quoted, on one line, bounded."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value):,} characters)"
    text = repr(value)
    return text if len(text) <= limit + 2 else text[:limit] + "..."
