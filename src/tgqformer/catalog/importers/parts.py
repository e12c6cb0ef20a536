"""What several importers need: prices, photos by id, co-purchases by number, and the ending."""

from __future__ import annotations

import os
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import polars as pl

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.quarantine import REPAIRED, Quarantine
from tgqformer.catalog.splits import split_cold, split_random
from tgqformer.catalog.tables import Table, UnreadColumn, find_table
from tgqformer.catalog.values import Decimal, plain_text, read_price
from tgqformer.errors import CatalogError, ConfigError

T = TypeVar("T")
Split: TypeAlias = Literal["random", "cold", "none"]

_PHOTO_SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif", ".tif", ".tiff", ".jp2",
}  # fmt: skip
_NUMBERED = re.compile(r"(.+?)(?:[_ -]|[_ -]?\()(\d{1,3})\)?")


def amount(value: Any, decimal: Decimal | None = "point") -> Any:
    """Return the number in a price; what `read_price` has something to say of stays as it is.

    So the catalog's rules say it, once and with the row. `decimal` is the mark that the source is
    known to write before a fraction.
    """
    told = read_price(value, decimal=decimal)
    return told.amount if told.fault is None else value


def plain(value: Any) -> str:
    """Return text on one line without HTML tags and entities, "" for what is no text."""
    return " ".join(plain_text(value).split()) if isinstance(value, str) else ""


def strings(value: Any) -> list[str]:
    """Return the texts of a list that may be missing, or of another type."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, (list, tuple)):
        return []
    return [part for part in value if isinstance(part, str) and part]


def read_entry(
    read: Callable[[dict[str, Any]], T], entry: dict[str, Any], number: int, quarantine: Quarantine
) -> T | None:
    """Return what `read` makes of a source's row; None, and a rejection, where it cannot.

    Readers go by the types that their data set has. A row with others, a list for an id say, is
    bad data and no reason to end the import.
    """
    try:
        return read(entry)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        quarantine.add(
            "items",
            number,
            None,
            "row",
            "wrong types",
            f"the row holds a value of a type that its data set does not have "
            f"({type(error).__name__}: {error}); correct or remove it",
        )
        return None


def photos_by_stem(folder: Path | None) -> dict[str, Path]:
    """Return the pictures of a folder by their names without suffix.

    Raises:
        CatalogError: the folder is given and is not there.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise CatalogError(f"{folder} is no folder; name the one that holds the photos.")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    root = folder.absolute()
    paths = (root / name for name in names)
    return {path.stem: path for path in paths if path.suffix.lower() in _PHOTO_SUFFIXES}


class PhotosById:
    """The pictures of a folder by the ids of their items: ``<id>.jpg``, ``<id>_2.jpg``, ``<id>/``.

    Numbered ones may have ``_``, ``-``, a blank or brackets before the number; signs of an id that
    no file name has (``/``) may be ``_`` or ``-`` in it.
    """

    def __init__(self, folder: Path | None) -> None:
        """Look through a folder and those in it.

        Raises:
            CatalogError: the folder is given and is not there.
        """
        self._folder = folder
        self._whole: dict[str, list[Path]] = {}
        self._numbered: dict[str, list[tuple[int, Path]]] = {}
        self._count = 0
        if folder is None:
            return
        for stem, path in photos_by_stem(folder).items():
            self._put(stem, path)
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            held = photos_by_stem(inner)
            ordered = sorted(held.items(), key=lambda pair: (_last_number(pair[0]), pair[0]))
            self._whole.setdefault(inner.name, []).extend(path for _, path in ordered)
            self._count += len(held)

    def _put(self, stem: str, path: Path) -> None:
        self._count += 1
        self._whole.setdefault(stem, []).append(path)
        if (found := _NUMBERED.fullmatch(stem)) is not None:
            self._numbered.setdefault(found[1], []).append((int(found[2]), path))

    def of(self, item_id: str, known: Container[str] = ()) -> list[Path]:
        """Return an item's photos, in their order.

        Args:
            item_id: the item's id.
            known: all ids: a file named by another one, ``A_1``, is no photo of ``A``.
        """
        result: list[Path] = []
        for name in dict.fromkeys((item_id, *(re.sub(r"[\\/:*?\"<>|]", c, item_id) for c in "_-"))):
            result += self._whole.get(name, ())
            numbered = sorted(self._numbered.get(name, ()))
            result += [path for _, path in numbered if path.stem not in known]
        return list(dict.fromkeys(result))

    def add_to(self, items: Table, quarantine: Quarantine) -> None:
        """Put the photos before those that the items have; pictures of no item are told."""
        if self._folder is None or "item_id" not in items.columns:
            return
        ids = [str(item_id) for item_id in items.columns["item_id"]]
        known = set(ids)
        found = [self.of(item_id, known) for item_id in ids]
        own = items.columns.get("images") or [[] for _ in ids]
        items.columns["images"] = [[*map(str, one), *two] for one, two in zip(found, own)]
        left = self._count - len({path for paths in found for path in paths})
        if left:
            quarantine.add(
                "items", 0, None, "images", "photo of no item",
                f"{left:,} of {self._count:,} pictures in {self._folder} are named by the id of no "
                "item, and are not read; name them <id>.jpg or <id>_1.jpg", REPAIRED,
            )  # fmt: skip


def _last_number(stem: str) -> int:
    found = re.search(r"(\d{1,9})\D*$", stem)
    return int(found[1]) if found else -1


class Links:
    """Pairs by number, two integers and a weight each: catalogs have tens of millions of them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._queries = array("q")
        self._targets = array("q")
        self._weights = array("d")

    def add(self, query: str, targets: Iterable[str], weight: float = 1.0) -> None:
        """Record that an item leads to others; weights of the same pair are added up."""
        number = self._number(query)
        for target in targets:
            if target != query:
                self._queries.append(number)
                self._targets.append(self._number(target))
                self._weights.append(weight)

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def table(self, known: Iterable[str], quarantine: Quarantine) -> Table:
        """Return the pairs between known items as a table.

        Shops link to far more products than one file holds, so the rest is one rejection in all.
        """
        ids = pl.Series("id", list(self._numbers), dtype=pl.String)
        inside = np.zeros(len(ids), dtype=np.bool_)
        inside[[self._numbers[name] for name in known if name in self._numbers]] = True
        query = np.frombuffer(self._queries, dtype=np.int64) if self._queries else _none(np.int64)
        target = np.frombuffer(self._targets, dtype=np.int64) if self._targets else _none(np.int64)
        weight = np.frombuffer(self._weights) if self._weights else _none(np.float64)
        keep = inside[query] & inside[target]
        if lost := int((~keep).sum()):
            quarantine.add(
                "pairs",
                0,
                None,
                "target_id",
                "names no item",
                f"{lost:,} of {len(keep):,} pairs name products that the source does not hold; "
                "import the neighbouring categories together to keep them",
            )
        frame = (
            pl.DataFrame({"query": query[keep], "target": target[keep], "weight": weight[keep]})
            .group_by("query", "target", maintain_order=True)
            .agg(pl.col("weight").sum())
        )
        columns: dict[str, pl.Series | list[Any]] = {
            "query_id": ids.gather(frame["query"]),
            "target_id": ids.gather(frame["target"]),
            "weight": frame["weight"],
        }
        return Table("pairs", np.arange(1, frame.height + 1, dtype=np.int64), columns)


def _none(dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.zeros(0, dtype=dtype)


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How an import splits its pairs.

    Attributes:
        by: "random" (by query), "cold" (by item) or "none" (the splits that the pairs name).
        val, test: the shares of queries or items, see splits.py.
        seed: equal seeds give equal splits.
    """

    by: Split = "none"
    val: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("random", "cold", "none"):
            raise ConfigError(f"{self.by!r} is no split; use 'random', 'cold' or 'none'.")

    def apply(self, catalog: Catalog, *, progress: bool = False) -> Catalog:
        """Return the catalog with its pairs split.

        Raises:
            ConfigError: the shares are no shares.
        """
        if self.by == "none":
            return catalog
        split = split_random if self.by == "random" else split_cold
        return split(catalog, val=self.val, test=self.test, seed=self.seed, progress=progress)


def finish(
    tables: Mapping[str, Table],
    out: Path,
    quarantine: Quarantine,
    *,
    root: Path | None = None,
    sources: Sequence[Path] = (),
    split: SplitOptions = SplitOptions(),
    strict: bool = False,
    progress: bool = False,
    unread: Sequence[str | UnreadColumn] = (),
) -> Catalog:
    """Build the catalog, split its pairs and write it; return it with all that was left out.

    Args:
        tables, root, quarantine, strict, progress: as for Catalog.from_tables.
        out: the catalog's folder. Tables that an earlier import wrote there are replaced.
        sources: the files that the tables were read from, where these may lie in `out`.
        split: how its pairs are split.
        unread: the source's columns that nothing reads.

    Raises:
        CatalogError: no item is left, or a table in `out` would be lost.
        CatalogError, ConfigError, StorageError: as those that it calls.
    """
    catalog = Catalog.from_tables(tables, root, quarantine, strict=strict)
    if not catalog.items:
        where = f"{sources[0]} gave" if sources else "The source gave"
        why = f": {quarantine.summary()}, the first {next(iter(quarantine))}" if quarantine else ""
        raise CatalogError(
            f"{where} no item, so nothing was written{why.rstrip('.')}; see that it is what this "
            "import reads."
        )
    catalog = split.apply(catalog, progress=progress)
    _keep_others(catalog, out, sources)
    catalog.save(out)
    written = Catalog.load(out)  # whose photos are those in the folder
    written.quarantine = catalog.quarantine
    written.unread = [
        UnreadColumn("items", told, "") if isinstance(told, str) else told for told in unread
    ]
    return written


def _keep_others(catalog: Catalog, out: Path, sources: Sequence[Path]) -> None:
    """Raise CatalogError where a table in `out` is none that this import may replace.

    Importers write Parquet: a table in another format is somebody's own, as is the source, and one
    of which the import brings none, such as pairs out of a log.
    """
    brought = {
        "items": True,
        "pairs": catalog.pair_table.height > 0,
        "labels": catalog.labels is not None,
    }
    for name, replaced in brought.items():
        old = find_table(out, name)
        if old is None:
            continue
        own = replaced and old.is_file() and old.suffix == ".parquet"
        if not own or any(old.samefile(source) for source in sources):
            raise CatalogError(
                f"{old} would be lost by an import into {out}; rename it or move it away, or "
                "import into another folder."
            )


# -- groups ----------------------------------------------------------------------------------------
# Pairs for data sets that have none: items that agree in what is known of them (ours).
#
# A stand-in for co-engagement, and no more: two products of one model line, or of one type, gender
# and colour. What makes the groups should be hidden from the model, or it has only to be read off.


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
