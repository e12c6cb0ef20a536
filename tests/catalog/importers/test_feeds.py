"""Laws of the feeds that shops have: no row and no photo lost, and variants as one option says."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers import IMPORTERS
from tgqformer.catalog.importers.table import import_table
from tgqformer.errors import CatalogError, ConfigError

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]


def write(path: Path, header: list[str], rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, header, restval="", delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def shopify(path: Path, *, new: bool = False) -> Path:
    handle, src, price = (
        ("URL handle", "Product image URL", "Price")
        if new
        else ("Handle", "Image Src", "Variant Price")
    )
    quantity = "Inventory quantity" if new else "Variant Inventory Qty"
    sku = "SKU" if new else "Variant SKU"
    header = [
        handle,
        "Title",
        "Vendor",
        "Type",
        "Option1 Name",
        "Option1 Value",
        sku,
        quantity,
        price,
        src,
        "Image Position",
    ]
    rows = [
        {
            handle: "tee",
            "Title": "Tee &amp; <b>more</b>",
            "Vendor": "Wool",
            "Type": "Tops",
            "Option1 Name": "Size",
            "Option1 Value": "S",
            sku: "'001",
            quantity: "0",
            price: "12,50",
            src: "https://i/2.jpg",
            "Image Position": "2",
        },
        {handle: "tee", "Option1 Value": "M", sku: "'002", quantity: "3", price: "11,00"},
        {
            handle: "mug",
            "Title": "Mug",
            "Option1 Name": "Title",
            "Option1 Value": "Default Title",
            quantity: "-2",
            price: "9.5",
        },
        {handle: "tee", src: "https://i/1.jpg", "Image Position": "1"},
        {handle: "tee", src: "https://i/3.jpg", "Image Position": "10"},
        {handle: "", "Title": "whose?"},
    ]
    return write(path, header, rows)


@pytest.mark.parametrize("new", [False, True])
def test_the_rows_of_a_handle_are_one_product(tmp_path: Path, new: bool, labels_of: Labels) -> None:
    catalog = IMPORTERS["shopify"](shopify(tmp_path / "s.csv", new=new), tmp_path / "out")
    tee, mug = catalog.items
    assert (tee.item_id, tee.title, tee.brand, tee.category) == (
        "tee",
        "Tee & more",
        "Wool",
        "Tops",
    )
    assert (tee.price, dict(tee.attributes)) == (11.0, {"Size": "S, M", "in_stock": "true"})
    assert (mug.price, dict(mug.attributes)) == (9.5, {"in_stock": "false"})
    urls = labels_of(catalog, "image_urls")
    assert urls["tee"] == [f"https://i/{n}.jpg" for n in (1, 2, 3)]
    assert labels_of(catalog, "variant_ids")["tee"] == ["001", "002"]
    assert catalog.quarantine.counts() == {"items: missing id": 1}
    assert Catalog.load(tmp_path / "out").items == catalog.items


def test_variants_of_a_handle_as_a_group(tmp_path: Path) -> None:
    catalog = IMPORTERS["shopify"](shopify(tmp_path / "s.csv"), tmp_path / "out", variants="group")
    assert [item.item_id for item in catalog] == ["001", "002", "mug"]
    assert [item.title for item in catalog] == ["Tee & more", "Tee & more", "Mug"]
    assert [item.price for item in catalog] == [12.5, 11.0, 9.5]
    one, two, other = Catalog.load(tmp_path / "out").groups.tolist()
    assert one == two != other
    assert catalog.group_members("001") == {"001", "002"}


GOOGLE = [
    {
        "id": "007",
        "title": 'Shelf 24" &amp; oak',
        "image_link": "https://i/a.jpg",
        "additional_image_link": "https://i/w_1,h_2/b.jpg,https://i/c.jpg",
        "price": "1.249,00 EUR",
        "availability": "in_stock",
        "brand": "Nord",
        "product_type": "Home > Shelves",
        "color": "oak",
        "item_group_id": "G",
    },
    {
        "id": "008",
        "title": "Shelf",
        "image_link": "https://i/d.jpg",
        "price": "1.299 EUR",
        "availability": "out of stock",
        "google_product_category": "436",
        "item_group_id": "G",
    },
    {"id": "009", "title": "Stool", "price": "9.00 EUR", "availability": "soon perhaps"},
]
NAMES = list(dict.fromkeys(name for row in GOOGLE for name in row))


def google_xml(path: Path, *, atom: bool = False) -> Path:
    from xml.sax.saxutils import escape

    one = "entry" if atom else "item"
    parts = []
    for row in GOOGLE:
        fields = ["<title>of RSS</title><link>https://shop/x</link>"]
        for name, value in row.items():
            for told in value.split(",https") if name == "additional_image_link" else [value]:
                told = told if told.startswith("https") or "http" not in value else f"https{told}"
                fields.append(f"<g:{name}>{escape(told)}</g:{name}>")
        fields.append("<g:shipping><g:country>DE</g:country><g:price>4 EUR</g:price></g:shipping>")
        fields.append(
            "<g:product_detail><g:section_name>General</g:section_name><g:attribute_name>Wood"
            "</g:attribute_name><g:attribute_value>Ash</g:attribute_value></g:product_detail>"
        )
        parts.append(f"<{one}>{''.join(fields)}</{one}>")
    body = "\n".join(parts)
    root = (
        (
            "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:g='http://base.google.com/ns/1.0'>"
            f"{body}</feed>"
        )
        if atom
        else (
            f"<rss version='2.0' xmlns:g='http://base.google.com/ns/1.0'><channel><title>Shop</title>{body}"
            "</channel></rss>"
        )
    )
    data = f"<?xml version='1.0' encoding='utf-8'?>\n{root}".encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("kind", ["feed.tsv", "feed.csv", "rss.xml", "rss.xml.gz", "atom.xml"])
def test_a_google_feed_says_the_same_in_every_format(
    tmp_path: Path, kind: str, labels_of: Labels
) -> None:
    path = tmp_path / kind
    if "xml" in kind:
        google_xml(path, atom="atom" in kind)
    else:
        write(path, NAMES, GOOGLE, "\t" if "tsv" in kind else ",")
    catalog = IMPORTERS["google-merchant"](path, tmp_path / "out")
    first, second, third = catalog.items
    assert (first.item_id, first.title, first.price) == ("007", 'Shelf 24" & oak', 1249.0)
    assert (first.brand, first.category) == ("Nord", "Home > Shelves")
    assert first.attributes["color"] == "oak"
    assert [item.attributes.get("in_stock") for item in catalog] == ["true", "false", None]
    assert (second.price, second.category, third.title) == (None, "", "Stool")
    assert labels_of(catalog, "image_urls") == {
        "007": ["https://i/a.jpg", "https://i/w_1,h_2/b.jpg", "https://i/c.jpg"],
        "008": ["https://i/d.jpg"],
        "009": [],
    }
    assert (
        catalog.groups.tolist()[0] == catalog.groups.tolist()[1] >= 0 > catalog.groups.tolist()[2]
    )
    assert catalog.quarantine.counts() == {"items: ambiguous price": 1, "items: no stock": 1}
    assert [entry.row for entry in catalog.quarantine] == [2, 3]
    if "xml" in kind:
        assert first.attributes["Wood"] == "Ash"
    joint = IMPORTERS["google-merchant"](
        path, tmp_path / "joint", variants="one-item", decimal="comma"
    )
    assert [item.item_id for item in joint] == ["G", "009"]
    assert (joint[0].price, joint[0].attributes["in_stock"]) == (1249.0, "true")
    assert len(labels_of(joint, "image_urls")["G"]) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<rss><channel><item><g:id>1</g:id>", "no well-formed XML"),
        ("<rss><channel><item><id>1</id></channel>", "in line 1"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><rss><item><id>&a;</id></item></rss>", "declares entities"),
        ("<html><body>log in</body></html>", "gave no item"),
        ("sku\tname\n1\tx\n", "no column 'id'"),
    ],
)
def test_what_is_no_google_feed_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / ("feed.tsv" if "\t" in text else "feed.xml")
    path.write_text(text)
    with pytest.raises(CatalogError, match=words):
        IMPORTERS["google-merchant"](path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def woocommerce(path: Path) -> Path:
    header = [
        "ID",
        "Type",
        "SKU",
        "Name",
        "In stock?",
        "Stock",
        "Regular price",
        "Categories",
        "Images",
        "Parent",
        "Attribute 1 name",
        "Attribute 1 value(s)",
    ]
    rows = [
        {
            "ID": "1",
            "Type": "variable",
            "SKU": "H",
            "Name": "Hoodie &amp; cap",
            "In stock?": "1",
            "Categories": "Sale, Clothes > Tops, Clothes",
            "Images": "https://i/a.jpg, https://i/b.jpg",
            "Attribute 1 name": "Colour",
            "Attribute 1 value(s)": "Blue, Green",
        },
        {
            "ID": "2",
            "Type": "variation",
            "SKU": "H-B",
            "Name": "Hoodie - Blue",
            "In stock?": "0",
            "Regular price": "45",
            "Images": "https://i/b.jpg",
            "Parent": "H",
            "Attribute 1 name": "Colour",
            "Attribute 1 value(s)": "Blue",
        },
        {
            "ID": "3",
            "Type": "variation",
            "Name": "Hoodie - Green",
            "In stock?": "1",
            "Regular price": "12,50",
            "Images": "https://i/c.jpg",
            "Parent": "id:1",
            "Attribute 1 name": "Colour",
            "Attribute 1 value(s)": "Green",
        },
        {
            "ID": "4",
            "Type": "simple",
            "Name": "Mug",
            "In stock?": "backorder",
            "Stock": "3",
            "Categories": "Kitchen\\, Bar > Mugs",
        },
        {"ID": "5", "Type": "variation", "Name": "Lost", "Parent": "gone"},
    ]
    path.write_bytes(b"\xef\xbb\xbf" + write(path, header, rows).read_bytes())
    return path


def test_variations_join_their_product(tmp_path: Path, labels_of: Labels) -> None:
    catalog = IMPORTERS["woocommerce"](woocommerce(tmp_path / "w.csv"), tmp_path / "out")
    hoodie, mug, lost = catalog.items
    assert (hoodie.item_id, hoodie.title, hoodie.price) == ("1", "Hoodie & cap", 12.5)
    assert hoodie.category == "Clothes > Tops"
    assert dict(hoodie.attributes) == {"Colour": "Blue, Green", "in_stock": "true"}
    assert labels_of(catalog, "image_urls")["1"] == [f"https://i/{name}.jpg" for name in "abc"]
    assert (mug.category, mug.attributes["in_stock"]) == ("Kitchen, Bar > Mugs", "false")
    assert lost.title == "Lost"
    assert catalog.quarantine.counts() == {"items: no parent": 1}


def test_variations_as_a_group_take_what_they_lack(tmp_path: Path, labels_of: Labels) -> None:
    catalog = IMPORTERS["woocommerce"](
        woocommerce(tmp_path / "w.csv"), tmp_path / "out", variants="group"
    )
    assert [item.item_id for item in catalog] == ["2", "3", "4", "5"]
    assert {item.category for item in catalog.items[:2]} == {"Clothes > Tops"}
    assert [item.attributes["Colour"] for item in catalog.items[:2]] == ["Blue", "Green"]
    assert labels_of(catalog, "image_urls")["3"] == [f"https://i/{name}.jpg" for name in "cab"]
    assert catalog.groups[0] == catalog.groups[1] >= 0


RSS = "<?xml version='1.0'?>\n<rss><channel>{}</channel></rss>"
ONE = "<item><g:id>1</g:id><g:title>Mug {}</g:title></item>"


@pytest.mark.parametrize(
    ("title", "read"),
    [
        ("& cup", "Mug & cup"),
        ("&nbsp;cup", "Mug cup"),
        ("\x0bcup", "Mug cup"),
        ("grün", "Mug grün"),
    ],
)
def test_xml_that_is_not_well_formed_is_mended_and_told(
    tmp_path: Path, title: str, read: str
) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(RSS.format(ONE.format(title)).encode("cp1252"))
    catalog = IMPORTERS["google-merchant"](path, tmp_path / "out")
    assert " ".join(catalog[0].title.split()) == read
    assert catalog.quarantine.counts() == {"items: no well-formed XML": 1}


def test_xml_that_breaks_off_is_read_so_far_and_told(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text("\n " + RSS.format(ONE.format("one") + "<item><g:id>2</g:id>"))
    catalog = IMPORTERS["google-merchant"](path, tmp_path / "out")
    assert [item.item_id for item in catalog] == ["1"]
    (told,) = catalog.quarantine
    assert (told.row, told.action) == (2, "row dropped")
    assert "breaks off (mismatched tag in line 2)" in told.reason


def test_what_more_a_google_feed_says(tmp_path: Path, labels_of: Labels) -> None:
    rows = [
        {
            "id [id]": "1",
            "title": "Shelf",
            "price": "12,50 EUR",
            "sale_price": "9,99 EUR",
            "product_type": "Home > Shelves, Home > Sale",
            "product_detail": "General:Wood:Ash,General:Doors:2",
            "mpn": "x",
        },
        {"id [id]": "2", "title": "Mug", "product_type": "Home > Mugs, Cups", "sale_price": "free"},
    ]
    path = write(tmp_path / "f.tsv", list(rows[0]), rows, "\t")
    catalog = IMPORTERS["google-merchant"](path, tmp_path / "out")
    assert [item.price for item in catalog] == [12.5, None]
    assert labels_of(catalog, "sale_price") == {"1": 9.99, "2": None}
    assert [item.category for item in catalog] == ["Home > Shelves", "Home > Mugs, Cups"]
    assert catalog[0].attributes == {"Wood": "Ash", "Doors": "2"}
    assert [told.column for told in catalog.unread] == ["mpn"]
    assert [(told.field, told.row) for told in catalog.quarantine] == [("sale price", 2)]


def test_a_product_stands_before_its_variations_wherever_they_stand(
    tmp_path: Path, labels_of: Labels
) -> None:
    header = ["ID", "Type", "SKU", "Name", "Regular price", "Sale price", "Images", "Parent"]
    rows = [
        ["2", "variation, virtual", "M-B", "Mug - Blue", "5", "4", "https://i/b.jpg", "M"],
        ["1", "variable, downloadable", "M", "Mug", "", "", "https://i/a.jpg", ""],
        ["3", "variation", "", "Mug - Red", "6", "3", "", "id:1"],
    ]
    path = write(tmp_path / "w.csv", header, [dict(zip(header, row)) for row in rows])
    catalog = IMPORTERS["woocommerce"](path, tmp_path / "out")
    (mug,) = catalog.items
    assert (mug.item_id, mug.title, mug.price) == ("1", "Mug", 5)
    assert labels_of(catalog, "sku") == {"1": "M"}
    assert labels_of(catalog, "sale_price") == {"1": 3}
    assert labels_of(catalog, "image_urls") == {"1": ["https://i/a.jpg", "https://i/b.jpg"]}
    apart = IMPORTERS["woocommerce"](path, tmp_path / "two", variants="group")
    assert [item.item_id for item in apart] == ["2", "3"]


def test_rows_that_are_each_others_parents_are_not_lost(tmp_path: Path) -> None:
    header = ["ID", "SKU", "Name", "Parent", "Images"]
    told = [["1", "A", "a", "B", ""], ["2", "B", "b", "A", ""], ["3", "C", "c", "C", ""]]
    path = write(tmp_path / "w.csv", header, [dict(zip(header, row)) for row in told])
    catalog = IMPORTERS["woocommerce"](path, tmp_path / "out")
    assert [item.title for item in catalog] == ["b", "c"]
    assert catalog.labels is not None
    assert catalog.labels["variant_ids"].to_list() == [["1"], None]


def test_a_shops_products_json_is_an_export(tmp_path: Path, labels_of: Labels) -> None:
    told = {
        "products": [
            {
                "id": 7,
                "handle": "tee",
                "title": "Tee &amp; more",
                "vendor": "Wool",
                "product_type": "Tops",
                "options": [{"name": "Size"}],
                "variants": [
                    {"id": 71, "sku": "T-S", "option1": "S", "price": "12.50", "available": False},
                    {"id": 72, "option1": "M", "price": "9.00", "available": True},
                ],
                "images": [{"src": "https://i/1.jpg"}, {"src": "https://i/2.jpg"}],
            }
        ]
    }
    path = tmp_path / "products.json"
    path.write_text(json.dumps(told))
    (tee,) = catalog = IMPORTERS["shopify"](path, tmp_path / "out")
    assert (tee.item_id, tee.title, tee.brand, tee.category) == (
        "tee", "Tee & more", "Wool", "Tops",
    )  # fmt: skip
    assert (tee.price, dict(tee.attributes)) == (9, {"Size": "S, M", "in_stock": "true"})
    assert labels_of(catalog, "image_urls")["tee"] == ["https://i/1.jpg", "https://i/2.jpg"]
    apart = IMPORTERS["shopify"](path, tmp_path / "two", variants="group")
    assert [item.item_id for item in apart] == ["T-S", "72"]


def test_photos_of_a_folder_come_by_numbers_and_folders(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "4").mkdir(parents=True)
    names = ["1.png", "1_10.png", "1-2.png", "2 (1).png", "A.png", "A_1.png", "x_y.png", "zz.png"]
    for number, name in enumerate([*names, "4/b10.png", "4/b2.png"]):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(photos / name)
    rows = [{"id": item_id, "title": "t"} for item_id in ("1", "2", "4", "A", "A_1", "x/y")]
    feed = write(tmp_path / "f.tsv", ["id", "title"], rows, "\t")
    catalog = IMPORTERS["google-merchant"](feed, tmp_path / "out", images=photos)
    assert [[Path(str(ref)).name for ref in item.images] for item in catalog] == [
        ["1.png", "1-2.png", "1_10.png"], ["2 (1).png"], ["b2.png", "b10.png"], ["A.png"],
        ["A_1.png"], ["x_y.png"],
    ]  # fmt: skip
    (told,) = catalog.quarantine
    assert "1 of 10 pictures" in told.reason


def test_columns_that_an_import_does_not_read_are_named(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", ["sku", "name", "cost", "hue", "notes"], [{"sku": "a"}])
    catalog = import_table(
        table, tmp_path / "out", columns={"item_id": "sku"}, attributes=["hue"], labels=["notes"]
    )
    assert list(map(str, catalog.unread)) == ["name (title?)", "cost (price?)"]


@pytest.mark.parametrize("kind", ["shopify", "woocommerce"])
def test_another_table_is_no_feed(tmp_path: Path, kind: str, put_lines: Put) -> None:
    table = put_lines(tmp_path / "t.csv", ["item_id,label", "a,b"])
    with pytest.raises(CatalogError, match="import table` reads any table"):
        IMPORTERS[kind](table, tmp_path / "out")
    with pytest.raises(ConfigError, match="use one of one-item, group"):
        import_table(table, tmp_path / "out", variants="both")  # type: ignore[arg-type]


def test_any_table_has_variants_stock_and_links(tmp_path: Path, labels_of: Labels) -> None:
    columns = {
        "item_id": "sku",
        "images": "pics",
        "stock": "left",
        "group": "style",
        "price": "cost",
    }
    rows = [
        {
            "sku": "1",
            "title": "Tee",
            "style": "T",
            "pics": "https://i/a.jpg; https://i/b.jpg",
            "left": "0",
            "cost": "5",
        },
        {
            "sku": "2",
            "title": "Tee",
            "style": "T",
            "pics": "https://i/b.jpg|https://i/c.jpg",
            "left": "9",
            "cost": "4,50",
        },
        {"sku": "3", "title": "Mug", "pics": "", "left": "lots", "cost": "3"},
    ]
    source = write(tmp_path / "t.csv", ["sku", "title", "style", "pics", "left", "cost"], rows)
    apart = import_table(source, tmp_path / "apart", columns=columns, variants="group")
    assert [item.attributes.get("in_stock") for item in apart] == ["false", "true", None]
    assert apart.groups[0] == apart.groups[1] >= 0 > apart.groups[2]
    assert labels_of(apart, "image_urls")["1"] == ["https://i/a.jpg", "https://i/b.jpg"]
    assert apart.quarantine.counts() == {"items: no stock": 1}
    joint = import_table(source, tmp_path / "joint", columns=columns, variants="one-item")
    assert [(item.item_id, item.price) for item in joint] == [("T", 4.5), ("3", 3.0)]
    assert labels_of(joint, "image_urls")["T"] == [f"https://i/{name}.jpg" for name in "abc"]
    del columns["group"]
    columns["item_id"] = "title"
    joint = import_table(source, tmp_path / "by_id", columns=columns, variants="one-item")
    assert [item.item_id for item in joint] == ["Tee", "Mug"]
    assert not any(entry.rule == "duplicate id" for entry in joint.quarantine)


def test_groups_come_back_from_any_format(tmp_path: Path) -> None:
    labels = [
        {"item_id": str(n), "item_group_id": g} for n, g in enumerate(["x", "y", "x", None, ""])
    ]
    catalog = Catalog.from_rows([{"item_id": str(n)} for n in range(6)], labels=labels)
    for format in ("parquet", "jsonl", "csv"):
        catalog.save(tmp_path / format, format=format)
        groups = Catalog.load(tmp_path / format).groups
        assert groups[0] == groups[2] != groups[1] >= 0
        assert np.array_equal(groups[3:], [-1, -1, -1])
