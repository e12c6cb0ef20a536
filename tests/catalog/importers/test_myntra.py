"""The importer of the Myntra fashion products: commas and quotes in names, and wrong folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.myntra import import_myntra
from tgqformer.errors import CatalogError

Put = Callable[..., Path]
Check = Callable[[Catalog, Path], None]

MYNTRA_HEADER = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    "productDisplayName"
)


def test_myntra(tmp_path: Path, put_lines: Put, put_photo: Put, check_written: Check) -> None:
    lines = [
        MYNTRA_HEADER,
        "15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Shirt",
        "6695,Boys,Apparel,Topwear,Tshirts,NA,,2011,Casual,Gini, Jony & Co, Boys Tee",
        '7000,Men,Apparel,Topwear,Tshirts,Red,Fall,2011,Casual,"Puma ""Fast"" Tee"',
        "8000,Men,Apparel",
        "",
        "15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Again",
    ]
    put_lines(tmp_path / "in/styles.csv", lines)
    put_photo(tmp_path / "in/images/15970.png")
    style = {"data": {"brandName": "Turtle", "price": 1299}}
    put_lines(tmp_path / "in/styles/15970.json", [style])
    catalog = import_myntra(tmp_path / "in", tmp_path / "out")
    first, second, third = catalog.items
    assert (first.item_id, first.title, first.brand) == (
        "15970",
        "Turtle Check Men Navy Shirt",
        "Turtle",
    )
    assert (first.category, first.price) == ("Apparel > Topwear > Shirts", 1299.0)
    assert first.attributes == {
        "gender": "Men",
        "colour": "Navy Blue",
        "season": "Fall",
        "year": "2011",
        "usage": "Casual",
    }
    assert second.title == "Gini, Jony & Co, Boys Tee"
    assert second.attributes == {"gender": "Boys", "year": "2011", "usage": "Casual"}
    assert third.title == 'Puma "Fast" Tee'
    assert [len(item.images) for item in catalog.items] == [1, 0, 0]
    assert catalog.quarantine.counts() == {
        "items: duplicate id": 1,
        "items: image missing": 2,
        "items: wrong number of fields": 1,
    }
    check_written(catalog, tmp_path / "out")


def test_myntra_says_what_is_wrong(tmp_path: Path, put_lines: Put) -> None:
    with pytest.raises(CatalogError, match="holds no styles.csv; name the folder"):
        import_myntra(tmp_path, tmp_path / "out")
    put_lines(tmp_path / "styles.csv", ["sku,name", "1,x"])
    (tmp_path / "images").mkdir()
    with pytest.raises(CatalogError, match="begins with the columns sku, name; a Myntra table"):
        import_myntra(tmp_path, tmp_path / "out")
