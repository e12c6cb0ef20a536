"""Each importer on small files in its source's own format, with that format's known quirks."""

from __future__ import annotations

import gzip
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers import IMPORTERS
from tgqformer.catalog.importers.abo import import_abo
from tgqformer.catalog.importers.amazon2018 import import_amazon2018
from tgqformer.catalog.importers.amazon2023 import import_amazon2023
from tgqformer.catalog.importers.grocery import import_grocery
from tgqformer.catalog.importers.myntra import import_myntra
from tgqformer.catalog.importers.parts import amount
from tgqformer.catalog.importers.table import import_table
from tgqformer.catalog.items import Item, Pair
from tgqformer.catalog.leaks import check_leaks
from tgqformer.catalog.text import item_text
from tgqformer.errors import CatalogError, ConfigError


def put_photo(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (shade, 100, 30)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return path


def put_lines(path: Path, lines: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def labels_of(catalog: Catalog, column: str) -> dict[str, Any]:
    assert catalog.labels is not None
    return dict(catalog.labels.select("item_id", column).iter_rows())


def check_written(catalog: Catalog, out: Path) -> None:
    """What an importer returns is what it wrote, and its photos are in the folder."""
    loaded = Catalog.load(out, strict=True, check_images=True)
    assert loaded.items == catalog.items
    assert loaded.pairs == catalog.pairs
    for item in catalog.items:
        for ref in item.images:
            assert ref.is_relative_to(out / "images")


def test_the_registry_is_whole() -> None:
    assert list(IMPORTERS) == ["table", "amazon2018", "amazon2023", "abo", "myntra", "grocery"]
    for name, importer in IMPORTERS.items():
        assert importer.__name__ == f"import_{name}"


# table


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz"])
def test_any_table_by_a_column_map(tmp_path: Path, suffix: str) -> None:
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


def test_a_table_with_the_names_of_a_catalog_needs_no_map(tmp_path: Path) -> None:
    put_lines(tmp_path / "shop.csv", ["item_id,title,price", "a,Lamp,3", "b,Rug,x", "a,Cup,1"])
    catalog = import_table(tmp_path / "shop.csv", tmp_path / "out")
    assert catalog.items == [Item("a", "Lamp", price=3.0), Item("b", "Rug")]
    assert catalog.quarantine.counts() == {"items: duplicate id": 1, "items: no number": 1}


def test_a_wrong_column_map_says_so(tmp_path: Path) -> None:
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
def test_an_import_keeps_tables_that_it_did_not_write(tmp_path: Path, name: str) -> None:
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


def test_an_import_never_takes_the_pairs_that_it_reads(tmp_path: Path) -> None:
    source = put_lines(tmp_path / "goods.csv", ["item_id", "a", "b"])
    pairs = tmp_path / "shop/pairs.parquet"
    pairs.parent.mkdir()
    pl.DataFrame({"query_id": ["a"], "target_id": ["b"], "note": ["mine"]}).write_parquet(pairs)
    before = pairs.read_bytes()
    with pytest.raises(CatalogError, match=r"pairs.parquet would be lost"):
        import_table(source, tmp_path / "shop", pairs=pairs)
    assert folder_bytes(tmp_path / "shop") == {"pairs.parquet": before}


# amazon


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


def test_amazon_2018(tmp_path: Path) -> None:
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
        "pairs: names no item": 1,
    }
    assert "1 of 5 pairs name products that the source does not hold" in "".join(
        map(str, catalog.quarantine)
    )
    check_written(catalog, tmp_path / "out")


def test_amazon_2014_literals(tmp_path: Path) -> None:
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


def test_amazon_2018_options(tmp_path: Path) -> None:
    source = put_lines(tmp_path / "meta.json", clothing_2018())
    catalog = import_amazon2018(
        source, tmp_path / "out", relations=["also_view"], max_targets=1, limit=3, split="none"
    )
    assert catalog.pairs == [Pair("A1", "A2")]
    assert len(catalog) == 3


def test_amazon_splits_keep_their_promise(tmp_path: Path) -> None:
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


def test_amazon_2023(tmp_path: Path) -> None:
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
    assert catalog.quarantine.counts() == {"pairs: names no item": 1}
    check_written(catalog, tmp_path / "out")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("$1,234.50", 1234.5),
        ("$5.00 - $9.00", 5.0),
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


def test_a_cut_archive_says_so(tmp_path: Path) -> None:
    source = put_lines(
        tmp_path / "meta.json.gz", [{"asin": f"A{os.urandom(8).hex()}"} for _ in range(99)]
    )
    source.write_bytes(source.read_bytes()[:-50])
    with pytest.raises(CatalogError, match=r"meta.json.gz cannot be read .*fetch it anew"):
        import_amazon2018(source, tmp_path / "out")
    with pytest.raises(CatalogError, match=r"gone.json.gz cannot be read"):
        import_amazon2018(tmp_path / "gone.json.gz", tmp_path / "out")


# abo


def texts(**by_language: str) -> list[dict[str, str]]:
    return [{"language_tag": tag, "value": value} for tag, value in by_language.items()]


def put_abo(folder: Path) -> None:
    listings = [
        {
            "item_id": "L1",
            "domain_name": "amazon.de",
            "country": "DE",
            "item_name": texts(de_DE="Stuhl"),
            "main_image_id": "81a",
        },
        {
            "item_id": "L1",
            "domain_name": "amazon.com",
            "country": "US",
            "item_name": texts(es_US="Silla", en_US="Chair &amp; pad"),
            "brand": texts(en_US="Rivet"),
            "color": [{"language_tag": "en_US", "standardized_values": ["Grey"], "value": "Ash"}],
            "product_type": [{"value": "CHAIR"}],
            "node": [{"node_id": 1, "node_name": "/Categories/Furniture/Chairs"}],
            "main_image_id": "81a",
            "other_image_id": ["81b", "none", "81a"],
        },
        {"item_id": "L2", "item_name": texts(ja_JP="机"), "product_type": [{"value": "HOME_DESK"}]},
        {"item_name": texts(en_US="no id")},
        {"item_id": "L4", "main_image_id": "evil"},
    ]
    put_lines(folder / "listings/metadata/listings_0.json.gz", listings[:2])
    put_lines(folder / "listings/metadata/listings_1.json.gz", listings[2:])
    table = [
        "image_id,height,width,path",
        "81a,8,8,8f/81a.png",
        "81b,8,8,8f/81b.png",
        "evil,8,8,../../secret.png",
    ]
    put_lines(folder / "images/metadata/images.csv.gz", table)
    put_photo(folder / "images/small/8f/81a.png", 1)
    put_photo(folder / "images/small/8f/81b.png", 2)
    put_photo(folder.parent / "secret.png", 3)


def test_abo(tmp_path: Path) -> None:
    put_abo(tmp_path / "abo")
    catalog = import_abo(tmp_path / "abo", tmp_path / "out")
    first, second, third = catalog.items
    assert (first.item_id, first.title, first.brand) == ("L1", "Chair & pad", "Rivet")
    assert (first.category, first.attributes) == ("Furniture > Chairs", {"color": "Ash"})
    assert [str(ref.relative_to(tmp_path / "out")) for ref in first.images] == [
        "images/small/8f/81a.png",
        "images/small/8f/81b.png",
    ]
    assert second == Item("L2", "机", "", "Home desk")
    assert third == Item("L4")
    assert labels_of(catalog, "domain")["L1"] == "amazon.com"
    assert catalog.quarantine.counts() == {
        "items: image missing": 1,
        "items: image outside the folder": 1,
        "items: missing id": 1,
    }
    check_written(catalog, tmp_path / "out")
    other = import_abo(tmp_path / "abo", tmp_path / "out2", language="de", max_images=1, limit=2)
    assert [(item.title, len(item.images)) for item in other.items] == [("Stuhl", 1)]


def test_abo_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        CatalogError, match=r"holds no listings_\*.json.gz; unpack abo-listings.tar"
    ):
        import_abo(tmp_path, tmp_path / "out")
    put_lines(tmp_path / "listings/metadata/listings_0.json", [{"item_id": "L1"}])
    with pytest.raises(CatalogError, match=r"holds no images.csv.gz; unpack abo-images-small.tar"):
        import_abo(tmp_path, tmp_path / "out")
    put_lines(tmp_path / "images/metadata/images.csv", ["id,where", "1,2"])
    with pytest.raises(CatalogError, match="is no table with image_id and path"):
        import_abo(tmp_path, tmp_path / "out")


# myntra

MYNTRA_HEADER = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    "productDisplayName"
)


def test_myntra(tmp_path: Path) -> None:
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


def test_myntra_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="holds no styles.csv; name the folder"):
        import_myntra(tmp_path, tmp_path / "out")
    put_lines(tmp_path / "styles.csv", ["sku,name", "1,x"])
    (tmp_path / "images").mkdir()
    with pytest.raises(CatalogError, match="begins with the columns sku, name; a Myntra table"):
        import_myntra(tmp_path, tmp_path / "out")


# grocery

FINE = {
    "Pink-Lady": ("Apple", "Fruit"),
    "Royal-Gala": ("Apple", "Fruit"),
    "Kiwi": ("Kiwi", "Fruit"),
}


def put_grocery(folder: Path) -> None:
    coarse = {"Apple": 0, "Kiwi": 1}
    lines = [
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),"
        "Iconic Image Path (str),Product Description Path (str)"
    ]
    shade = 0
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, (fine, (group, section)) in enumerate(FINE.items()):
        home = f"iconic-images-and-descriptions/{section}/{group}/{fine}"
        lines.append(
            f"{fine},{number},{group},{coarse[group]},/{home}/{fine}_Iconic.jpg,"
            f"/{home}/{fine}_Description.txt"
        )
        put_photo(folder / home / f"{fine}_Iconic.jpg", shade := shade + 1)
        for split, count in (("train", 4), ("val", 2), ("test", 3)):
            for serial in range(1, count + 1):
                name = f"{split}/{section}/{group}/{fine}/{fine}_{serial:03d}.jpg"
                put_photo(folder / name, shade := shade + 1)
                lists[split].append(f"{name}, {number}, {coarse[group]}")
    put_lines(folder / "classes.csv", lines)
    for split, rows in lists.items():
        put_lines(folder / f"{split}.txt", rows)


def check_grocery(catalog: Catalog) -> None:
    """The laws of the task, on any copy of the data set."""
    fine, coarse, kind, pool = (
        labels_of(catalog, name) for name in ("fine", "coarse", "kind", "pool")
    )
    fine_of_coarse: dict[str, set[str]] = {}
    for item in catalog.items:
        fine_of_coarse.setdefault(coarse[item.item_id], set()).add(fine[item.item_id])
    for item in catalog.items:
        text = item_text(item).lower()
        hidden = fine[item.item_id].replace("-", " ").lower()
        if len(fine_of_coarse[coarse[item.item_id]]) > 1:
            assert hidden not in text
        assert item.title == coarse[item.item_id].replace("-", " ")
        assert item.category.endswith(f" > {item.title}")
        assert (item.brand, item.attributes, item.price) == ("", {}, None)
        split = item.item_id.split("/")[0]
        assert (
            pool[item.item_id]
            == {
                "train": "",
                "val": "val",
                "test": "test",
                "iconic": "val,test",
            }[split]
        )
    targets: dict[tuple[str, str], set[str]] = {}
    for pair in catalog.pairs:
        assert fine[pair.query_id] == fine[pair.target_id]
        assert pair.query_id.split("/")[0] == pair.split
        assert pair.target_id.split("/")[0] in (
            {pair.split} if pair.split == "train" else {pair.split, "iconic"}
        )
        targets.setdefault((pair.split, pair.query_id), set()).add(pair.target_id)
    for split in ("val", "test"):
        photos = [i.item_id for i in catalog.items if i.item_id.startswith(f"{split}/")]
        asked = {query for told, query in targets if told == split}
        assert asked == {p for p in photos if len(fine_of_coarse[coarse[p]]) > 1}
        for query in asked:
            same = {p for p in photos if fine[p] == fine[query] and p != query}
            assert targets[split, query] == same | {f"iconic/{fine[query]}"}
        in_pool = {catalog.items[i].item_id for i in catalog.pool_indices(split).tolist()}
        assert in_pool == {*photos, *(i for i in kind if kind[i] == "iconic")}
    assert check_leaks(catalog, promise="cold") == []


def test_grocery(tmp_path: Path) -> None:
    put_grocery(tmp_path / "grocery/dataset")
    catalog = import_grocery(tmp_path / "grocery", tmp_path / "out", strict=True)
    assert len(catalog) == 3 * (4 + 2 + 3 + 1)
    assert catalog.describe()["pairs"] == {"train": 36, "val": 2 * 2 * 2, "test": 2 * 3 * 3}
    assert catalog[0] == Item(
        "train/Pink-Lady_001", "Apple", "", "Fruit > Apple", {}, None, catalog[0].images
    )
    check_grocery(catalog)
    check_written(catalog, tmp_path / "out")
    few = import_grocery(tmp_path / "grocery/dataset", tmp_path / "few", targets=2)
    same = import_grocery(tmp_path / "grocery/dataset", tmp_path / "same", targets=2)
    other = import_grocery(tmp_path / "grocery/dataset", tmp_path / "other", targets=2, seed=1)
    assert few.describe()["pairs"]["train"] == 3 * 4 * 2
    assert few.pairs == same.pairs != other.pairs


def test_grocery_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"classes.csv cannot be read .*name the data set's own"):
        import_grocery(tmp_path, tmp_path / "out")
    put_grocery(tmp_path)
    (tmp_path / "val.txt").write_text("val/a.jpg, 99, 0\n")
    with pytest.raises(CatalogError, match=r"val.txt is not a list .*there is no class 99"):
        import_grocery(tmp_path, tmp_path / "out")
    (tmp_path / "classes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CatalogError, match="classes.csv is not the data set's table of classes"):
        import_grocery(tmp_path, tmp_path / "out")


def test_grocery_as_its_authors_have_it(tmp_path: Path) -> None:
    beside = Path(__file__).parents[2].parent / "shared/data/grocery"
    source = Path(os.environ.get("TGQFORMER_GROCERY", beside))
    if not source.is_dir():
        pytest.skip("the Grocery Store photos are not here; set TGQFORMER_GROCERY")
    catalog = import_grocery(source, tmp_path / "out", strict=True)
    assert len(catalog) == 5502
    assert catalog.describe()["pool"] == {"train": 0, "val": 296 + 81, "test": 2485 + 81}
    check_grocery(catalog)


# rows that are not as their data set has them

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
def test_an_odd_value_costs_its_row_at_most(tmp_path: Path, kind: str) -> None:
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


# pairs for those that have none


def test_only_paired_products_where_asked(tmp_path: Path) -> None:
    source = put_lines(tmp_path / "meta.json.gz", [*clothing_2018(), {"asin": "A5"}])
    whole = import_amazon2018(source, tmp_path / "whole", split="none")
    paired = import_amazon2018(source, tmp_path / "paired", split="none", paired=True)
    assert [item.item_id for item in whole.items] == ["A1", "A2", "A3", "A5"]
    assert [item.item_id for item in paired.items] == ["A1", "A2", "A3"]
    assert paired.pairs == whole.pairs
    assert list(labels_of(paired, "image_urls")) == ["A1", "A2", "A3"]
    assert "labels: names no item" not in paired.quarantine.counts()


def myntra_rows(folder: Path, rows: list[str]) -> Path:
    header = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    put_lines(folder / "styles.csv", [header + "productDisplayName", *rows])
    (folder / "images").mkdir()
    return folder


def test_myntra_pairs_by_what_is_hidden(tmp_path: Path) -> None:
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


def test_pairs_by_group_keep_the_cold_promise(tmp_path: Path) -> None:
    rows = [f"{i},Men,A,B,C,{i % 12},S,2011,U,Thing {i}" for i in range(120)]
    source = myntra_rows(tmp_path / "data", rows)
    catalog = import_myntra(source, tmp_path / "out", pair_by=["baseColour"])
    assert catalog.describe()["pairs"]["test"] > 20
    assert check_leaks(catalog, promise="cold") == []


def test_abo_pairs_by_model_line(tmp_path: Path) -> None:
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
