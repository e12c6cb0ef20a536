"""What feeds have in common: offers, of which some are variants of one product.

A size or colour of a product is an offer of its own, with its own price and stock. As items, either
all variants are one, or each is one and they carry their group (label `item_group_id`): training
then takes no variant for a negative of another, and neighbours of the same product can be left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tgqformer.catalog.catalog import GROUP, Catalog
from tgqformer.catalog.columns import text_column
from tgqformer.catalog.frames import read_source
from tgqformer.catalog.importers.parts import PhotosById, finish
from tgqformer.catalog.item_rules import price_fault
from tgqformer.catalog.quarantine import CLEARED, REPAIRED, Quarantine, shown
from tgqformer.catalog.tables import Table, rows_table
from tgqformer.catalog.text import STOCK
from tgqformer.catalog.values import Decimal, is_missing, read_price, read_stock
from tgqformer.errors import CatalogError, ConfigError

Variants: TypeAlias = Literal["one-item", "group"]
"""What becomes of the variants of a product: one item, or items of one group."""

VARIANTS: tuple[Variants, ...] = ("one-item", "group")


@dataclass(slots=True)
class Offer:
    """A row of a feed: a product, or one variant of it.

    Attributes:
        row: its number in the source.
        item_id: its own id.
        group: the id that its product's variants share, "" where it is alone.
        title, brand, category: text, tags and entities as the feed has them.
        price, stock: as the feed has them.
        attributes: name to value.
        images: photos at hand: paths, addresses of stores, bytes.
        links: of photos that are to be downloaded, best first.
        labels: what else is kept, never shown to a model.
    """

    row: int
    item_id: str
    group: str = ""
    title: str = ""
    brand: str = ""
    category: Any = ""
    price: Any = None
    stock: Any = None
    attributes: dict[str, str] = field(default_factory=dict)
    images: list[Any] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)


def check_variants(variants: str | None) -> None:
    """Raise ConfigError where the option is none of VARIANTS."""
    if variants is not None and variants not in VARIANTS:
        raise ConfigError(f"variants is {variants!r}; use one of {', '.join(VARIANTS)}.")


Read: TypeAlias = "tuple[list[Offer], list[str]]"
"""A feed's offers, in its order, and its columns that nothing reads."""


def feed_importer(
    name: str, read: Callable[[Path, Variants, Quarantine], Read], usual: Variants, about: str
) -> Callable[..., Catalog]:
    """Return an importer of one kind of feed; what all of them share is documented here.

    Args:
        name: what the kind is called in Python.
        read: reads the feed.
        usual: what becomes of the variants unless the caller says.
        about: the importer's docstring, which says what its fields become.
    """

    def import_feed(
        source: Path,
        out: Path,
        *,
        variants: Variants = usual,
        images: Path | None = None,
        decimal: Decimal | None = None,
        strict: bool = False,
    ) -> Catalog:
        check_variants(variants)
        quarantine = Quarantine()
        offers, unread = read(source, variants, quarantine)
        tables = offer_tables(offers, variants, quarantine, decimal)
        photos = PhotosById(images)
        photos.add_to(tables["items"], quarantine)
        return finish(tables, out, quarantine, sources=[source], strict=strict, unread=unread)

    import_feed.__name__ = import_feed.__qualname__ = f"import_{name}"
    import_feed.__doc__ = f"""{about}

    Photos are not downloaded: their links are kept in the labels (column `image_urls`), for
    `tgqformer download-images`.

    Args:
        source: the file of the feed.
        out: the catalog's folder, which is written.
        variants: "one-item": the variants of a product are one item, with all photos and values and
            the lowest price; or "group": each is an item, and they carry their group.
        images: a folder with photos named by the items' ids, which are taken: ``<id>.jpg``,
            ``<id>_1.jpg``, or in folders of that name.
        decimal: "point" or "comma", what stands before the fraction in prices that have two
            readings (1.299).
        strict: raise on the first rejection.

    Raises:
        CatalogError: the file cannot be read, is no such feed, or no item is left of it.
        ConfigError: an option breaks its rule.
    """
    return import_feed


def offer_tables(
    offers: Iterable[Offer],
    variants: Variants | None,
    quarantine: Quarantine,
    decimal: Decimal | None = None,
) -> dict[str, Table]:
    """Return the tables of items and labels; with "one-item" the variants of a group are joined."""
    known = list(offers)
    for offer in known:
        _read_values(offer, quarantine, decimal)
    if variants == "one-item":
        known = _joined(known, quarantine)
    items = (
        (
            offer.row,
            {
                "item_id": offer.item_id,
                "title": offer.title,
                "brand": offer.brand,
                "category": offer.category,
                "attributes": offer.attributes,
                "price": offer.price,
                "images": offer.images,
            },
        )
        for offer in known
    )
    tables = {"items": rows_table(items, "items", quarantine)}
    names = list(dict.fromkeys(name for offer in known for name in offer.labels))
    labels: dict[str, dict[str, Any]] = {}
    for offer in known:
        own: dict[str, Any] = {"item_id": offer.item_id, "image_urls": offer.links}
        if variants == "group":
            own[GROUP] = offer.group or None
        own.update({name: offer.labels.get(name) for name in names})
        labels.setdefault(offer.item_id, own)
    tables["labels"] = rows_table(enumerate(labels.values(), start=1), "labels", quarantine)
    return tables


def _read_values(offer: Offer, quarantine: Quarantine, decimal: Decimal | None) -> None:
    """Read price and stock; what cannot be read is told here, with the row that it stands in."""
    price = read_price(offer.price, decimal=decimal)
    amount = price.amount
    if price.fault is not None:
        action = CLEARED if amount is None else REPAIRED
        quarantine.add("items", offer.row, offer.item_id, "price", *price.fault, action)
    if amount is not None and not (math.isfinite(amount) and amount >= 0):
        reason = price_fault(amount)
        quarantine.add("items", offer.row, offer.item_id, "price", "bad price", reason, CLEARED)
        amount = None
    offer.price = amount
    sale = offer.labels.get("sale_price")
    if not is_missing(sale) and sale != "":
        told = read_price(sale, decimal=decimal)
        offer.labels["sale_price"] = told.amount
        if told.amount is None and told.fault is not None:
            quarantine.add("items", offer.row, offer.item_id, "sale price", *told.fault, CLEARED)
    add_stock(offer.attributes, offer.stock, offer.row, offer.item_id, quarantine)


def add_stock(
    attributes: dict[str, str], value: Any, row: int, item_id: str, quarantine: Quarantine
) -> None:
    """Put the stock that a cell tells among an item's attributes; report what tells none."""
    stock = read_stock(value)
    if stock is not None:
        attributes[STOCK] = "true" if stock else "false"
    elif not is_missing(value) and str(value).strip():
        reason = (
            f"{shown(value)} tells no stock; write in_stock or out_of_stock, yes or no, or a number"
        )
        quarantine.add("items", row, item_id, "stock", "no stock", reason, CLEARED)


def _joined(offers: Sequence[Offer], quarantine: Quarantine) -> list[Offer]:
    """Join the offers of each group: first texts, lowest price, all photos, all values."""
    groups: dict[str, list[Offer]] = {}
    result: list[Offer | str] = []
    for offer in offers:
        if not offer.group:
            result.append(offer)
            continue
        if offer.group not in groups:
            result.append(offer.group)
        groups.setdefault(offer.group, []).append(offer)
    return [one if isinstance(one, Offer) else _join(one, groups[one]) for one in result]


def _join(group: str, offers: Sequence[Offer]) -> Offer:
    def first(name: str) -> Any:
        return next((told for offer in offers if (told := getattr(offer, name))), "")

    values: dict[str, dict[str, None]] = {}
    for offer in offers:
        for name, value in offer.attributes.items():
            values.setdefault(name, {})[value] = None
    attributes = {name: ", ".join(told) for name, told in values.items()}
    if STOCK in values:
        attributes[STOCK] = "true" if "true" in values[STOCK] else "false"
    prices = [offer.price for offer in offers if offer.price is not None]
    labels: dict[str, Any] = {}
    for offer in offers:
        for name, value in offer.labels.items():
            labels[name] = value if is_missing(labels.get(name)) else labels[name]
    if sales := [told for o in offers if (told := o.labels.get("sale_price")) is not None]:
        labels["sale_price"] = min(sales)
    labels["variant_ids"] = [offer.item_id for offer in offers if offer.item_id != group] or None
    return Offer(
        offers[0].row,
        group,
        title=first("title"),
        brand=first("brand"),
        category=first("category"),
        price=min(prices, default=None),
        attributes=attributes,
        images=_each_once(photo for offer in offers for photo in offer.images),
        links=_each_once(link for offer in offers for link in offer.links),
        labels=labels,
    )


def _each_once(things: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    seen: set[Any] = set()
    for thing in things:
        key = thing if isinstance(thing, (str, bytes)) else id(thing)
        if key not in seen:
            seen.add(key)
            result.append(thing)
    return result


# --- rows of a feed -----------------------------------------------------------------------------


def feed_name(name: str) -> str:
    """Return a column's name without case, namespace, spaces and signs: ``g:Image Link`` is
    ``imagelink``, and so is ``image_link [image link]``."""
    bare = re.sub(r"^(?:[a-z][\w.-]{0,15}:|\{[^}]*\})(?=\S)|\s*\[.*\]$", "", name.strip().lower())
    return "".join(sign for sign in bare if sign.isalnum())


Rows: TypeAlias = "list[tuple[int, dict[str, str]]]"
"""Each row's number, and its texts by our names of the feed's columns."""


def open_feed(
    source: Path | Table,
    what: str,
    known: Mapping[str, Sequence[str]],
    needed: Mapping[str, Sequence[str]],
    quarantine: Quarantine,
) -> tuple[Rows, list[str]]:
    """Return the rows of a feed, and its columns that nothing reads.

    Args:
        source: its file, or it as read.
        what: the feed, for the sentence on a table that is none.
        known: a name of ours to the feed's names for it, as feed_name writes them, the first that
            the table has counting.
        needed: a column without which it is no such feed, as the feed calls it, to such names.
        quarantine: takes what cannot be read as text.

    Raises:
        CatalogError: the file cannot be read, or is no such feed.
    """
    table = source if isinstance(source, Table) else read_source(source, "items", quarantine)
    columns = {feed_name(column): column for column in reversed(table.columns)}
    for name, others in needed.items():
        if columns.keys().isdisjoint(others) and (columns or isinstance(source, Path)):
            told = ", ".join(table.columns) or "none"
            raise CatalogError(
                f"The file is no {what}: it has no column {name!r} (found: {told}); `tgqformer "
                "import table` reads any table by a map of its columns."
            )
    chosen = {
        name: columns[found]
        for name, names in known.items()
        if (found := next((told for told in names if told in columns), None)) is not None
    }
    texts = {
        name: text_column(table, column, quarantine).to_list() for name, column in chosen.items()
    }
    rows = [
        (row, {name: values[place].strip() for name, values in texts.items()})
        for place, row in enumerate(table.rows.tolist())
    ]
    return rows, [column for column in table.columns if column not in chosen.values()]


def deepest(categories: Sequence[str]) -> str:
    """Return the category with the most levels, the first of several."""
    told = [" > ".join(part.strip() for part in c.split(">") if part.strip()) for c in categories]
    return max(told, key=lambda path: path.count(">"), default="")
