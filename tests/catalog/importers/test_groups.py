"""Laws of the pairs by group, for data sets that have none: Myntra and the Berkeley Objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.abo import import_abo
from tgqformer.catalog.importers.myntra import import_myntra
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.splits import check_leaks
from tgqformer.catalog.text import item_text
from tgqformer.errors import ConfigError

Put = Callable[..., Path]
Texts = Callable[..., list[dict[str, str]]]
Labels = Callable[[Catalog, str], dict[str, Any]]


@pytest.fixture
def myntra_rows(put_lines: Put) -> Put:
    def put(folder: Path, rows: list[str]) -> Path:
        header = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
        put_lines(folder / "styles.csv", [header + "productDisplayName", *rows])
        (folder / "images").mkdir()
        return folder

    return put


def test_myntra_pairs_by_what_is_hidden(
    tmp_path: Path, labels_of: Labels, myntra_rows: Put
) -> None:
    kinds = [("Men", "Blue"), ("Men", "blue"), ("Men", "Red"), ("Women", "Blue"), ("Men", "NA")]
    kinds += [("Men", "NA"), *[("Women", "Green")] * 4]
    rows = [
        f"{i},{who},Apparel,Topwear,Shirts,{colour},Fall,2011,Casual,{who} {colour} shirt {i}"
        for i, (who, colour) in enumerate(kinds)
    ]
    hidden = ["productDisplayName", "articleType", "baseColour"]
    catalog = import_myntra(
        myntra_rows(tmp_path / "data", rows),
        tmp_path / "out",
        pair_by=["gender", "articleType", "baseColour"],
        hidden=hidden,
        max_group=3,
        split="none",
    )
    assert catalog.pairs == [Pair("0", "1"), Pair("1", "0")]
    assert catalog.quarantine.counts()["pairs: group too large"] == 1
    assert "4 items are in groups of more than 3" in "".join(map(str, catalog.quarantine))
    for item in catalog.items:
        assert item_text(item).count("Apparel > Topwear") == 1
        assert not {"Shirt", "Blue", "Red", "Green"} & set(item_text(item).split())
    assert labels_of(catalog, "baseColour")["2"] == "Red"
    for option in ("pair_by", "hidden"):
        with pytest.raises(ConfigError, match="'colour' is no column to pair or hide by"):
            import_myntra(tmp_path / "data", tmp_path / "x", **{option: ["colour"]})
    with pytest.raises(ConfigError, match="max_group"):
        import_myntra(tmp_path / "data", tmp_path / "x", pair_by=["gender"], max_group=1)


def test_pairs_by_group_keep_the_cold_promise(tmp_path: Path, myntra_rows: Put) -> None:
    rows = [f"{i},Men,A,B,C,{i % 12},S,2011,U,Thing {i}" for i in range(120)]
    source = myntra_rows(tmp_path / "data", rows)
    catalog = import_myntra(source, tmp_path / "out", pair_by=["baseColour"])
    assert catalog.describe()["pairs"]["test"] > 20
    assert check_leaks(catalog, promise="cold") == []


def test_abo_pairs_by_model_line(
    tmp_path: Path, put_lines: Put, texts: Texts, labels_of: Labels
) -> None:
    listings = [
        {
            "item_id": f"L{i}",
            "item_name": texts(en_US=f"{line} chair {i}"),
            "brand": texts(en_US="Rivet"),
            "model_name": texts(en_US=line) if line else [],
            "node": [{"node_name": "/Categories/Furniture/Chairs"}],
        }
        for i, line in enumerate(["Oslo", "Oslo", "Lima", "", ""])
    ]
    put_lines(tmp_path / "abo/listings/metadata/listings_0.json", listings)
    put_lines(tmp_path / "abo/images/metadata/images.csv", ["image_id,height,width,path"])
    options = {"pair_by": ["brand", "model_name"], "hidden": ["item_name", "node"]}
    catalog = import_abo(tmp_path / "abo", tmp_path / "out", split="none", **options)
    assert catalog.pairs == [Pair("L0", "L1"), Pair("L1", "L0")]
    assert {item_text(item) for item in catalog.items} == {item_text(Item("x", brand="Rivet"))}
    assert labels_of(catalog, "item_name")["L2"] == "Lima chair 2"
    assert labels_of(catalog, "node")["L2"] == "Furniture > Chairs"
    with pytest.raises(ConfigError, match="'country' cannot be hidden; use one of item_name"):
        import_abo(tmp_path / "abo", tmp_path / "x", hidden=["country"])
