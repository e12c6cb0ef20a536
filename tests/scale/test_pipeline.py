"""Laws of the pipeline: workers and batches change nothing, memory is bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tgqformer.catalog.items import Item
from tgqformer.errors import ModelError, StorageError
from tgqformer.scale import pipeline as pipeline_module
from tgqformer.scale.pipeline import (
    BatchEncoder,
    Pipeline,
    ShardVectors,
    check_finite,
    resolve_compute,
)
from tgqformer.towers.encoding import ItemPhotos, PhotoReader, without_network


def vectors_of(pipeline: Pipeline, items: list[Item], shard: int = 1000) -> np.ndarray:
    shards = [(n, items[n * shard : (n + 1) * shard]) for n in range(-(-len(items) // shard))]
    made = [x for x in pipeline.run(shards, len(items)) if isinstance(x, ShardVectors)]
    assert [x.number for x in made] == list(range(len(shards)))
    return np.concatenate([x.vectors for x in made])


@pytest.mark.parametrize("batch_size", [1, 64])
def test_equals_encode_at_every_batch_size(embedder, items, batch_size):
    pipeline = Pipeline(embedder, batch_size=batch_size, workers=0, compute="float32")
    np.testing.assert_allclose(
        vectors_of(pipeline, items), embedder.encode(items, errors="ignore"), atol=2e-5
    )


def test_several_photos_and_items_with_nothing(make, items):
    embedder = make(max_images=3)
    photos = items[0].images + items[2].images + items[4].images
    both = [Item("three", images=photos), Item("none"), *items[:3]]
    both.append(Item("turned", images=photos[::-1]))
    pipeline = Pipeline(embedder, workers=0, compute="float32")
    found = vectors_of(pipeline, both)
    np.testing.assert_allclose(found, embedder.encode(both), atol=2e-5)
    assert np.array_equal(found[0], found[-1])
    only = [Item("none")]
    np.testing.assert_allclose(vectors_of(pipeline, only), embedder.encode(only), atol=2e-5)


@pytest.mark.slow
def test_processes_give_the_bytes_that_threads_give(embedder, items):
    threads, processes = (
        vectors_of(Pipeline(embedder, batch_size=16, workers=w, compute="float32"), items)
        for w in (0, 1)
    )
    np.testing.assert_array_equal(threads, processes)


def test_a_worker_gets_no_network(embedder):
    shell = without_network(embedder.features.image_tower)
    assert not any(isinstance(value, torch.nn.Module) for value in vars(shell).values())
    assert hasattr(embedder.features.image_tower, "module")


def test_a_worker_that_dies_is_one_sentence():
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    dead: Future[list[ItemPhotos]] = Future()
    dead.set_exception(BrokenProcessPool("killed"))
    with pytest.raises(StorageError, match="fewer --workers"):
        PhotoReader.collect([dead])


@pytest.mark.parametrize("times", [1, 4])
def test_what_is_held_does_not_grow_with_the_catalog(embedder, items, monkeypatch, times):
    """Batches that are read and not yet computed, and states kept for photos that come again."""
    monkeypatch.setattr(pipeline_module, "KEPT_BYTES", 6 * 2 * 16 * 32)  # six photos
    catalog = [replace(i, item_id=f"{i.item_id}-{n}") for n in range(times) for i in items]
    held, most, kept = 0, 0, 0
    submit, run = PhotoReader.submit, BatchEncoder.run

    def count_in(self, items):
        nonlocal held, most
        held += 1
        most = max(most, held)
        return submit(self, items)

    def count_out(self, staged):
        nonlocal held, kept
        held -= 1
        kept = max(kept, len(self._seen))
        return run(self, staged)

    monkeypatch.setattr(PhotoReader, "submit", count_in)
    monkeypatch.setattr(BatchEncoder, "run", count_out)
    pipeline = Pipeline(embedder, batch_size=8, workers=0, compute="float32")
    vectors = vectors_of(pipeline, catalog, shard=60)
    np.testing.assert_array_equal(vectors[:60], vectors[-60:])
    assert held == 0
    assert most <= 6
    assert kept == 6


def test_bfloat16_stays_near(embedder, items):
    exact = embedder.encode(items, errors="ignore")
    near = vectors_of(Pipeline(embedder, workers=0, compute="bfloat16"), items)
    assert np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    assert (near * exact).sum(axis=1).min() > 0.99
    assert resolve_compute("float32", torch.device("cuda")) == torch.float32
    assert resolve_compute("auto", torch.device("cuda")) == torch.bfloat16


def test_a_vector_that_is_not_finite_is_an_error():
    with pytest.raises(ModelError, match="NaN"):
        check_finite(torch.tensor([[1.0, float("nan")]]))
