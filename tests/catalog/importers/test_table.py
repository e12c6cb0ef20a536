"""Laws of the importer of any table: a column map, its own names, and a map that is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.table import import_table
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import CatalogError, ConfigError

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]
Check = Callable[[Catalog, Path], None]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz"])
def test_any_table_by_a_column_map(
    tmp_path: Path,
    suffix: str,
    put_lines: Put,
    put_photo: Put,
    labels_of: Labels,
    check_written: Check,
) -> None:
    put_photo(tmp_path / "pics/a.png", 1)
    put_photo(tmp_path / "pics/b.png", 2)
    frame = pl.DataFrame(
        {
            "sku": ["007", "b"],
            "name": ["Lamp", "Rug"],
            "dept": ["Home", "Home"],
            "group": ["Lights", ""],
            "cost": ["$1,299.50", ""],
            "pictures": ["pics/a.png|pics/b.png", ""],
            "colour": ["red", None],
            "margin": ["high", "low"],
        }
    )
    source = tmp_path / f"shop{suffix}"
    plain = BytesIO()
    if ".jsonl" in suffix:
        frame.write_ndjson(plain)
    elif ".parquet" in suffix:
        frame.write_parquet(plain)
    else:
        frame.write_csv(plain, separator="\t" if ".tsv" in suffix else ",")
    data = plain.getvalue()
    source.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    put_lines(tmp_path / "links.csv", ["from,to,n", "007,b,3", "b,007,2"])
    catalog = import_table(
        source,
        tmp_path / "out",
        columns={
            "item_id": "sku",
            "title": "name",
            "category": "dept+group",
            "price": "cost",
            "images": "pictures",
        },
        attributes=["colour"],
        labels=["margin"],
        image_separator="|",
        pairs=tmp_path / "links.csv",
        pair_columns={"query_id": "from", "target_id": "to", "weight": "n"},
        strict=True,
    )
    first, second = catalog.items
    assert (first.item_id, first.title, first.category) == ("007", "Lamp", "Home > Lights")
    assert (first.price, first.attributes) == (1299.5, {"colour": "red"})
    assert [ref.name for ref in first.images] == ["a.png", "b.png"]
    assert second == Item("b", "Rug", "", "Home", {})
    assert catalog.pairs == [Pair("007", "b", 3.0), Pair("b", "007", 2.0)]
    assert labels_of(catalog, "margin") == {"007": "high", "b": "low"}
    check_written(catalog, tmp_path / "out")


def test_a_table_with_the_names_of_a_catalog_needs_no_map(tmp_path: Path, put_lines: Put) -> None:
    put_lines(tmp_path / "shop.csv", ["item_id,title,price", "a,Lamp,3", "b,Rug,x", "a,Cup,1"])
    catalog = import_table(tmp_path / "shop.csv", tmp_path / "out")
    assert catalog.items == [Item("a", "Lamp", price=3.0), Item("b", "Rug")]
    assert catalog.quarantine.counts() == {"items: duplicate id": 1, "items: no number": 1}


def test_a_wrong_column_map_says_so(tmp_path: Path, put_lines: Put) -> None:
    source = put_lines(tmp_path / "shop.csv", ["sku,name", "a,Lamp"])
    with pytest.raises(CatalogError, match=r"no column 'id' \(found: sku, name\); correct the col"):
        import_table(source, tmp_path / "out", columns={"item_id": "id"})
    with pytest.raises(
        ConfigError, match=r"'sku' is no field of the items table; use one of item_"
    ):
        import_table(source, tmp_path / "out", columns={"sku": "item_id"})
    with pytest.raises(CatalogError, match="no column 'item_id' .found: title.; rename the column"):
        import_table(source, tmp_path / "out", columns={"title": "name"})
    assert not (tmp_path / "out").exists()
