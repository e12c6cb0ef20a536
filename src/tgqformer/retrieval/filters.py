"""What a store knows of an item beside its vector, and which items a search may answer with.

A filter is made of values, never of text in a query language: what a shopper types can only be
compared with, not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tgqformer.errors import ConfigError

SEPARATOR = " > "
"""Between the levels of a category, from broad to narrow, as catalogs write it."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Attributes of one stored item; "" and None stand for unknown.

    Attributes:
        title: shown beside answers, never filtered by.
        brand: exactly as the catalog writes it.
        category: a path from broad to narrow, ``"Home > Lighting > Lamp"``.
        price: in the shop's currency; finite.
        in_stock: whether it can be bought now.
    """

    title: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None
    in_stock: bool | None = None

    def __post_init__(self) -> None:
        if self.price is not None and not math.isfinite(self.price):
            raise ConfigError(f"price is {self.price}, but must be a finite number or None.")


@dataclass(frozen=True, slots=True)
class Filter:
    """Items that meet every condition given; an empty condition lets all pass.

    An unknown price lies in no range, and an item of unknown stock is neither in stock nor out.

    Attributes:
        categories: in one of these or below it: ``"Home"`` admits ``"Home > Lighting"``, not
            ``"Homeware"``.
        brands: one of these, exactly.
        min_price: inclusive.
        max_price: inclusive.
        in_stock: True or False for items known to be so; None for all.
    """

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool | None = None

    def __post_init__(self) -> None:
        for name in ("min_price", "max_price"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"{name} is {value}, but must be a finite number or None.")

    def __bool__(self) -> bool:
        return self != Filter()

    def matches(self, item: Metadata) -> bool:
        """The definition that every store's own filter must agree with."""
        if self.categories and not any(is_below(item.category, c) for c in self.categories):
            return False
        if self.brands and item.brand not in self.brands:
            return False
        if self.in_stock is not None and item.in_stock is not self.in_stock:
            return False
        if self.min_price is None and self.max_price is None:
            return True
        low = -math.inf if self.min_price is None else self.min_price
        high = math.inf if self.max_price is None else self.max_price
        return item.price is not None and low <= item.price <= high

    def to_sql(self) -> str:
        """The same as a condition for LanceDB, every text in it quoted; "" where all pass."""
        conditions = []
        if self.categories:
            parts = [
                f"category = {quoted(c)} OR starts_with(category, {quoted(c + SEPARATOR)})"
                for c in self.categories
            ]
            conditions.append(f"({' OR '.join(parts)})")
        if self.brands:
            conditions.append(f"brand IN ({', '.join(map(quoted, self.brands))})")
        if self.min_price is not None:
            conditions.append(f"price >= {float(self.min_price)!r}")
        if self.max_price is not None:
            conditions.append(f"price <= {float(self.max_price)!r}")
        if self.in_stock is not None:
            conditions.append("in_stock" if self.in_stock else "NOT in_stock")
        return " AND ".join(conditions)


def is_below(category: str, ancestor: str) -> bool:
    """Whether a category is `ancestor` or lies below it."""
    return category == ancestor or category.startswith(ancestor + SEPARATOR)


def ancestors(category: str) -> list[str]:
    """A category and all above it, broadest first: ``["Home", "Home > Lighting"]``."""
    levels = category.split(SEPARATOR)
    return [SEPARATOR.join(levels[: depth + 1]) for depth in range(len(levels))]


def quoted(text: str) -> str:
    """`text` as an SQL literal: quotes doubled, the one escape that standard SQL has."""
    return "'" + text.replace("'", "''") + "'"


def stock_of(attributes: Mapping[str, str]) -> bool | None:
    """Whether an item's attribute ``in_stock`` says that it can be bought; None where unclear."""
    said = attributes.get("in_stock", "").strip().lower()
    if said in ("true", "yes", "1"):
        return True
    return False if said in ("false", "no", "0") else None
