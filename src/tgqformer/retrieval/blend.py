"""Co-engagement and content in one score: where an item has history, what goes with it leads.

    score(q, j) = w(n) c(q, j) + (1 - w(n)) v(q, j),    w(n) = n / (n + k)

c is how strongly j is co-engaged with q (0 where it never was), v the cosine of their vectors and n
how often q was seen. The weight is that of a mean of n observations against a prior worth k of
them: content is what is believed of an item before anybody has looked at it. An item that was never
seen has content alone.

c is sparse, so the best of the sum are found exactly among the best by content and all that are
co-engaged: a catalog of any size is worked off as `neighbours.py` does.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tgqformer.errors import ConfigError
from tgqformer.retrieval.neighbours import Rules
from tgqformer.retrieval.scores import Rows, Vectors, as_vectors, inner_products, unit


class Blend:
    """Scores of N items by co-engagement and content.

    Args:
        vectors: [N, D], taken by their direction.
        together: scipy CSR [N, N], at least 0, without a diagonal: how strongly row and column are
            co-engaged.
        seen: [N], how often each item was seen.
        prior: k above, over 0: at so many observations both count alike.

    Raises:
        ConfigError: an argument breaks its rule.
    """

    def __init__(
        self, vectors: Vectors, together: Any, seen: Rows, prior: float, *, name: str = "blend"
    ) -> None:
        self.vectors = unit(as_vectors(vectors))
        self.together, self.seen, self.prior, self.name = together, seen, prior, name
        count = len(self.vectors)
        if not prior > 0:
            raise ConfigError(f"prior is {prior}, but must be over 0.")
        if together.shape != (count, count) or len(seen) != count:
            raise ConfigError(
                f"{count} vectors came with co-engagement of {together.shape} and {len(seen)} "
                "counts, but all three must be of the same items."
            )
        if together.nnz and together.data.min() < 0:
            raise ConfigError(
                f"a co-engagement is {together.data.min():.3g}, but must be at least 0."
            )
        self.weights = weight(seen, prior)

    def scores(self, queries: Rows) -> Vectors:
        """Score the items at `queries` [m] against all: float32 [m, N]."""
        share = self.weights[queries, None]
        content = inner_products(self.vectors[queries], self.vectors).astype(np.float64)
        mixed = share * self.together[queries].toarray() + (1 - share) * content
        found: Vectors = mixed.astype(np.float32)
        return found

    def rerank(
        self, rows: Rows, scores: Vectors, neighbours: Rows, rules: Rules
    ) -> tuple[Vectors, Rows]:
        """The best by the blend, out of the best by content.

        Args:
            rows: [n], whose neighbours they are.
            scores, neighbours: [n, k] the nearest by content under `rules`, -inf and -1 where there
                are fewer.

        Returns:
            The same by the blend, best first, equal scores in row order.
        """
        k = neighbours.shape[1]
        best = np.full((len(rows), k), -np.inf, dtype=np.float32)
        found = np.full((len(rows), k), -1, dtype=np.int64)
        for place, row in enumerate(rows.tolist()):
            near = neighbours[place][neighbours[place] >= 0]
            start, stop = self.together.indptr[row : row + 2]
            engaged = self.together.indices[start:stop].astype(np.int64)
            candidates = np.union1d(near, engaged[rules.allow(row, engaged)])
            mixed = self._some(row, candidates)
            order = np.lexsort((candidates, -mixed))[:k]
            best[place, : len(order)], found[place, : len(order)] = mixed[order], candidates[order]
        return best, found

    def digest(self) -> str:
        """Equal for equal co-engagement, counts and prior."""
        digest = hashlib.blake2b(f"{self.prior!r}".encode(), digest_size=16)
        table = self.together
        for part in (table.indptr, table.indices, table.data, self.seen):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def _some(self, row: int, candidates: Rows) -> Vectors:
        """Scores of some candidates of one row, as `scores` has them."""
        content = inner_products(self.vectors[row : row + 1], self.vectors[candidates])[0]
        engaged = np.asarray(self.together[[row]][:, candidates].toarray())[0]
        share = self.weights[row]
        mixed: Vectors = (share * engaged + (1 - share) * content.astype(np.float64)).astype(
            np.float32
        )
        return mixed


def weight(seen: Any, prior: float) -> Any:
    """What co-engagement counts of an item that was seen n times: n / (n + prior), in 0..1."""
    counts = np.asarray(seen, dtype=np.float64)
    return counts / (counts + prior)
