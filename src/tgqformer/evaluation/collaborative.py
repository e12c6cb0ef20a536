"""Collaborative references: what a shop has without content, from who looked at what with what.

All three learn from one matrix X [S, N] of S sessions by N items, 1 where a session holds an item.
A log's sessions are its users' (or their visits); where only the training pairs are known, each
query with its targets is a session.

- Popularity: the number of sessions that hold an item, whatever is asked.
- Item-to-item cosine (Sarwar et al., "Item-based collaborative filtering recommendation
  algorithms", WWW 2001; Linden, Smith and York, "Amazon.com recommendations", 2003): the co-view
  table, `G_ij / sqrt(G_ii G_jj)` with `G = X'X`.
- EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019): `B = -P / diag(P)`
  with `P = (G + regularisation I)^-1` and no diagonal; a query is a session of one item, so its
  scores are a row of B.

None of them knows an item that no session holds: as a query it has equal scores for all (popularity
aside), and the figures are those of guessing (`metrics.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.sessions import user_items
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.evaluation.evaluate import training_partners
from tgqformer.evaluation.metrics import Scorer
from tgqformer.retrieval.scores import Rows, Vectors, blocks

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

EASE_ITEMS = 20_000
"""EASE inverts a matrix of items by items: 3.2 GB in float64 for so many."""
REGULARISATION = 500.0
"""The paper's, on MovieLens 20M."""
MOST_ENGAGED = 500


@dataclass(frozen=True)
class Engagement:
    """Which items were engaged with together.

    Attributes:
        matrix: scipy CSR float64 [S, N], 1 where a session holds an item of the catalog.
        seen: [N], how often each item was seen: in how many sessions of the log with another item,
            or beside how many different items in the training pairs.
        source: "log" or "pairs".
        left_out: events of the log that name no item of the catalog.
    """

    matrix: Any
    seen: Rows
    source: str
    left_out: int = 0

    @classmethod
    def from_pairs(cls, catalog: Catalog) -> Engagement:
        """Take each query of the training pairs, with its targets, as a session.

        Raises:
            CatalogError: there are no training pairs.
        """
        catalog.require_pairs("train")
        query, target, _ = catalog.pair_indices("train")
        sessions, number = np.unique(query, return_inverse=True)
        matrix = _matrix(
            np.concatenate([number, np.arange(len(sessions))]),
            np.concatenate([target, sessions]),
            (len(sessions), len(catalog.items)),
        )
        return cls(matrix, training_partners(catalog), "pairs")

    @classmethod
    def from_log(
        cls, log: pl.DataFrame, catalog: Catalog, *, max_items_per_user: int = 100
    ) -> Engagement:
        """Take each user (or session) of a log.

        The log must end where the split that is asked for begins: `shared_with` counts what it
        knows of the answers.

        Args:
            log: columns user, item and time, as `catalog.logs.read_log` gives them.
            max_items_per_user: of a user's items only the latest count.

        Raises:
            CatalogError: a column is missing, or no user has two items of the catalog.
        """
        known = log.filter(pl.col("item").cast(pl.String).is_in(list(catalog.index)))
        events = user_items(known, max_items_per_user)
        events = events.filter(pl.len().over("u") > 1)
        if events.is_empty():
            raise CatalogError(
                f"no user of the log has two items of the catalog ({len(log):,} events, "
                f"{len(log) - len(known):,} of them name no item of it); give the log of this shop."
            )
        items = events["item"].replace_strict(catalog.index, return_dtype=pl.Int64).to_numpy()
        users = events["u"].rank("dense").cast(pl.Int64).to_numpy() - 1
        matrix = _matrix(users, items, (int(users.max()) + 1, len(catalog.items)))
        seen = np.bincount(items, minlength=len(catalog.items)).astype(np.int64)
        return cls(matrix, seen, "log", len(log) - len(known))

    def cosine(self, items: Rows) -> Any:
        """Item-to-item cosine of some items [n] with all, without their own: scipy CSR [n, N]."""
        import scipy.sparse

        scale = 1 / np.sqrt(np.maximum(self.counts, 1))
        together = (self.matrix[:, items].T @ self.matrix).tocoo()  # whole numbers: equal ones tie
        rows, columns, values = together.row, together.col, together.data
        other = items[rows] != columns
        rows, columns, values = rows[other], columns[other], values[other]
        values = values * (scale[items][rows] * scale[columns])
        return scipy.sparse.coo_array((values, (rows, columns)), shape=together.shape).tocsr()

    @cached_property
    def counts(self) -> npt.NDArray[np.float64]:
        """[N], how many sessions hold each item."""
        found: npt.NDArray[np.float64] = np.asarray(self.matrix.sum(axis=0)).ravel()
        return found

    def shared_with(self, catalog: Catalog, split: str) -> tuple[int, int]:
        """How many of a split's pairs stand together in a session, and how many pairs there are."""
        query, target, _ = catalog.pair_indices(split)
        columns = self.matrix.tocsc()
        common = sum(
            columns[:, query[a:b]].multiply(columns[:, target[a:b]]).sum(axis=0).astype(bool).sum()
            for a, b in blocks(len(query), 4096)
        )
        return int(common), len(query)


class Popularity:
    """Every query gets the items of most sessions."""

    name = "popularity"

    def __init__(self, engagement: Engagement) -> None:
        self.counts = engagement.counts.astype(np.float32)

    def scores(self, queries: Rows) -> Vectors:
        """The same for every query: float32 [m, N]."""
        return np.tile(self.counts, (len(queries), 1))


class ItemCosine:
    """The co-view table: item-to-item cosine over sessions."""

    name = "item-to-item cosine"

    def __init__(self, engagement: Engagement) -> None:
        self.engagement = engagement

    def scores(self, queries: Rows) -> Vectors:
        """In 0..1, 0 without a common session: float32 [m, N]."""
        dense: Vectors = self.engagement.cosine(queries).toarray().astype(np.float32)
        return dense


class Ease:
    """EASE over sessions; memory grows with the square of the items that were seen.

    Args:
        regularisation: over 0; strong for few sessions.

    Raises:
        ConfigError: more items were seen than `EASE_ITEMS`, or an option breaks its rule.
    """

    name = "EASE"

    def __init__(self, engagement: Engagement, regularisation: float = REGULARISATION) -> None:
        import scipy.linalg

        if not regularisation > 0:
            raise ConfigError(f"regularisation is {regularisation}, but must be over 0.")
        self.place = np.full(len(engagement.counts), -1, dtype=np.int64)
        (known,) = np.nonzero(engagement.counts)
        if len(known) > EASE_ITEMS:
            raise ConfigError(
                f"EASE inverts a matrix of items by items, and {len(known):,} items were seen, but "
                f"{EASE_ITEMS:,} are the most; take item-to-item cosine, or a part of the catalog."
            )
        self.place[known] = np.arange(len(known))
        self.known = known
        columns = engagement.matrix[:, known]
        gram = (columns.T @ columns).toarray(order="F")
        gram[np.diag_indices_from(gram)] += regularisation
        factor, _ = scipy.linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1)
        inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        diagonal = inverse.diagonal().copy()
        weights = np.tril(inverse).astype(np.float32)
        weights += np.tril(weights, -1).T
        weights /= -diagonal.astype(np.float32)
        np.fill_diagonal(weights, 0)
        self.weights: Vectors = weights

    def scores(self, queries: Rows) -> Vectors:
        """Rows of B, 0 for what was never seen: float32 [m, N]."""
        found: Vectors = np.zeros((len(queries), len(self.place)), dtype=np.float32)
        asked = self.place[queries]
        (there,) = np.nonzero(asked >= 0)
        found[np.ix_(there, self.known)] = self.weights[asked[there]]
        return found


REFERENCES: dict[str, Callable[[Engagement], Scorer]] = {
    "popularity": Popularity,
    "item_cosine": ItemCosine,
    "ease": Ease,
}
"""The references by name, in the order of tables."""


def co_engaged(engagement: Engagement, by: str = "item_cosine", most: int = MOST_ENGAGED) -> Any:
    """How strongly items are co-engaged, for a blend: scipy CSR [N, N], over 0, no diagonal.

    Args:
        by: "item_cosine", or "ease" with what is over 0 there, scaled so that the strongest of an
            item is 1 on average: its weights shrink with the regularisation.
        most: so many of an item's strongest are kept, of equal ones the first.

    Raises:
        ConfigError: as `Ease`, or `by` is unknown.
    """
    import scipy.sparse

    if by not in ("item_cosine", "ease"):
        raise ConfigError(f"co-engagement is told by {by!r}, but must be 'item_cosine' or 'ease'.")
    items = len(engagement.counts)
    ease = Ease(engagement) if by == "ease" else None
    parts = []
    for start, stop in blocks(items, 1024):
        rows = np.arange(start, stop)
        part = (
            engagement.cosine(rows) if ease is None else scipy.sparse.csr_array(ease.scores(rows))
        )
        parts.append(_strongest(part, most))
    if not parts:
        return engagement.cosine(np.arange(0))
    table = scipy.sparse.vstack(parts, format="csr")
    if ease is not None and table.nnz:
        strongest = table.max(axis=1).toarray()
        table.data /= strongest[strongest > 0].mean()
    return table


def _strongest(table: Any, most: int) -> Any:
    """The largest values over 0 of each row of a CSR table."""
    import scipy.sparse

    part = table.tocoo()
    there = part.data > 0
    rows, columns, values = part.row[there], part.col[there], part.data[there]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < most
    found = scipy.sparse.coo_array(
        (values[kept].astype(np.float64), (rows[kept], columns[kept])), shape=table.shape
    )
    return found.tocsr()


def _matrix(sessions: Rows, items: Rows, shape: tuple[int, int]) -> Any:
    import scipy.sparse

    ones = np.ones(len(items))
    found = scipy.sparse.coo_array((ones, (sessions, items)), shape=shape).tocsr()
    found.data[:] = 1  # an item that a session holds twice counts once
    return found
