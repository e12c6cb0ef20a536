"""Kill long work at random moments, 200 times, and look whether anything was lost.

    python benchmarks/kills.py [--kills 40] [--seed 0] [--only embed,upsert] [--out kills.json]

Five kinds of work, each killed so many times by SIGKILL and started again: `embed` into shards,
small upserts and deletes, `optimize`, building and swapping in a sidecar, `neighbors`. Each is a
sequence of steps that a seed decides. `killing.py` kills a worker within a step. Then another
process looks: every file must be readable, all that was acknowledged be there, and nothing that was
not written. In the end the result is compared with that of a run that nothing disturbed. What a
kill leaves behind and nobody names (hidden temporary files) is no file of the result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
import pyarrow.parquet as pq
import torch
from killing import OPEN_ENDED, Steps, Work, killed, tell
from measuring import options, put
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.embedder import ItemEmbedder
from tgqformer.presets import load_preset
from tgqformer.retrieval.ann import read_manifest
from tgqformer.retrieval.embeddings import Embeddings, read_embeddings
from tgqformer.retrieval.neighbour_table import read_neighbours, write_neighbours
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store
from tgqformer.scale.pipeline import Pipeline
from tgqformer.scale.shards import ShardJob, ShardOptions, embed_shards

DIMS, POOL = 8, 60
# -- embed ---------------------------------------------------------------------------------------


class Embed(Work):
    """A catalog into shards; a step is a shard."""

    name = "embed"
    shard, batch, count = 6, 3, 48
    embedder: ItemEmbedder

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.total = self.count // self.shard
        self.items = [Item(f"i{n}", title=f"number {n}", images=(photo(n),)) for n in range(48)]

    def job(self) -> ShardJob:
        options = ShardOptions(
            compute="float32", batch_size=self.batch, shard_size=self.shard, precision="int8"
        )
        return ShardJob(self.embedder, self.items, str(self.root), model="m", options=options)

    def steps(self, first: int) -> Steps:
        job = self.job()
        pipeline = Pipeline(self.embedder, batch_size=self.batch, workers=0, compute="float32")
        numbers = iter(job.begin())
        yield next(numbers, self.total)
        write = job.write

        def noted(made: Any) -> None:
            write(made)
            tell("done", made.number)
            tell("start", next(numbers, self.total))

        job.write = noted  # type: ignore[method-assign]
        for _ in embed_shards(job, pipeline):
            pass

    def check(self, done: int, begun: int) -> None:
        there = sorted(self.root.glob("shard-*.parquet"))
        assert len(there) >= done, f"{len(there)} shards of {done} that were acknowledged"
        for path in there:
            rows = pq.ParquetFile(path).read()
            assert rows.num_rows == self.shard, f"{path.name} has {rows.num_rows} rows"
        if (self.root / "manifest.json").exists():
            json.loads((self.root / "manifest.json").read_text())

    def result(self) -> Any:
        read_embeddings(self.root)
        return digests(self.root)


def photo(number: int) -> bytes:
    coarse = np.random.default_rng(number // 2).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((48, 40)).save(out, "JPEG")
    return out.getvalue()


# -- the store -----------------------------------------------------------------------------------


class Upsert(Work):
    """Small upserts and deletes; a step is one of them.

    Attributes:
        also: what every other step does, in turn; then the worker is killed in these.
    """

    name = "upsert"
    also: tuple[str, ...] = ()

    def meant(self, step: int) -> bool:
        return not self.also or step % 2 == 1

    def prepare(self) -> None:
        Store.build(self.root, [], dims=DIMS)

    def plan(self, step: int) -> tuple[str, list[int]]:
        """What step number `step` does, and to which items."""
        rng = random.Random(f"{self.seed} {step}")
        items = rng.sample(range(POOL), rng.randint(1, 6))
        if self.also and step % 2:
            return self.also[step // 2 % len(self.also)], items
        return ("delete" if step and rng.random() < 0.3 else "upsert"), items

    def steps(self, first: int) -> Steps:
        store = Store(self.root)
        for step in range(first, OPEN_ENDED):
            kind, items = self.plan(step)
            yield step
            ids = [str(item) for item in items]
            if kind == "upsert":
                rows = np.stack([vector(item, step) for item in items])
                store.upsert(ids, rows, [Metadata(price=step)] * len(ids))
            elif kind == "delete":
                store.delete(ids)
            elif kind == "optimize":
                store.optimize()
            elif len(store):
                LocalIndex(self.root, sidecar=False).build_sidecar(kind, queries=2)  # type: ignore[arg-type]
            tell("done", step)

    def state(self, steps: int) -> dict[str, int]:
        """Item to the step that wrote it, after so many steps."""
        state: dict[str, int] = {}
        for step in range(steps):
            kind, items = self.plan(step)
            for item in map(str, items):
                if kind == "upsert":
                    state[item] = step
                elif kind == "delete":
                    state.pop(item, None)
        return state

    def check(self, done: int, begun: int) -> None:
        index = LocalIndex(self.root)
        found = {}
        ids = index.flat.ids()
        known = index.metadata(ids)
        for item, values in zip(*index.vectors(ids)):
            step = found[item] = int(values[1])
            assert (values == vector(int(item), step)).all(), f"item {item} is mixed of two writes"
            assert known[item].price == step, f"item {item} has metadata of another write"
        states = self.state(done), self.state(begun)
        assert found in states, f"rows {found} are neither {states[0]} nor {states[1]}"
        made = read_manifest(index.state())
        if made is not None and found:
            assert index.ann is not None, index.ann_refused
            asked = index.vectors(ids[:1])[1]
            near, exact = (index.search(asked, 3, exact=exact)[0] for exact in (False, True))
            assert [n.score for n in near] == [n.score for n in exact], "the sidecar differs"

    def result(self) -> Any:
        index = LocalIndex(self.root)
        ids = index.flat.ids()
        known = index.metadata(ids)
        return [(i, v.tolist(), known[i].price) for i, v in zip(*index.vectors(ids))]


class Optimize(Upsert):
    """Every other step tidies the store up."""

    name, also = "optimize", ("optimize",)


class Sidecar(Upsert):
    """Every other step builds a sidecar and swaps it in."""

    name, also = "sidecar", ("hnsw", "ivf")


def vector(item: int, step: int) -> np.ndarray:
    return np.array([item, step, 1, -1, item * step % 7, 2, 3, 4], dtype=np.float32)


# -- neighbours ----------------------------------------------------------------------------------


class Neighbors(Work):
    """The table of all neighbours; a step is a block."""

    name = "neighbors"
    block, count, k = 32, 320, 10

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.total = self.count // self.block
        drawn = np.random.default_rng(seed).standard_normal((self.count, 64), dtype=np.float32)
        self.embeddings = Embeddings([f"i{n}" for n in range(self.count)], drawn)

    @property
    def table(self) -> Path:
        return self.root / "table.parquet"

    def steps(self, first: int) -> Steps:
        yield first
        for done, _ in write_neighbours(self.embeddings, self.table, self.k, block=self.block):
            if done:
                tell("done", done - 1)
                yield done

    def check(self, done: int, begun: int) -> None:
        if self.table.exists():
            assert len(read_neighbours(self.table).ids) == self.count
            return
        told_of = self.root / ".table.parquet.work" / "done"
        kept = told_of.read_text().count(";") if told_of.exists() else 0
        assert kept >= done, f"{kept} blocks of {done} that were acknowledged"

    def result(self) -> Any:
        return digests(self.root)


def digests(folder: Path) -> dict[str, str]:
    """Of every file that is no temporary one."""
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


KINDS: tuple[type[Work], ...] = (Embed, Upsert, Optimize, Sidecar, Neighbors)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds of work, with commas between")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = replace(load_preset("tiny").embedder, max_images=1)
    Embed.embedder = ItemEmbedder.from_config(config, device="cpu")
    names = [name for name in asked.only.split(",") if name]
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in KINDS:
            if not names or kind.name in names:
                figures[kind.name] = killed(kind, asked.kills, asked.seed, Path(name))
    kills = sum(found["kills"] for found in figures.values())
    put({"seed": asked.seed, "kills": kills, "lost": 0, "work": figures}, asked.out)


if __name__ == "__main__":
    main()
