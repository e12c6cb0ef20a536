"""Metadata of the mirror's rows as arrays, so that a filter over a million items takes moments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tgqformer.retrieval.filters import SEPARATOR, Filter, Metadata

_UNKNOWN = -1
_LEVEL_ENDS = re.compile(rf"(?={re.escape(SEPARATOR)}|\Z)")  # looks ahead: separators may overlap
_Scalar = TypeVar("_Scalar", bound=np.generic)


class _Coded:
    """Texts of few different values, as numbers."""

    def __init__(self) -> None:
        self.codes = np.empty(0, dtype=np.int32)
        self.values: list[str] = []
        self._code: dict[str, int] = {}

    def code(self, text: str) -> int:
        code = self._code.setdefault(text, len(self.values))
        if code == len(self.values):
            self.values.append(text)
        return code

    def among(self, count: int, wanted: Callable[[str], bool]) -> npt.NDArray[np.bool_]:
        admitted = np.array([wanted(value) for value in self.values], dtype=np.bool_)
        return admitted[self.codes[:count]] if count else np.zeros(0, dtype=np.bool_)


class MetadataColumns:
    """Brand, category, price and stock of rows 0, 1, ...; titles are left to the store."""

    def __init__(self) -> None:
        self._brands, self._categories = _Coded(), _Coded()
        self._prices = np.empty(0, dtype=np.float64)  # NaN: unknown
        self._stock = np.empty(0, dtype=np.int8)

    def reserve(self, capacity: int) -> None:
        """Make room for rows up to `capacity`; what is there stays."""
        self._brands.codes = grown(self._brands.codes, capacity)
        self._categories.codes = grown(self._categories.codes, capacity)
        self._prices = grown(self._prices, capacity)
        self._stock = grown(self._stock, capacity)

    def put(self, rows: npt.NDArray[np.int64], metadata: Sequence[Metadata]) -> None:
        """Set the metadata of `rows`, which must have been reserved."""
        self._brands.codes[rows] = [self._brands.code(m.brand) for m in metadata]
        self._categories.codes[rows] = [self._categories.code(m.category) for m in metadata]
        self._prices[rows] = [np.nan if m.price is None else m.price for m in metadata]
        self._stock[rows] = [_UNKNOWN if m.in_stock is None else m.in_stock for m in metadata]

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        for column in (self._brands.codes, self._categories.codes, self._prices, self._stock):
            column[target] = column[source]

    def admitted(self, where: Filter, count: int) -> npt.NDArray[np.int64]:
        """Which of the first `count` rows pass the filter, in order."""
        mask = np.ones(count, dtype=np.bool_)
        if where.categories:
            categories = frozenset(where.categories)
            mask &= self._categories.among(
                count, lambda c: not categories.isdisjoint(_with_ancestors(c))
            )
        if where.brands:
            brands = frozenset(where.brands)
            mask &= self._brands.among(count, lambda brand: brand in brands)
        if where.in_stock is not None:
            mask &= self._stock[:count] == where.in_stock
        # NaN, an unknown price, compares as false.
        if where.min_price is not None:
            mask &= self._prices[:count] >= where.min_price
        if where.max_price is not None:
            mask &= self._prices[:count] <= where.max_price
        return np.flatnonzero(mask)


def _with_ancestors(category: str) -> list[str]:
    """All that `is_below` finds a category below: itself, and what stands before a separator."""
    return [category[: end.start()] for end in _LEVEL_ENDS.finditer(category)]


def grown(array: npt.NDArray[_Scalar], capacity: int) -> npt.NDArray[_Scalar]:
    """A copy of `array` with `capacity` rows, or the array itself where it has as many."""
    if capacity <= len(array):
        return array
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
