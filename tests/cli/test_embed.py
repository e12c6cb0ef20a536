"""Laws of `embed`, into a file and into shards, and of `neighbors`, with the tiny preset."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.photos import photo_groups
from tgqformer.cli.main import main
from tgqformer.retrieval.embeddings import read_embeddings
from tgqformer.retrieval.neighbour_table import read_neighbours

# -- into a file ---------------------------------------------------------------------------------


def test_embed_writes_a_unit_vector_for_each_item_in_order(shop: Path, embedded: Path) -> None:
    stored = read_embeddings(embedded)
    assert stored.ids == [item.item_id for item in Catalog.load(shop).items]
    assert np.allclose(np.linalg.norm(stored.as_float32(), axis=1), 1, atol=1e-5)


def test_embed_does_not_depend_on_the_batch(
    shop: Path, trained: Path, tmp_path: Path, tgqformer_json
) -> None:
    outs = {size: tmp_path / f"{size}.parquet" for size in (7, 64)}
    for size, out in outs.items():  # bfloat16 rounds each batch in its own way
        options = ["--batch-size", size, "--compute", "float32", "-q"]
        tgqformer_json("embed", trained, shop, "--out", out, *options)
    ours, theirs = (read_embeddings(out).as_float32() for out in outs.values())
    assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("precision", "width"), [("float32", 64), ("int8", 16), ("binary", 2)])
def test_embed_in_fewer_dimensions_and_bits(
    shop: Path, trained: Path, tmp_path: Path, tgqformer_json, precision: str, width: int
) -> None:
    out = tmp_path / "v.parquet"
    options = ["--dims", 16, "--precision", precision, "-q"]
    told = tgqformer_json("embed", trained, shop, "--out", out, *options)
    stored = read_embeddings(out)
    assert (told["dims"], stored.dims, stored.precision) == (16, 16, precision)
    assert stored.vectors[0].nbytes == width


def test_embed_refuses_more_dimensions_than_there_are(
    shop: Path, trained: Path, tmp_path: Path, tgqformer
) -> None:
    code, _, err = tgqformer("embed", trained, shop, "--out", tmp_path / "v.parquet", "--dims", 999)
    assert code == 2
    assert "999" in err
    assert not (tmp_path / "v.parquet").exists()


def test_a_full_disk_during_embed_is_one_sentence_and_leaves_nothing(
    shop: Path, trained: Path, tmp_path: Path
) -> None:
    """A small tmpfs where one may be mounted, a limit on the size of files elsewhere."""
    out = tmp_path / "full" / "v.parquet"
    out.parent.mkdir()
    embed = [sys.executable, "-m", "tgqformer", "embed", str(trained), str(shop), "-q", "--out"]
    mount = f"mount -t tmpfs -o size=4k none {out.parent} && ls {out.parent} && "
    listing = f"; code=$?; ls -A {out.parent}; exit $code"
    script = f"{mount}{' '.join(embed)} {out}{listing}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

        done = subprocess.run([*embed, out], capture_output=True, text=True, preexec_fn=limit)
        assert list(out.parent.iterdir()) == []
    assert done.returncode == 2
    assert done.stderr.startswith("tgqformer: error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# -- into shards ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(shop: Path, trained: Path) -> Path:
    out = shop.parent / "shards"
    arguments = ["embed", trained, shop, "--out", out, "--shard-size", 30, "-q"]
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 0
    return out


def test_a_folder_of_shards_holds_what_the_single_file_holds(shards: Path, embedded: Path) -> None:
    one, many = read_embeddings(embedded), read_embeddings(shards)
    assert (one.ids, one.metadata["model"]) == (many.ids, many.metadata["model"])
    np.testing.assert_allclose(one.as_float32(), many.as_float32(), atol=1e-5)
    assert len(list(shards.glob("*.parquet"))) == 3


def test_other_commands_read_shards(trained: Path, shards: Path, tgqformer_json) -> None:
    first = read_embeddings(shards).ids[0]
    told = tgqformer_json("similar", trained, shards, "--id", first, "-k", 3)
    assert len(told["neighbours"]) == 3


def test_changed_since_embeds_what_changed_and_tells_what_is_gone(
    shop: Path, trained: Path, shards: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    catalog = tmp_path / "shop"
    shutil.copytree(shop, catalog)  # with the times of the photos
    table = pl.read_parquet(catalog / "items.parquet")
    first, gone = table["item_id"][0], table["item_id"][-1]
    title = pl.when(pl.col("item_id") == first).then(pl.lit("new words")).otherwise(pl.col("title"))
    table[:-1].with_columns(title.alias("title")).write_parquet(catalog / "items.parquet")
    options = ["--out", tmp_path / "delta", "--changed-since", shards / "manifest.json", "-q"]
    told = tgqformer_json("embed", trained, catalog, *options)
    assert (told["items"], told["removed"]) == (1, [gone])
    assert read_embeddings(tmp_path / "delta").ids == [first]
    store = tmp_path / "store"
    before = tgqformer_json("index", "build", store, shards)["items"]
    assert tgqformer_json("index", "upsert", store, tmp_path / "delta")["replaced"] == 1
    swept = tgqformer_json("index", "delete", store, "--from", tmp_path / "delta")
    assert swept == {"removed": 1, "absent": 0, "items": before - 1}
    assert tgqformer_json("index", "delete", store, "--from", shards)["removed"] == 0  # none gone
    code, _, err = tgqformer("embed", trained, catalog, "--out", shards, "-q")
    assert (code, "--changed-since" in err, err.count("\n")) == (2, True, 1)


def test_an_unfinished_folder_is_not_read(trained: Path, shards: Path, tmp_path: Path, tgqformer):
    half = tmp_path / "half"
    shutil.copytree(shards, half)
    manifest = json.loads((half / "manifest.json").read_text())
    (half / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    code, _, err = tgqformer("similar", trained, half, "--id", "x")
    assert (code, "not finished" in err) == (2, True)


def test_a_single_file_takes_no_delta(shop: Path, trained: Path, tmp_path: Path, tgqformer) -> None:
    options = ["--out", tmp_path / "v.parquet", "--changed-since", "x"]
    code, _, err = tgqformer("embed", trained, shop, *options)
    assert (code, "need a folder" in err) == (2, True)


# -- neighbors -----------------------------------------------------------------------------------


def test_neighbors_is_brute_force_over_the_shards(
    shards: Path, tmp_path: Path, tgqformer_json
) -> None:
    told = tgqformer_json("neighbors", shards, "--out", tmp_path / "n.parquet", "-k", 5, "-q")
    assert (told["items"], told["k"]) == (80, 5)
    stored = read_embeddings(shards)
    scores = stored.as_float32().astype(np.float64) @ stored.as_float32().T.astype(np.float64)
    np.fill_diagonal(scores, -np.inf)
    table = read_neighbours(tmp_path / "n.parquet")
    assert table.ids == stored.ids
    for row in range(80):
        best = np.argsort(-scores[row].astype(np.float32), kind="stable")[:5]
        assert table.neighbours[row] == [stored.ids[other] for other in best]


def test_neighbors_by_the_catalogs_rules(
    shop: Path, embedded: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    rules = ["--catalog", shop, "--same-category", "--other-brand", "--relevance", 0.7]
    tgqformer_json("neighbors", embedded, "--out", tmp_path / "n.parquet", "-k", 4, *rules, "-q")
    catalog = Catalog.load(shop)
    groups = photo_groups(catalog.items)
    table = read_neighbours(tmp_path / "n.parquet")
    assert any(table.neighbours)
    for own, found in zip(catalog.items, table.neighbours, strict=True):
        for other in (catalog[catalog.index[name]] for name in found):
            assert own.category == other.category != ""
            assert own.brand != other.brand or not own.brand
            places = [catalog.index[item.item_id] for item in (own, other)]
            assert groups[places[0]] != groups[places[1]]
    code, _, err = tgqformer("neighbors", embedded, "--out", tmp_path / "x", "--same-category")
    assert (code, "--catalog" in err) == (2, True)


def test_variants_can_be_left_out_of_neighbours(
    shop: Path, trained: Path, embedded: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    ids = [item.item_id for item in Catalog.load(shop).items]
    groups = {item_id: f"g{place // 5}" for place, item_id in enumerate(ids)}
    rows = [{"item_id": item_id, "item_group_id": group} for item_id, group in groups.items()]
    own = Catalog.from_rows([{"item_id": item_id} for item_id in ids], labels=rows)
    own.save(tmp_path / "own")
    rules = ["--catalog", tmp_path / "own", "--other-group"]
    tgqformer_json("neighbors", embedded, "--out", tmp_path / "n.parquet", "-k", 9, *rules, "-q")
    table = read_neighbours(tmp_path / "n.parquet")
    for own_id, found in zip(table.ids, table.neighbours, strict=True):
        assert len(found) == 9
        assert groups[own_id] not in {groups[name] for name in found}
    near = tgqformer_json("similar", trained, embedded, "--id", ids[7], "-k", 9, *rules)
    place = table.ids.index(ids[7])
    assert [entry["item_id"] for entry in near["neighbours"]] == table.neighbours[place]
    tgqformer_json("index", "build", tmp_path / "store", embedded)
    options = ["--id", ids[7], "-k", 9, "--exact", "--other-group-of", tmp_path / "own"]
    found = tgqformer_json("index", "search", tmp_path / "store", *options)
    assert [entry["item_id"] for entry in found["neighbours"]] == table.neighbours[place]
    code, _, err = tgqformer(
        "neighbors", embedded, "--out", tmp_path / "x", "--catalog", shop, "--other-group"
    )
    assert (code, "item_group_id" in err) == (2, True)
