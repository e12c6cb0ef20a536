"""Kill long work at random moments, 200 times, and look whether anything was lost.

    python benchmarks/kills.py [--kills 40] [--seed 0] [--only embed,upsert] [--out kills.json]

Five kinds of work, each killed so many times by SIGKILL and started again: `embed` into shards,
small upserts and deletes, `optimize`, building and swapping in a sidecar, `neighbors`. Each is a
sequence of steps that a seed decides. A worker tells of a step before it begins and once it has
ended; it is killed within a step, after as many as chance says. Then another process looks: every
file must be readable, all that was acknowledged be there, and nothing that was not written. In the
end the result is compared with that of a run that nothing disturbed.

Workers are forks of this process, which has imported everything and started no thread, so that a
kill costs a fraction of a second. What a kill leaves behind and nobody names (hidden temporary
files) is no file of the result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("LANCE_LOG", "error")
warnings.simplefilter("ignore")  # lancedb tells every fork that it is one

import lancedb  # noqa: E402, F401
import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from measuring import options, put, told  # noqa: E402
from PIL import Image  # noqa: E402

from tgqformer.catalog.items import Item  # noqa: E402
from tgqformer.embedder import ItemEmbedder  # noqa: E402
from tgqformer.presets import load_preset  # noqa: E402
from tgqformer.retrieval.embeddings import Embeddings, read_embeddings  # noqa: E402
from tgqformer.retrieval.filters import Metadata  # noqa: E402
from tgqformer.retrieval.local import LocalIndex, optimize  # noqa: E402
from tgqformer.retrieval.neighbour_table import read_neighbours, write_neighbours  # noqa: E402
from tgqformer.retrieval.sidecar import read_manifest  # noqa: E402
from tgqformer.retrieval.store import LanceStore  # noqa: E402
from tgqformer.scale.pipeline import Pipeline  # noqa: E402
from tgqformer.scale.shards import ShardJob, ShardOptions, embed_shards  # noqa: E402

DIMS, POOL = 8, 60
OPEN_ENDED = 10**9

Steps = Iterator[int]
"""The work itself: yields a step's number before it begins, and again once it is acknowledged."""


class Work:
    """One kind of work in a folder.

    Attributes:
        total: how many steps there are before the last one, which ends the work; OPEN_ENDED where
            it goes on for as long as it is killed.
    """

    name = ""
    total = OPEN_ENDED

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed

    def prepare(self) -> None:
        """Make what the work starts from."""

    def steps(self, first: int) -> Steps:
        """Do the steps from `first` on."""
        raise NotImplementedError

    def meant(self, step: int) -> bool:
        """Whether the worker may be killed in this step."""
        return True

    def check(self, done: int, begun: int) -> None:
        """Raise AssertionError where not all of the first `done` steps is there, or more than
        the first `begun`."""
        raise NotImplementedError

    def result(self) -> Any:
        """What the work came to, to be compared."""
        raise NotImplementedError


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
        LanceStore.build(self.root, [], dims=DIMS)

    def plan(self, step: int) -> tuple[str, list[int]]:
        """What step number `step` does, and to which items."""
        rng = random.Random(f"{self.seed} {step}")
        items = rng.sample(range(POOL), rng.randint(1, 6))
        if self.also and step % 2:
            return self.also[step // 2 % len(self.also)], items
        return ("delete" if step and rng.random() < 0.3 else "upsert"), items

    def steps(self, first: int) -> Steps:
        store = LanceStore(self.root)
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
                optimize(store)
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
        known = index.store.metadata(index.mirror.ids())
        for item in index.mirror.ids():
            values = index.mirror.vectors([item])[0]
            step = found[item] = int(values[1])
            assert (values == vector(int(item), step)).all(), f"item {item} is mixed of two writes"
            assert known[item].price == step, f"item {item} has metadata of another write"
        states = self.state(done), self.state(begun)
        assert found in states, f"rows {found} are neither {states[0]} nor {states[1]}"
        made = read_manifest(self.root)
        if made is not None and (made.table, made.version) == index.store.newest():
            assert index.sidecar is not None, index.sidecar_refused
            near = index.sidecar.candidates(index.mirror.vectors(index.mirror.ids()[:1]), 3)
            assert set(near[0]) <= set(found), "the sidecar names what is not there"

    def result(self) -> Any:
        index = LocalIndex(self.root)
        ids = index.mirror.ids()
        known = index.store.metadata(ids)
        return [(i, v.tolist(), known[i].price) for i, v in zip(ids, index.mirror.vectors(ids))]


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


# -- killing -------------------------------------------------------------------------------------

_pipe = -1


def tell(event: str, step: int) -> None:
    """Tell the process that kills of a step."""
    if _pipe >= 0:
        os.write(_pipe, f"{event} {step}\n".encode())


def run(work: Work, first: int, until: int = OPEN_ENDED) -> None:
    """Do the steps from `first` to `until`, telling of each."""
    for step in work.steps(first):
        if step >= until:
            return
        tell("start", step)


def forked(what: Callable[[], Any]) -> tuple[int, int]:
    """Run `what` in a fork; return its process id, and what it tells."""
    global _pipe
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _pipe = write
        try:
            what()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(write)
    return child, read


def in_fork(what: Callable[[], Any]) -> Any:
    """What a fork returns, by way of JSON."""

    def answer() -> None:
        data = json.dumps(what()).encode()
        while data:
            data = data[os.write(_pipe, data) :]

    child, read = forked(answer)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    if os.waitpid(child, 0)[1]:
        sys.exit("a check failed; see above")
    return json.loads(data)


class Killer:
    """Kills one kind of work again and again, and looks after each time."""

    def __init__(self, work: Work, rng: random.Random) -> None:
        self.work, self.rng = work, rng
        self.done = 0  # steps acknowledged
        self.begun = 0  # steps begun by the worker that was killed last
        self.ended = False
        self.step_seconds = [0.05]

    def kill(self) -> bool:
        """Start the work and kill it; False where it came to its end before that."""
        first, wanted = self.done, self.done + self.rng.randint(0, 4)
        child, read = forked(lambda: run(self.work, first))
        began = time.monotonic()
        with os.fdopen(read) as lines:
            for line in lines:
                event, step = line.split()
                now = time.monotonic()
                if event == "done":
                    self.done = max(self.done, int(step) + 1)
                    self.step_seconds += [now - began] * self.work.meant(int(step))
                    continue
                began, self.begun = now, int(step) + 1
                if int(step) >= wanted and self.work.meant(int(step)):
                    # then at some moment of about one more step, however slow this machine is
                    usual = statistics.median(self.step_seconds[-15:])
                    time.sleep(self.rng.uniform(0, 1.5) * usual)
                    os.kill(child, signal.SIGKILL)
                    break
            for line in lines:  # what it could tell before it died
                event, _, step = line.strip().partition(" ")
                if event == "done" and line.endswith("\n"):
                    self.done = max(self.done, int(step) + 1)
                elif event == "start" and line.endswith("\n"):
                    self.begun = max(self.begun, int(step) + 1)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            return True
        assert status == 0, "the worker failed by itself"
        self.ended = True
        return False

    def look(self) -> None:
        done, begun = self.done, max(self.begun, self.done)
        in_fork(lambda: self.work.check(min(done, self.work.total), begun))


def killed(kind: type[Work], kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill one kind of work so many times; its figures."""
    rng = random.Random(f"{kind.name} {seed}")
    counted = acknowledged = runs = 0
    start = time.monotonic()
    while counted < kills:
        work = kind(folder / f"{kind.name}-{runs}", seed + runs)
        work.root.mkdir()
        in_fork(work.prepare)
        killer = Killer(work, rng)
        while counted < kills and not killer.ended:
            counted += killer.kill()
            killer.look()
        finish(killer)
        acknowledged += killer.done
        compare(killer, folder / f"{kind.name}-{runs}-unbroken")
        runs += 1
    seconds = round(time.monotonic() - start, 1)
    told(f"{kind.name}: {counted} kills over {acknowledged} steps in {seconds:.0f} s")
    return {"kills": counted, "acknowledged_steps": acknowledged, "runs": runs, "seconds": seconds}


def finish(killer: Killer) -> None:
    """Let the work come to its end, or stop it where it has none."""
    if killer.work.total < OPEN_ENDED:
        to_the_end(killer.work, killer.done)
        killer.done = killer.work.total
    else:
        to_the_end(killer.work, killer.done, killer.done + 1)
        killer.done += 1


def to_the_end(work: Work, first: int, until: int = OPEN_ENDED) -> None:
    """Do the steps from `first` on with nobody who disturbs."""
    child, read = forked(lambda: run(work, first, until))
    with os.fdopen(read) as lines:
        lines.read()
    assert os.waitpid(child, 0)[1] == 0, "work that nobody disturbed failed"


def compare(killer: Killer, folder: Path) -> None:
    """The result beside that of an unbroken run."""
    work = killer.work
    unbroken = type(work)(folder, work.seed)
    folder.mkdir()
    in_fork(unbroken.prepare)
    to_the_end(unbroken, 0, killer.done if work.total == OPEN_ENDED else OPEN_ENDED)
    own, other = in_fork(work.result), in_fork(unbroken.result)
    assert own == other, f"{work.name}: {own} is not what an unbroken run gives, {other}"


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
