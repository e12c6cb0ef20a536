"""Where rows go that break a rule: told one by one, counted, and never in the way of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from tgqformer.catalog.text import replace_surrogates
from tgqformer.errors import CatalogError

DROPPED = "row dropped"
CLEARED = "value dropped"
REPAIRED = "value repaired"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One broken rule.

    Attributes:
        table: "items", "pairs", "labels" or "log".
        row: number of the row, from 1, a header not counted; 0 where
            it is no matter of one row.
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
        row = f" row {self.row}" if self.row else ""
        return f"{self.table}{row}{name}, {self.field}: {self.reason}."


_SCHEMA: dict[str, type[pl.DataType]] = {
    field.name: pl.Int64 if field.name == "row" else pl.String for field in fields(Rejection)
}


class Quarantine:
    """The rejections of one catalog, in the order in which they were found."""

    def __init__(self) -> None:
        self._entries: list[Rejection | pl.DataFrame] = []

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
        self._entries.append(
            Rejection(table, row, name, field, rule, replace_surrogates(reason), action)
        )

    def add_rows(
        self, table: str, rows: pl.Series, field: str, rule: str, reasons: pl.Series | str
    ) -> None:
        """Record that a rule was broken by many rows, which are dropped; logs have millions.

        Args:
            table, field, rule: as for Rejection.
            rows: the numbers of the rows.
            reasons: one for each of them, or one for all.
        """
        if not len(rows):
            return
        told = {"table": table, "item_id": "", "field": field, "rule": rule, "action": DROPPED}
        reason = pl.lit(reasons) if isinstance(reasons, str) else reasons.alias("reason")
        frame = pl.DataFrame({"row": rows.cast(pl.Int64)}).with_columns(
            reason.alias("reason"), **{name: pl.lit(text) for name, text in told.items()}
        )
        self._entries.append(frame.select(list(_SCHEMA)))

    def extend(self, other: Quarantine) -> None:
        """Take in the rejections of another quarantine."""
        self._entries.extend(other._entries)

    def __len__(self) -> int:
        return sum(e.height if isinstance(e, pl.DataFrame) else 1 for e in self._entries)

    def __iter__(self) -> Iterator[Rejection]:
        for entry in self._entries:
            if isinstance(entry, Rejection):
                yield entry
            else:
                yield from (Rejection(*row) for row in entry.iter_rows())

    def counts(self) -> dict[str, int]:
        """Return how often each rule was broken, as ``{"items: duplicate id": 3}``, by count."""
        counter: Counter[str] = Counter()
        for entry in self._entries:
            if isinstance(entry, Rejection):
                counter[f"{entry.table}: {entry.rule}"] += 1
            else:
                counter[f"{entry['table'][0]}: {entry['rule'][0]}"] += entry.height
        return dict(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))

    def summary(self) -> str:
        """Return the counts in one line, ``"nothing quarantined"`` where there are none."""
        if not self._entries:
            return "nothing quarantined"
        told = ", ".join(f"{rule} {count:,}" for rule, count in self.counts().items())
        return f"{len(self):,} quarantined ({told})"

    def frame(self) -> pl.DataFrame:
        """Return one row for each rejection, with the columns of Rejection."""
        frames, single = [pl.DataFrame(schema=_SCHEMA)], list[Rejection]()
        for entry in [*self._entries, None]:
            if isinstance(entry, Rejection):
                single.append(entry)
                continue
            frames.append(pl.DataFrame([asdict(known) for known in single], schema=_SCHEMA))
            single.clear()
            if entry is not None:
                frames.append(entry)
        return pl.concat(frames)

    def save(self, path: Path) -> None:
        """Write the table to a .parquet, .jsonl or .csv file, atomically."""
        from tgqformer.catalog.tables import write_table

        write_table(self.frame(), path)

    def raise_first(self, source: str) -> None:
        """Raise the rejection of the lowest row as an error; do nothing where there is none.

        Raises:
            CatalogError: there is a rejection.
        """
        if not self._entries:
            return
        order = {"items": 0, "pairs": 1, "labels": 2}
        first = min(self, key=lambda entry: (order.get(entry.table, 3), entry.row))
        more = f" ({len(self) - 1:,} more)" if len(self) > 1 else ""
        raise CatalogError(f"{source}: {first}{more}")


def shown(value: object, limit: int = 60) -> str:
    """Return a value as it may stand in a message: quoted, on one line, bounded."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value):,} characters)"
    text = repr(value)
    return text if len(text) <= limit + 2 else text[:limit] + "..."
