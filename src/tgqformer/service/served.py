"""A model by its name: what embeds, where its vectors are stored, and what is known of its items.

Its methods block; `context.py` calls them from workers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Embedder, ImageRef, Item, Vectors
from tgqformer.errors import StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.neighbour_table import BlendedTable
from tgqformer.retrieval.protocols import Details, Filter, Record, VectorStore
from tgqformer.retrieval.scores import truncate
from tgqformer.service.explanation import Explainer, Explanation


@dataclass(frozen=True)
class Query:
    """A search: either stored ids with weights, or a vector [D].

    Attributes:
        exclude_self: leave `ids` out of the answers.
        blend: of one id: the neighbours of the blended table lead.
    """

    k: int
    ids: tuple[tuple[str, float], ...] = ()
    vector: Vectors | None = None
    where: Filter = field(default_factory=Filter)
    exclude_self: bool = True
    blend: bool = False


@dataclass(frozen=True)
class Found:
    """A search's answer; `neighbours` is None where the weights cancel each other out.

    Attributes:
        blended: those of the neighbours that come from the blended table.
        weight: what co-engagement counts in them; None where the table does not hold the query.
    """

    neighbours: list[Neighbour] | None
    unknown: list[str] = field(default_factory=list)
    blended: frozenset[str] = frozenset()
    weight: float | None = None


@dataclass(frozen=True)
class Change:
    """A write.

    Attributes:
        put: what to store; None deletes, unless there are `fields`.
        must_exist: do nothing where the item is not there (any more).
        fields: of the metadata, to set where the item is there; all else of it stays.
        read: what the item was when `put` was worked out from it; where it is another by now, by
            another process's write, nothing is done.
    """

    item_id: str
    put: Record | None = None
    must_exist: bool = False
    fields: Mapping[str, Any] | None = None
    read: Record | None = None


class Served:
    """A model and its store.

    Args:
        name: by which requests call it.
        embedder: turns items into vectors; wider ones than the store's are cut to its width.
        index: the store.
        catalog: where photos and attributes of items are that did not come by the API.
        explainer: says why; None where the model has none.
        blend: neighbours by co-engagement and content, for searches that ask for them.
    """

    def __init__(
        self,
        name: str,
        embedder: Embedder,
        index: VectorStore,
        *,
        catalog: Catalog | None = None,
        explainer: Explainer | None = None,
        blend: BlendedTable | None = None,
    ) -> None:
        self.name = name
        self.embedder = embedder
        self.index = index
        self.catalog = catalog
        self.explainer = explainer
        self.blend = blend
        self.created = int(time.time())

    def encode(self, items: list[Item]) -> list[Vectors]:
        """Embed items: a float32 [D] for each."""
        vectors = np.asarray(self.embedder.encode(items), dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise StorageError("the model gave a vector that is not finite; train it again.")
        return list(truncate(vectors, self.index.dims))

    def search(self, queries: list[Query]) -> list[Found]:
        """Answer searches, those with the same filter in one go."""
        found: list[Found] = [Found([]) for _ in queries]
        groups: dict[Filter, list[tuple[int, Vectors, frozenset[str]]]] = {}
        for position, query in enumerate(queries):
            if query.blend:
                found[position] = self._blended(query)
                continue
            vector, unknown = self._vector(query)
            if vector is None:
                known = len(query.ids) > len(unknown)
                found[position] = Found(None if known else [], unknown)
                continue
            own = frozenset(name for name, _ in query.ids) if query.exclude_self else frozenset()
            groups.setdefault(query.where, []).append((position, vector, own))
            found[position] = Found([], unknown)
        for where, members in groups.items():
            k = max(queries[position].k + len(own) for position, _, own in members)
            vectors = np.stack([vector for _, vector, _ in members])
            answers = self.index.search(vectors, k, where or None)
            for (position, _, own), answer in zip(members, answers):
                others = [n for n in answer if n.item_id not in own][: queries[position].k]
                found[position] = Found(others, found[position].unknown)
        return found

    def _blended(self, query: Query) -> Found:
        """The table's neighbours of an item, then those of content, all under one set of rules.

        What is no longer stored or does not pass the filter is left out of the table's; content
        gives way to the table's own rules too.
        """
        assert self.blend is not None
        table, [(name, _)] = self.blend, query.ids
        plain = replace(query, blend=False)
        if name not in table or not self.index.vectors([name])[0]:
            return self.search([plain])[0]
        listed = table.neighbours(name)
        known = self.index.metadata([n.item_id for n in listed])
        led = [n for n in listed if n.item_id in known and query.where.matches(known[n.item_id])]
        taken = {name, *(n.item_id for n in led)}
        own: list[Neighbour] = []
        rest: list[Neighbour] = []
        reach = query.k + len(led) + 1
        while len(led) < query.k or not query.exclude_self:
            near = self.search([replace(plain, k=reach)])[0].neighbours or []
            own = [n for n in near if n.item_id == name]
            allowed = table.allows(name, [n.item_id for n in near])
            rest = [n for n, may in zip(near, allowed) if may and n.item_id not in taken]
            if len(led) + len(rest) >= query.k or len(near) < reach:
                break
            reach *= 4
        best = [*own, *led, *rest][: query.k]
        blended = frozenset(n.item_id for n in led)
        return Found(best, [], blended, float(table.weights[table.row[name]]))

    def apply(self, changes: list[Change]) -> list[bool | None]:
        """Do writes, in order and durably; for each, whether the item was there before.

        None where it was there, but not as it had been `read`.
        """
        with self.index.writing():  # nobody else writes between what is read here and written
            asked = [change.item_id for change in changes]
            kept = self.index.records(asked)
            there: dict[str, bool] = {}
            puts: dict[str, Record] = {}
            deletes: dict[str, None] = {}
            known: list[bool | None] = []
            for change in changes:
                name, put = change.item_id, change.put
                before = there.get(name, name in kept)
                now = (puts.get(name) or kept.get(name)) if before else None
                if change.fields is not None:
                    before = now is not None
                    put = now and _with(now, change.fields)
                if before and change.read and not _same(now, change.read):
                    known.append(None)
                    continue
                known.append(before)
                if not before and (change.must_exist or put is None):
                    continue
                there[name] = put is not None
                if put is None:
                    puts.pop(name, None)
                    deletes[name] = None
                else:
                    deletes.pop(name, None)
                    puts[name] = put
            if puts:
                vectors = np.stack([put.vector for put in puts.values()])
                metadata = [put.metadata for put in puts.values()]
                details = [put.details for put in puts.values()]
                self.index.upsert(list(puts), vectors, metadata, details)
            if deletes:
                self.index.delete(list(deletes))
        return known

    def details(self, item_id: str) -> tuple[dict[str, str], tuple[ImageRef, ...]] | None:
        """Attributes and photos of an item; None where nobody told them."""
        record = self.index.details(item_id)
        if record is not None:
            return dict(record.attributes), record.images
        row = None if self.catalog is None else self.catalog.index.get(item_id)
        if self.catalog is None or row is None:
            return None
        item = self.catalog[row]
        return dict(item.attributes), item.images

    def item(self, item_id: str) -> Item | None:
        """A stored item with all that is known of it; None where it is not stored."""
        known = self.index.metadata([item_id]).get(item_id)
        if known is None:
            return None
        attributes, images = self.details(item_id) or ({}, ())
        return Item(
            item_id, known.title, known.brand, known.category, attributes, known.price, images
        )

    def explain(self, pairs: list[tuple[Item, Item | None]]) -> list[Explanation]:
        """Explain items, and their similarity to others."""
        if self.explainer is None:
            raise AssertionError("the route asks first")
        return [self.explainer.explain(item, other) for item, other in pairs]

    def close(self) -> None:
        """Let go of files."""
        self.index.close()

    def _vector(self, query: Query) -> tuple[Vectors | None, list[str]]:
        """What to search with, None where there is nothing; and the ids that are not stored."""
        if query.vector is not None:
            return query.vector, []
        here, vectors = self.index.vectors([name for name, _ in query.ids])
        there = set(here)
        unknown = [name for name, _ in query.ids if name not in there]
        known = [(name, weight) for name, weight in query.ids if name in there]
        if not known:
            return None, unknown
        weights = np.array([weight for _, weight in known], dtype=np.float64)
        total = weights @ vectors.astype(np.float64)
        length = float(np.linalg.norm(total))
        if len(known) == 1 and known[0][1] == 1.0:
            return total.astype(np.float32), unknown
        if length <= 1e-6 * float(np.abs(weights).sum()):
            return None, unknown
        return (total / length).astype(np.float32), unknown


def _with(put: Record, fields: Mapping[str, Any]) -> Record:
    return replace(put, metadata=replace(put.metadata, **fields))


def _same(put: Record | None, read: Record) -> bool:
    return (
        put is not None
        and put.metadata == read.metadata
        and np.array_equal(put.vector, read.vector)
    )


def details_of(attributes: dict[str, str], images: Sequence[bytes]) -> Details:
    """Details of what a request told."""
    return Details(attributes, tuple(images))
