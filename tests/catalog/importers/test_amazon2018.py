"""Laws of the importer of the Amazon reviews of 2018, and of 2014, whose lines are literals."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.amazon import import_amazon2018
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.splits import check_leaks
from tgqformer.errors import CatalogError, ConfigError

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]
Check = Callable[[Catalog, Path], None]


def clothing_2018() -> list[Any]:
    return [
        {
            "asin": "A1",
            "title": "Men&#39;s <b>Boot</b> &amp; Lace",
            "brand": "by\n    \n    Acme",
            "category": ["Clothing", "Men", "Shoes", "<span>Leather sole</span>", "Imported"],
            "price": "$12.99 - $25.00",
            "imageURL": ["http://x/a1_small.jpg"],
            "imageURLHighRes": ["http://x/a1.jpg", "http://x/a1b.jpg"],
            "also_buy": ["A2", "Z9", "A1"],
            "also_view": ["A2", "A3"],
        },
        {"asin": "A2", "title": "Sock", "price": "", "also_buy": ["A1"]},
        {
            "asin": "A3",
            "title": "Hat",
            "price": ".a-box-inner{background-color:#fff}#x{font-size:1}",
        },
        {"asin": "A4", "title": "var aPageStart = (new Date()).getTime();"},
        {"asin": "A1", "title": "Boot again", "also_buy": ["A3"]},
        {"title": "no asin"},
        "{broken",
    ]


def test_amazon_2018(
    tmp_path: Path, put_lines: Put, put_photo: Put, labels_of: Labels, check_written: Check
) -> None:
    source = put_lines(tmp_path / "meta_Clothing.json.gz", clothing_2018())
    put_photo(tmp_path / "photos/A2.png")
    catalog = import_amazon2018(source, tmp_path / "out", images=tmp_path / "photos", split="none")
    assert catalog.items[0] == Item(
        "A1", "Men's Boot & Lace", "Acme", "Clothing > Men > Shoes", {}, 12.99
    )
    assert [item.item_id for item in catalog.items] == ["A1", "A2", "A3"]
    assert [len(item.images) for item in catalog.items] == [0, 1, 0]
    assert catalog.pairs == [Pair("A1", "A2", 2.0), Pair("A1", "A3"), Pair("A2", "A1")]
    assert labels_of(catalog, "image_urls")["A1"] == ["http://x/a1.jpg", "http://x/a1b.jpg"]
    assert catalog.quarantine.counts() == {
        "items: duplicate id": 1,
        "items: missing id": 1,
        "items: no number": 1,
        "items: not JSON": 1,
        "items: page script in title": 1,
        "items: price range": 1,
        "pairs: names no item": 1,
    }
    assert "1 of 5 pairs name products that the source does not hold" in "".join(
        map(str, catalog.quarantine)
    )
    check_written(catalog, tmp_path / "out")


def test_amazon_2014_literals(tmp_path: Path, put_lines: Put, labels_of: Labels) -> None:
    lines = [
        "{'asin': 'B1', 'title': \"Kid's cap\", 'categories': [['Clothing', 'Kids'], ['Sale']], "
        "'price': 7.5, 'imUrl': 'http://x/b1.jpg', 'related': {'also_bought': ['B2'], "
        "'bought_together': ['B2'], 'also_viewed': ['B2']}}",
        "{'asin': 'B2', 'title': 'Bib'}",
        "__import__('os').abort()",
    ]
    source = put_lines(tmp_path / "meta_old.json.gz", lines)
    catalog = import_amazon2018(source, tmp_path / "out", split="none")
    assert catalog.items == [
        Item("B1", "Kid's cap", "", "Clothing > Kids", {}, 7.5),
        Item("B2", "Bib"),
    ]
    assert catalog.pairs == [Pair("B1", "B2", 2.0)]
    assert labels_of(catalog, "image_urls") == {"B1": ["http://x/b1.jpg"], "B2": []}
    assert catalog.quarantine.counts() == {"items: not JSON": 1}


def test_amazon_2018_options(tmp_path: Path, put_lines: Put) -> None:
    source = put_lines(tmp_path / "meta.json", clothing_2018())
    catalog = import_amazon2018(
        source, tmp_path / "out", relations=["also_view"], max_targets=1, limit=3, split="none"
    )
    assert catalog.pairs == [Pair("A1", "A2")]
    assert len(catalog) == 3


def test_only_paired_products_where_asked(
    tmp_path: Path, put_lines: Put, labels_of: Labels
) -> None:
    source = put_lines(tmp_path / "meta.json.gz", [*clothing_2018(), {"asin": "A5"}])
    whole = import_amazon2018(source, tmp_path / "whole", split="none")
    paired = import_amazon2018(source, tmp_path / "paired", split="none", paired=True)
    assert [item.item_id for item in whole.items] == ["A1", "A2", "A3", "A5"]
    assert [item.item_id for item in paired.items] == ["A1", "A2", "A3"]
    assert paired.pairs == whole.pairs
    assert list(labels_of(paired, "image_urls")) == ["A1", "A2", "A3"]
    assert "labels: names no item" not in paired.quarantine.counts()


def test_amazon_splits_keep_their_promise(tmp_path: Path, put_lines: Put) -> None:
    rows = [
        {"asin": f"A{i}", "title": "x", "also_buy": [f"A{(i * k + 1) % 60}" for k in (1, 7, 11)]}
        for i in range(60)
    ]
    source = put_lines(tmp_path / "meta.json.gz", rows)
    for split, promise in (("random", "query"), ("cold", "cold")):
        catalog = import_amazon2018(source, tmp_path / split, split=split, test=0.3)
        assert catalog.describe()["pairs"]["test"] > 5
        assert check_leaks(catalog, promise=promise) == []
    with pytest.raises(ConfigError, match="'dice' is no split"):
        import_amazon2018(source, tmp_path / "out", split="dice")


def test_a_cut_archive_says_so(tmp_path: Path, put_lines: Put) -> None:
    source = put_lines(
        tmp_path / "meta.json.gz", [{"asin": f"A{os.urandom(8).hex()}"} for _ in range(99)]
    )
    source.write_bytes(source.read_bytes()[:-50])
    with pytest.raises(CatalogError, match=r"meta.json.gz cannot be read .*fetch it anew"):
        import_amazon2018(source, tmp_path / "out")
    with pytest.raises(CatalogError, match=r"gone.json.gz cannot be read"):
        import_amazon2018(tmp_path / "gone.json.gz", tmp_path / "out")
