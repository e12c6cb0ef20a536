"""Laws of shards: they are the whole, a kill changes nothing, changes alone are embedded."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tgqformer.errors import ConfigError, MissingDependencyError, StorageError
from tgqformer.retrieval.embeddings import read_embeddings
from tgqformer.scale.folder import Folder, read_manifest
from tgqformer.scale.pipeline import Pipeline
from tgqformer.scale.shards import ShardJob, ShardOptions, embed_shards

SMALL = ShardOptions(compute="float32", batch_size=8, shard_size=16)


def job_of(embedder, items, out, options=SMALL, **more) -> ShardJob:
    return ShardJob(embedder, items, str(out), model="m", run="r", options=options, **more)


def pipeline_of(embedder, **options) -> Pipeline:
    return Pipeline(embedder, batch_size=8, workers=0, compute="float32", **options)


def embed(embedder, items, out, options=SMALL, **more):
    job = job_of(embedder, items, out, options, **more)
    done = list(embed_shards(job, pipeline_of(embedder)))
    assert sum(done) == job.manifest.items
    return job.manifest


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_shards_are_the_whole(embedder, items, tmp_path):
    manifest = embed(embedder, items, tmp_path / "out")
    stored = read_embeddings(tmp_path / "out")
    assert stored.ids == [item.item_id for item in items]
    np.testing.assert_allclose(
        stored.as_float32(), embedder.encode(items, errors="ignore"), atol=2e-5
    )
    assert [shard["items"] for shard in manifest.shards] == [16, 16, 16, 12]
    assert stored.metadata["model"] == "m"


def test_the_token_cache_gives_the_same(make, embedder, items, tmp_path):
    cached = make(cache_dir=tmp_path / "cache")
    manifest = embed(cached, items, tmp_path / "out")
    calls = cached.features.tower_calls
    assert calls > 0
    again = embed(cached, items, tmp_path / "again")
    assert cached.features.tower_calls == calls
    assert again.broken_photos == manifest.broken_photos != []
    vectors = read_embeddings(tmp_path / "again").as_float32()
    np.testing.assert_allclose(vectors, embedder.encode(items, errors="ignore"), atol=2e-5)


@pytest.mark.parametrize("stop_after", [0, 1, 5, 7])
def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(embedder, items, tmp_path, stop_after):
    embed(embedder, items, tmp_path / "whole")
    out = tmp_path / "stopped"
    steps = embed_shards(job_of(embedder, items, out), pipeline_of(embedder))
    for _ in range(stop_after + 1):
        next(steps)
    steps.close()
    with pytest.raises(StorageError, match="not finished"):
        read_embeddings(out)
    done = len(list(out.glob("shard-*")))
    (out / ".shard-000003.parquet.0.tmp").write_bytes(b"half a shard")
    first = next(embed_shards(job_of(embedder, items, out), pipeline_of(embedder)))
    assert first == 16 * done
    embed(embedder, items, out)
    (out / ".shard-000003.parquet.0.tmp").unlink()
    assert digests(out) == digests(tmp_path / "whole")


def test_a_finished_run_does_nothing_again(embedder, items, tmp_path):
    embed(embedder, items, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard*")}
    embed(embedder, items, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard*")} == before


def test_a_photo_is_encoded_once_in_a_shard(embedder, items, tmp_path):
    pipeline = pipeline_of(embedder)
    list(embed_shards(job_of(embedder, items, tmp_path / "out"), pipeline))
    photos = [{item.images[-1].read_bytes() for item in items[s : s + 16] if item.images}
              for s in range(0, 60, 16)]  # fmt: skip
    assert pipeline.encoder.photos_encoded == sum(map(len, photos)) < 54


def test_only_what_changed_is_embedded(embedder, items, tmp_path):
    embed(embedder, items, tmp_path / "base")
    now = [replace(item) for item in items if item.item_id not in ("i3", "i20")]
    now[10] = replace(now[10], title="another title")
    photo = now[30].images[0]
    photo.write_bytes(photo.read_bytes())
    os.utime(photo, ns=(1, 1))
    now.append(replace(items[0], item_id="new"))
    options = replace(SMALL, changed_since=str(tmp_path / "base" / "manifest.json"))
    manifest = embed(embedder, now, tmp_path / "delta", options)
    stored = read_embeddings(tmp_path / "delta")
    assert stored.ids == [now[10].item_id, now[30].item_id, "new"]
    assert sorted(manifest.removed) == ["i20", "i3"]
    assert (manifest.since, manifest.complete, manifest.catalog_items) == ("../base", True, 59)
    expected = embedder.encode([now[10], now[30], now[-1]])
    np.testing.assert_allclose(stored.as_float32(), expected, atol=2e-5)

    # a change of a change, and no change at all
    later = [replace(item) for item in now]
    later[0] = replace(later[0], brand="other")
    options = replace(SMALL, changed_since=str(tmp_path / "delta"))
    embed(embedder, later, tmp_path / "third", options)
    assert read_embeddings(tmp_path / "third").ids == ["i0"]
    options = replace(SMALL, changed_since=str(tmp_path / "third"))
    assert embed(embedder, later, tmp_path / "fourth", options).items == 0


def test_the_manifest_lists_what_was_left_out(embedder, items, tmp_path):
    record = {"row": 3, "item_id": "x", "reason": "no id"}
    manifest = embed(embedder, items, tmp_path / "out", quarantine=[record])
    assert manifest == read_manifest(Folder(tmp_path / "out"))
    assert manifest.quarantine == [record]
    (broken,) = manifest.broken_photos
    assert (broken["item_id"], broken["position"]) == ("i7", 0)
    assert "broken.jpg" in broken["reason"]
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (told["complete"], told["items"], told["model"]) == (True, 60, "m")


def test_a_folder_of_another_run_is_refused(embedder, items, tmp_path):
    out = tmp_path / "out"
    embed(embedder, items, out)
    with pytest.raises(StorageError, match="begun with batch_size 8"):
        embed(embedder, items, out, replace(SMALL, batch_size=4))
    with pytest.raises(StorageError, match="--changed-since"):
        embed(embedder, items[1:], out)
    with pytest.raises(ConfigError, match="dims 32 and this run has 8"):
        job_of(embedder, items, tmp_path / "x", replace(SMALL, dims=8, changed_since=str(out)))
    with pytest.raises(ConfigError, match="--dims 999"):
        job_of(embedder, items, tmp_path / "x", replace(SMALL, dims=999))
    with pytest.raises(StorageError, match=r"no manifest\.json"):
        job_of(embedder, items, tmp_path / "x", replace(SMALL, changed_since=str(tmp_path)))
    (out / "manifest.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        embed(embedder, items, out)


def test_shards_go_anywhere_that_fsspec_reaches(embedder, items, tmp_path):
    import fsspec

    manifest = embed(embedder, items, "memory://shards/out")
    assert read_manifest(Folder("memory://shards/out")) == manifest
    fs = fsspec.filesystem("memory")
    fs.get("/shards/out/", str(tmp_path / "copy") + "/", recursive=True)
    embed(embedder, items, tmp_path / "out")
    assert digests(tmp_path / "copy") == digests(tmp_path / "out")
    assert (
        next(embed_shards(job_of(embedder, items, "memory://shards/out"), pipeline_of(embedder)))
        == 60
    )
    with pytest.raises(MissingDependencyError, match="nonsense://x"):
        Folder("nonsense://x")
