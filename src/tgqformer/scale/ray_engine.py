"""The same shards by many machines: Ray Data actors, each with a model of its own.

An actor loads the run once and makes whole shards of the job, which it writes itself; what goes
through Ray are shard numbers. Ray starts an actor or machine that died anew and gives its shard to
another; and a job that was stopped goes on like any other.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tgqformer.errors import MissingDependencyError, TGQFormerError
from tgqformer.scale.pipeline import Pipeline, ShardVectors
from tgqformer.scale.shards import ShardJob

if TYPE_CHECKING:
    from tgqformer.catalog.items import Item


def embed_with_ray(
    job: ShardJob,
    run: Path,
    cache: Path | None,
    *,
    actors: int,
    workers: int | None = None,
    compile: bool = False,
) -> Iterator[int]:
    """Do what is left of a job on a Ray cluster, and finish it.

    Ray takes the cluster's address from RAY_ADDRESS, and starts one on this machine where there is
    none; give that machine a logical CPU more than actors (`ray.init(num_cpus=...)`). Run, catalog
    and photos must lie at the same paths on all machines.

    Args:
        run: the run's folder, which every actor loads.
        actors: how many; each takes one CPU, and one GPU where the cluster has any.
        workers: processes that decode, for each actor; None: threads.

    Yields:
        Items done, shard by shard; first those that an earlier start has done.

    Raises:
        MissingDependencyError: Ray is not installed.
        TGQFormerError: Ray does not start.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            "--engine ray needs Ray; run pip install 'tgqformer[ray]'."
        ) from error
    todo = job.begin()
    left = sum(job.size(number) for number in todo)
    yield job.manifest.items - left
    if todo:
        if not ray.is_initialized():
            _start(ray, actors)
        resources: dict[str, float] = ray.cluster_resources()
        gpus = 1 if resources.get("GPU", 0) >= actors else 0
        options = {
            "batch_size": job.options.batch_size,
            "workers": workers or 0,
            "compute": job.options.compute,
            "compile": compile,
        }
        made = ray.data.from_items(
            [{"number": number} for number in todo], override_num_blocks=len(todo)
        ).map_batches(
            _Actor,
            fn_constructor_args=(_without_model(job), run.resolve(), cache, options),
            batch_size=1,
            num_cpus=1,
            num_gpus=gpus,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(todo))),
        )
        for row in made.iter_rows():
            yield int(row["items"])
    job.finish()


def _start(ray: Any, actors: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine."""
    # readers need a logical CPU beside the actors, or they would wait for each other for ever
    own: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        own = {"num_cpus": actors + 1, "include_dashboard": False}
    try:
        ray.init(**own, log_to_driver=False)
    except Exception as error:  # whatever Ray raises where its processes do not answer in time
        told = " ".join(str(error).split())[:160]
        raise TGQFormerError(
            f"Ray did not start ({told}); see that the machine is not overloaded and that "
            "RAY_ADDRESS, if set, names a cluster, or leave --engine ray out."
        ) from error


class _Actor:
    """One worker: a model, and a job whose shards it makes."""

    def __init__(
        self, job: ShardJob, run: Path, cache: Path | None, options: dict[str, Any]
    ) -> None:
        from tgqformer.embedder import ItemEmbedder

        self.job = job
        embedder = ItemEmbedder.from_pretrained(run, cache_dir=cache)
        self.pipeline = Pipeline(embedder, **options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        counts = [self._make(int(number)) for number in batch["number"]]
        return {"items": np.asarray(counts, dtype=np.int64)}

    def _make(self, number: int) -> int:
        items: list[Item] = self.job.shard(number)
        for made in self.pipeline.run([(number, items)], len(items)):
            if isinstance(made, ShardVectors):
                self.job.write(made)
        return len(items)


def _without_model(job: ShardJob) -> ShardJob:
    """The job as it goes to the actors, who load the model themselves."""
    light = copy.copy(job)
    del light.embedder
    return light
