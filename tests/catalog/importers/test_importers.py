"""What holds for every importer: the registry, amounts, own sources kept, odd values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers import IMPORTERS
from tgqformer.catalog.importers.parts import amount
from tgqformer.catalog.importers.table import import_table
from tgqformer.errors import CatalogError

Put = Callable[..., Path]
Check = Callable[[Catalog, Path], None]


def test_the_registry_is_whole() -> None:
    for name, importer in IMPORTERS.items():
        assert importer.__name__ == f"import_{name.replace('-', '_')}"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("$1,234.50", 1234.5),
        ("$1,234", 1234.0),
        ("$5.00 - $9.00", "$5.00 - $9.00"),
        ("", None),
        ("None", None),
        ("—", None),
        (7, 7),
        (None, None),
        ("cheap", "cheap"),
    ],
)
def test_amounts(told: Any, expected: Any) -> None:
    assert amount(told) == expected


def test_an_import_of_nothing_is_an_error_and_writes_nothing(
    tmp_path: Path, put_lines: Put
) -> None:
    table = put_lines(tmp_path / "meta.CSV", ["parent_asin,title", "B1,x"])
    for name in ("amazon2018", "amazon2023"):
        with pytest.raises(CatalogError):
            IMPORTERS[name](table, tmp_path / "out")
    empty = put_lines(tmp_path / "empty.csv", ["item_id,title"])
    with pytest.raises(CatalogError, match="gave no item, so nothing was written"):
        import_table(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["items.csv", "items.jsonl", "items.parquet", "items"])
def test_an_import_never_takes_its_own_source(tmp_path: Path, kind: str) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    frame = pl.DataFrame({"item_id": ["a", "b"], "margin": ["high", "low"]})
    source = shop / kind
    if kind == "items":
        source.mkdir()
        frame.write_parquet(source / "part-0.parquet")
    else:
        getattr(frame, f"write_{kind[6:].replace('jsonl', 'ndjson')}")(source)
    before = {path: path.is_dir() or path.read_bytes() for path in shop.rglob("*")}
    with pytest.raises(CatalogError, match=rf"shop/{kind} would be lost by an import into .*shop;"):
        import_table(source, shop)
    assert before == {path: path.is_dir() or path.read_bytes() for path in shop.rglob("*")}
    if kind != "items":
        other = source.rename(shop / f"goods{source.suffix}")
        assert len(import_table(other, shop)) == 2
        assert other.read_bytes() == before[source]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet", "labels.jsonl", "labels.parquet"])
def test_an_import_keeps_tables_that_it_did_not_write(
    tmp_path: Path, name: str, put_lines: Put
) -> None:
    source = put_lines(tmp_path / "goods.csv", ["item_id", "a", "b"])
    import_table(source, tmp_path)
    import_table(source, tmp_path)  # what an import wrote, the next one replaces
    frame = pl.DataFrame({"query_id": ["a"], "target_id": ["b"], "item_id": ["a"]})
    suffix = Path(name).suffix[1:].replace("jsonl", "ndjson")
    getattr(frame, f"write_{suffix}")(tmp_path / name)
    before = folder_bytes(tmp_path)
    with pytest.raises(CatalogError, match=rf"{name} would be lost .* import into another folder"):
        import_table(source, tmp_path)
    assert folder_bytes(tmp_path) == before


def test_an_import_never_takes_the_pairs_that_it_reads(tmp_path: Path, put_lines: Put) -> None:
    source = put_lines(tmp_path / "goods.csv", ["item_id", "a", "b"])
    pairs = tmp_path / "shop/pairs.parquet"
    pairs.parent.mkdir()
    pl.DataFrame({"query_id": ["a"], "target_id": ["b"], "note": ["mine"]}).write_parquet(pairs)
    before = pairs.read_bytes()
    with pytest.raises(CatalogError, match=r"pairs.parquet would be lost"):
        import_table(source, tmp_path / "shop", pairs=pairs)
    assert folder_bytes(tmp_path / "shop") == {"pairs.parquet": before}


SOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "amazon2018": (
        "asin",
        {
            "asin": "B1",
            "title": "Boot",
            "brand": "Acme",
            "category": ["Clothing", "Men"],
            "categories": [["Clothing", "Men"]],
            "color": "red",
            "price": "$3",
            "imageURL": ["http://x/b.jpg"],
            "also_buy": ["B2"],
            "related": {"also_bought": ["B2"]},
        },
    ),
    "amazon2023": (
        "parent_asin",
        {
            "parent_asin": "B1",
            "title": "Boot",
            "store": "Acme",
            "categories": ["Clothing"],
            "details": {"Brand": "Acme"},
            "images": {"large": ["http://x/b.jpg"], "variant": ["MAIN"]},
            "bought_together": ["B2"],
            "price": 3.0,
        },
    ),
    "abo": (
        "item_id",
        {
            "item_id": "B1",
            "item_name": [{"language_tag": "en_US", "value": "Boot"}],
            "brand": [{"language_tag": "en_US", "value": "Acme"}],
            "node": [{"node_name": "/Categories/Boots"}],
            "product_type": [{"value": "BOOT"}],
            "main_image_id": "81a",
            "other_image_id": ["81a"],
            "model_name": [{"language_tag": "en_US", "value": "X"}],
            "domain_name": "amazon.com",
        },
    ),
}
ODD = [None, True, 7, 1.5, "text", [], [3], ["a"], [["a"]], [{"a": 1}], {}, {"a": 1}, {"a": [1]}]


@pytest.mark.parametrize("kind", SOUND)
def test_an_odd_value_costs_its_row_at_most(
    tmp_path: Path,
    kind: str,
    put_lines: Put,
    put_photo: Put,
    put_abo: Callable[[Path], None],
    check_written: Check,
) -> None:
    """Whatever stands in whatever field: the import ends well, and the other rows are all there."""
    key, row = SOUND[kind]
    odd = [{**row, key: f"odd-{name}-{i}", name: v} for name in row for i, v in enumerate(ODD)]
    odd += [{**row, key: f"in-{name}-{i}", name: dict.fromkeys(row[name], v)}
            for name in row if isinstance(row[name], dict) for i, v in enumerate(ODD)]  # fmt: skip
    odd.append({**row, key: 7, "title": "getTime"})
    lines = [{**row, key: "first"}, *odd, {**row, key: "last"}]
    if kind == "abo":
        put_abo(tmp_path)
        for name in ("listings_0.json.gz", "listings_1.json.gz"):
            put_lines(tmp_path / f"listings/metadata/{name}", lines if "0" in name else [])
        source, options = tmp_path, {"pair_by": ["model_name"], "hidden": ["brand"]}
    else:
        source = put_lines(tmp_path / "meta.json.gz", lines)
        options = {"images": put_photo(tmp_path / "photos/first.png").parent}
    catalog = IMPORTERS[kind](source, tmp_path / "out", split="none", **options)
    assert {"first", "last"} <= set(catalog.index)
    dropped = sum(entry.rule == "wrong types" for entry in catalog.quarantine)
    assert 0 < dropped < len(odd) / 3
    check_written(catalog, tmp_path / "out")
