"""Laws of the commands, end to end with the tiny preset."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.retrieval.embeddings import read_embeddings


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


# -- storefront ----------------------------------------------------------------------------------


def test_storefront_draws_the_same_bytes_again(shop: Path, tmp_path: Path, tgqformer_json) -> None:
    options = ["--items", 80, "--size", 48, "--workers", 2, "-q"]
    told = tgqformer_json("storefront", tmp_path / "again", *options)
    assert told["items"] == 80
    assert digests(tmp_path / "again") == digests(shop)


def test_storefront_names_a_noise_that_it_does_not_know(tmp_path: Path, tgqformer) -> None:
    code, _, err = tgqformer("storefront", tmp_path / "x", "--noise", "loud")
    assert (code, "loud" in err, err.count("\n")) == (2, True, 1)


# -- train and evaluate --------------------------------------------------------------------------


def test_train_leaves_a_run_that_can_be_resumed_to_the_same_weights(
    shop: Path, trained: Path, tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    options = ["--preset", "tiny", "--set", "training.eval_every=2", "--set", "training.steps=4"]
    code, _, err = tgqformer("train", shop, "--out", trained, *options, "-q")
    assert (code, "--resume" in err) == (2, True)
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for path in (run / "checkpoints" / "checkpoint-4", run / "model"):
        shutil.rmtree(path)
    (run / "summary.json").unlink()
    assert tgqformer_json("train", shop, "--out", run, *options, "--resume", "-q")["steps"] == 4
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (trained / weights).read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "training.learning_rat=1"], "did you mean 'training.learning_rate'?"),
        (["--set", "training.steps=none"], "training.steps = 'none' must be int"),
        (["--set", "training.steps"], "key=value"),
        (["--preset", "nonsense"], "nonsense"),
        (["--preset", "absent.yaml"], "absent.yaml"),
    ],
)
def test_train_refuses_wrong_options_before_it_does_anything(
    tmp_path: Path, tgqformer, options: list[str], words: str
) -> None:
    code, _, err = tgqformer("train", tmp_path / "no-shop", "--out", tmp_path / "run", *options)
    assert code == 2
    assert words in err
    assert not (tmp_path / "run").exists()


def test_train_says_what_a_catalog_lacks(tmp_path: Path, tgqformer) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nA,Lamp\n")
    for catalog in (tmp_path, tmp_path / "absent"):
        code, _, err = tgqformer(
            "train", catalog, "--preset", "tiny", "--out", tmp_path / "run", "-q"
        )
        assert code == 2
        assert err.startswith("tgqformer: error: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "run" / "model").exists()


def test_evaluate_sets_two_reference_points_beside_the_model(
    shop: Path, trained: Path, tmp_path: Path, tgqformer_json
) -> None:
    told = tgqformer_json("evaluate", trained, shop, "--out", tmp_path / "figures", "-q")
    names = [model["name"] for model in told["comparison"]["models"]]
    assert names == ["run", "text only (frozen)", "photo + text (frozen)"]
    for evaluation in told["evaluations"]:
        assert evaluation["pool"] == 80
        hits = [evaluation["metrics"][f"hit@{k}"]["value"] for k in (1, 10, 50, 100)]
        assert hits == sorted(hits)
        assert hits[-1] == 1.0, "a pool of 80 holds every target at rank 100 or better"
    saved = json.loads((tmp_path / "figures" / "model" / "evaluation.json").read_text())
    assert saved["metrics"] == told["evaluations"][0]["metrics"]


def test_evaluate_of_no_run_and_of_an_unfinished_one(shop: Path, tmp_path: Path, tgqformer) -> None:
    (tmp_path / "begun").mkdir()
    for run in (tmp_path / "begun", tmp_path / "absent"):
        code, _, err = tgqformer("evaluate", run, shop, "-q")
        assert code == 2
        assert str(run) in err


# -- embed and similar ---------------------------------------------------------------------------


def test_embed_writes_a_unit_vector_for_each_item_in_order(shop: Path, embedded: Path) -> None:
    stored = read_embeddings(embedded)
    assert stored.ids == [item.item_id for item in Catalog.load(shop).items]
    assert np.allclose(np.linalg.norm(stored.as_float32(), axis=1), 1, atol=1e-5)


def test_embed_does_not_depend_on_the_batch(
    shop: Path, trained: Path, embedded: Path, tmp_path: Path, tgqformer_json
) -> None:
    out = tmp_path / "v.parquet"
    tgqformer_json("embed", trained, shop, "--out", out, "--batch-size", 7, "-q")
    ours, theirs = read_embeddings(out).as_float32(), read_embeddings(embedded).as_float32()
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


def test_similar_is_the_brute_force_answer(
    trained: Path, embedded: Path, shop: Path, tgqformer_json
) -> None:
    stored = read_embeddings(embedded)
    vectors = stored.as_float32()
    for row in (0, 41):
        told = tgqformer_json(
            "similar", trained, embedded, "--id", stored.ids[row], "-k", 5, "--catalog", shop
        )
        scores = vectors @ vectors[row]
        scores[row] = -np.inf
        best = [stored.ids[other] for other in np.argsort(-scores, kind="stable")[:5]]
        assert [entry["item_id"] for entry in told["neighbours"]] == best
        assert all("title" in entry for entry in told["neighbours"])


def test_similar_to_a_new_item_with_the_photo_and_words_of_an_old_one(
    trained: Path, embedded: Path, shop: Path, tgqformer_json
) -> None:
    item = next(item for item in Catalog.load(shop).items if item.images)
    options = ["--image", item.images[0], "--title", item.title, "-k", 80]
    told = tgqformer_json("similar", trained, embedded, *options)
    assert told["item_id"] is None
    assert len(told["neighbours"]) == 80


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--id", "nobody"], "nobody"),
        (["--image", "absent.jpg"], "absent.jpg"),
        ([], "--id"),
        (["--id", "p000000", "--title", "x"], "--id"),
    ],
)
def test_similar_names_what_is_wrong(
    trained: Path, embedded: Path, tgqformer, options: list[str], words: str
) -> None:
    code, _, err = tgqformer("similar", trained, embedded, *options)
    assert code == 2
    assert words in err


def test_similar_refuses_vectors_of_another_model(
    shop: Path, trained: Path, embedded: Path, tmp_path: Path, tgqformer
) -> None:
    other = tmp_path / "other"
    options = ["--preset", "tiny", "--set", "training.steps=1", "--seed", 5, "-q"]
    assert tgqformer("train", shop, "--out", other, *options)[0] == 0
    code, _, err = tgqformer("similar", other, embedded, "--id", "p000000")
    assert code == 2
    assert "another model" in err


# -- validate ------------------------------------------------------------------------------------


def test_validate_of_a_sound_catalog(shop: Path, tgqformer, tgqformer_json) -> None:
    told = tgqformer_json("validate", shop, "-q")
    assert (told["items"], told["rejections"], told["leaks"]) == (80, [], [])
    assert tgqformer_json("validate", shop, "--promise", "cold", "-q")["leaks"] == []
    assert "Nothing is quarantined" in tgqformer("validate", shop, "-q")[1]


def test_validate_tells_every_bad_row_and_keeps_the_rest(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "photo.jpg").write_text("no photo")
    (tmp_path / "items.csv").write_text(
        "item_id,title,price,images\nA,Lamp,3,photo.jpg\nA,Again,3,\n,Nameless,3,\nB,[red]Mug,x,\n"
    )
    told = tgqformer_json("validate", tmp_path, "-q", code=1)
    assert told["items"] == 2
    assert {entry["field"] for entry in told["rejections"]} == {"item_id", "price", "images"}
    code, out, _ = tgqformer("validate", tmp_path, "-q", "--quarantine", tmp_path / "q.csv")
    assert code == 1
    assert "duplicate id" in out
    assert (tmp_path / "q.csv").read_text().count("\n") == len(told["rejections"]) + 1
    code, _, err = tgqformer("validate", tmp_path, "-q", "--strict")
    assert (code, err.count("\n")) == (2, 1)


def test_validate_names_a_leak(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\nC\n")
    (tmp_path / "pairs.csv").write_text("query_id,target_id,split\nA,B,train\nA,C,test\n")
    assert tgqformer_json("validate", tmp_path, code=1)["leaks"][0]["examples"] == ["A"]
    assert "Leak: query in two splits" in tgqformer("validate", tmp_path)[1]
    assert tgqformer_json("validate", tmp_path, "--promise", "warm")["leaks"] == []


# -- import --------------------------------------------------------------------------------------


def test_import_knows_every_importer_and_lists_its_options(tgqformer_json) -> None:
    from tgqformer.catalog.importers import IMPORTERS
    from tgqformer.cli.import_catalog import KINDS

    assert list(KINDS) == list(IMPORTERS)
    for kind in KINDS:
        options = tgqformer_json("import", kind, "--options")
        assert all(row["meaning"] for row in options), kind


def test_import_of_a_table_with_a_column_map(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    source, out = tmp_path / "goods.csv", tmp_path / "shop"
    source.write_text("sku,name,cost,hue\nA,Lamp,$3.50,red\nB,Mug,,\n")
    columns = [f"--column={name}" for name in ("item_id=sku", "title=name", "price=cost")]
    told = tgqformer_json("import", "table", source, out, *columns, "--set", "attributes=hue", "-q")
    assert told["items"] == 2
    first = Catalog.load(out)[0]
    assert (first.item_id, first.title, first.price) == ("A", "Lamp", 3.5)
    assert dict(first.attributes) == {"hue": "red"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table", "a.csv", "b", "--set", "imageroot=x"], "did you mean 'image_root'?"),
        (["table", "a.csv", "b", "--set", "seed=x"], "seed = 'x' must be int"),
        (["table", "a.csv", "b", "--set", "seed"], "key=value"),
        (["grocery", "a", "b", "--column", "title=x"], "has no option 'columns'"),
        (["table", "absent.csv", "b"], "absent.csv"),
        (["table", "a.csv"], "SOURCE and OUT"),
        (["nonsense", "a", "b"], "nonsense"),
    ],
)
def test_import_names_what_is_wrong(tgqformer, arguments: list[str], words: str) -> None:
    code, _, err = tgqformer("import", *arguments)
    assert code == 2
    assert words in err


# -- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "promise"), [("random", "query"), ("cold", "cold"), ("time", "warm")]
)
def test_pairs_out_of_a_log_keep_the_promise_of_their_split(
    shop: Path, tmp_path: Path, tgqformer_json, split: str, promise: str
) -> None:
    catalog = tmp_path / "catalog"
    shutil.copytree(shop, catalog)
    options = ["-q", "--force", "--split", split, "--test", 0.3]
    told = tgqformer_json("pairs", catalog / "sessions.parquet", catalog, *options)
    checked = tgqformer_json("validate", catalog, "--promise", promise, "--no-images", "-q")
    assert checked["pairs"] == told["pairs"]
    assert min(told["pairs"].values()) > 0


def test_pairs_by_hand(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\nC\n")
    log = tmp_path / "clicks.csv"
    log.write_text("who,what\nu,A\nu,B\nv,A\nv,B\nw,C\nw,X\n")
    options = ["--method", "cosine", "--test", 0, "--val", 0, "-q"]
    options += ["--user", "who", "--item", "what", "--time", "none"]
    told = tgqformer_json("pairs", log, tmp_path, *options)
    assert told["pairs"] == {"train": 2, "val": 0, "test": 0}
    assert told["events of unknown items"] == 1
    made = {(pair.query_id, pair.target_id): pair.weight for pair in Catalog.load(tmp_path).pairs}
    assert made == {("A", "B"): 1.0, ("B", "A"): 1.0}
    code, _, err = tgqformer("pairs", log, tmp_path, *options)
    assert (code, "--force" in err) == (2, True)


def test_a_log_without_an_event_leaves_the_pairs_alone(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\nB\n")
    (tmp_path / "pairs.csv").write_text("query_id,target_id\nA,B\n")
    log = tmp_path / "clicks.csv"
    for rows in ("u,A,noon\nu,B,\n", "u,X,1\nu,Y,2\n", ""):
        log.write_text(f"user,item,time\n{rows}")
        code, _, err = tgqformer("pairs", log, tmp_path, "--force", "-q")
        assert (code, "has no event to make pairs of" in err, err.count("\n")) == (2, True, 1)
    log.write_text("user,item,time\nu,A,1\nv,B,2\n")
    code, _, err = tgqformer("pairs", log, tmp_path, "--force", "-q")
    assert (code, "ties no two items" in err, err.count("\n")) == (2, True, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clicks.csv",
        "items.csv",
        "pairs.csv",
    ]
    log.write_text("user,item,time\nu,A,1\nu,B,2\nv,A,1\nv,B,2\nv,A,n/a\n")
    assert tgqformer_json("pairs", log, tmp_path, "--force", "-q")["rows left out"] == 1
    out = tgqformer("pairs", log, tmp_path, "--force", "-q")[1]
    assert "1 of 5 rows lack a user, an item or a time" in out


def test_pairs_names_a_column_that_is_absent(tmp_path: Path, tgqformer) -> None:
    (tmp_path / "items.csv").write_text("item_id\nA\n")
    (tmp_path / "clicks.csv").write_text("who,item,time\nu,A,1\n")
    code, _, err = tgqformer("pairs", tmp_path / "clicks.csv", tmp_path, "-q")
    assert (code, "'user'" in err, err.count("\n")) == (2, True, 1)


# -- presets and doctor --------------------------------------------------------------------------


def test_presets_lists_shows_and_explains(tgqformer, tgqformer_json) -> None:
    names = [row["preset"] for row in tgqformer_json("presets")]
    assert names[0] == "offline"
    assert "tiny" in names
    assert tgqformer_json("presets", "tiny")["embedder"]["image_tower"]["kind"] == "tiny"
    options = tgqformer_json("presets", "tiny", "--options")
    assert all(row["meaning"] for row in options), "every option has a line of doc"
    defaults = {row["option"]: row["default"] for row in options}
    assert defaults["training.steps"] == tgqformer_json("presets", "tiny")["training"]["steps"]
    assert "embedder.connector.anchored: int = " in tgqformer("presets", "--options")[1]


def test_what_presets_prints_is_a_preset(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_text(tgqformer("presets", "tiny")[1])
    assert tgqformer_json("presets", copy) == tgqformer_json("presets", "tiny")


def test_doctor_tells_what_runs_here(tgqformer, tgqformer_json) -> None:
    told = tgqformer_json("doctor", "--no-network")
    assert told["cpu"]["cores"] >= 1
    assert told["memory"]["total"] >= told["memory"]["available"] > 0
    assert told["presets"]["tiny"] == {"runs": True, "lacks": []}
    assert all(preset["runs"] == (not preset["lacks"]) for preset in told["presets"].values())
    assert "tiny" in tgqformer("doctor", "--no-network")[1]


def test_doctor_names_the_package_that_is_absent(monkeypatch, tgqformer_json) -> None:
    from tgqformer.cli import readiness

    monkeypatch.setattr(readiness, "TOWER_PACKAGES", ("no_such_package",))
    monkeypatch.setattr(readiness, "packaged_folder", lambda name: None)
    lacks = tgqformer_json("doctor", "--no-network")["presets"]["offline"]["lacks"]
    assert [lack["what"].split(":")[0] for lack in lacks] == [
        "image tower",
        "text tower",
        "backbone",
    ]
    assert all("[offline]" in lack["remedy"] for lack in lacks)


# -- demo ----------------------------------------------------------------------------------------


def test_demo_leaves_a_report_does_nothing_twice_and_goes_on_where_it_was_stopped(
    tmp_path: Path, tgqformer
) -> None:
    out = tmp_path / "demo"
    options = ["--items", 60, "--size", 48, "--preset", "tiny", "--set", "training.steps=2", "-q"]
    code, told, err = tgqformer("demo", "--out", out, *options)
    assert code == 0, err
    assert "tgqformer similar" in told
    assert "<svg" in (out / "report.html").read_text()
    before = {name: digest for name, digest in digests(out).items() if name != "report.html"}
    times = {name: (out / name).stat().st_mtime_ns for name in before}
    assert tgqformer("demo", "--out", out, *options)[0] == 0
    assert {name: (out / name).stat().st_mtime_ns for name in before} == times
    code, _, err = tgqformer("demo", "--out", out, *options, "--set", "training.steps=3")
    assert (code, err.count("\n"), "another --out" in err) == (2, 1, True)

    whole = (out / "embeddings.parquet").read_bytes()
    (out / "embeddings.parquet").unlink()
    shutil.rmtree(out / "evaluation" / "frozen")
    assert tgqformer("demo", "--out", out, *options)[0] == 0
    assert (out / "embeddings.parquet").read_bytes() == whole
    assert (out / "evaluation" / "frozen" / "evaluation.json").exists()
