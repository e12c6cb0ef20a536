"""Laws of `similar`: the brute-force answer, for items of the catalog and for new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.retrieval.embeddings import read_embeddings


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
