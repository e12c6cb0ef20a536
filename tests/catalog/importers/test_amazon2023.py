"""The importer of the Amazon reviews of 2023 on products with that format's known quirks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.amazon import import_amazon2023
from tgqformer.catalog.items import Item, Pair

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]
Check = Callable[[Catalog, Path], None]


def test_amazon_2023(
    tmp_path: Path, put_lines: Put, put_photo: Put, labels_of: Labels, check_written: Check
) -> None:
    rows = [
        {
            "parent_asin": "P1",
            "title": "Scarf",
            "main_category": "AMAZON FASHION",
            "categories": ["Clothing", "Women", "Scarves"],
            "store": "Storely",
            "price": 9.99,
            "images": [
                {"thumb": "t2", "large": "l2", "variant": "PT01", "hi_res": None},
                {"thumb": "t1", "large": "l1", "variant": "MAIN", "hi_res": "h1"},
            ],
            "details": {
                "Brand": "Wool &amp; Co",
                "Material": "Wool",
                "Best Sellers Rank": {"Scarves": 3},
                "Date First Available": "May 1, 2020",
            },
            "bought_together": ["P2", "P9"],
        },
        {
            "parent_asin": "P2",
            "title": "Hat",
            "main_category": "AMAZON FASHION",
            "categories": [],
            "store": "Hatters",
            "price": "None",
            "images": {"hi_res": [None], "large": ["l9"], "thumb": ["t9"], "variant": ["MAIN"]},
            "details": '{"Material": "Felt"}',
            "bought_together": None,
        },
        {
            "parent_asin": "P3",
            "title": None,
            "price": "from 5.00",
            "images": [],
            "details": "broken",
        },
    ]
    source = put_lines(tmp_path / "meta_Fashion.jsonl.gz", rows)
    put_photo(tmp_path / "photos/P1.png")
    catalog = import_amazon2023(source, tmp_path / "out", images=tmp_path / "photos", split="none")
    first, second, third = catalog.items
    assert (first.brand, first.category) == ("Wool & Co", "Clothing > Women > Scarves")
    assert first.attributes == {"Material": "Wool"}
    assert len(first.images) == 1
    assert second == Item("P2", "Hat", "Hatters", "AMAZON FASHION", {"Material": "Felt"})
    assert third == Item("P3", price=5.0)
    assert catalog.pairs == [Pair("P1", "P2")]
    assert labels_of(catalog, "image_urls") == {"P1": ["h1", "l2"], "P2": ["l9"], "P3": []}
    assert catalog.quarantine.counts() == {"items: price range": 1, "pairs: names no item": 1}
    check_written(catalog, tmp_path / "out")
