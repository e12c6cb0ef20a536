"""Photos and lines for an importer to read, and what holds for any catalog that one wrote."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog

Put = Callable[..., Path]
Texts = Callable[..., list[dict[str, str]]]


@pytest.fixture(scope="session")
def put_photo() -> Put:
    def put(path: Path, shade: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        Image.new("RGB", (8, 8), (shade, 100, 30)).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
        return path

    return put


@pytest.fixture(scope="session")
def put_lines() -> Put:
    """Write lines, each a text or what JSON makes one of; packed where the name ends in .gz."""

    def put(path: Path, lines: list[Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(
            (line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines
        )
        data = text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return put


@pytest.fixture(scope="session")
def labels_of() -> Callable[[Catalog, str], dict[str, Any]]:
    def read(catalog: Catalog, column: str) -> dict[str, Any]:
        assert catalog.labels is not None
        return dict(catalog.labels.select("item_id", column).iter_rows())

    return read


@pytest.fixture(scope="session")
def check_written() -> Callable[[Catalog, Path], None]:
    """What an importer returns is what it wrote, and its photos are in the folder."""

    def check(catalog: Catalog, out: Path) -> None:
        loaded = Catalog.load(out, strict=True, check_images=True)
        assert loaded.items == catalog.items
        assert loaded.pairs == catalog.pairs
        for item in catalog.items:
            for ref in item.images:
                assert ref.is_relative_to(out / "images")

    return check


@pytest.fixture(scope="session")
def texts() -> Texts:
    """A text in some languages, as the Amazon Berkeley Objects have it."""

    def make(**by_language: str) -> list[dict[str, str]]:
        return [{"language_tag": tag, "value": value} for tag, value in by_language.items()]

    return make


@pytest.fixture(scope="session")
def put_abo(put_lines: Put, put_photo: Put, texts: Texts) -> Callable[[Path], None]:
    """Write the Amazon Berkeley Objects in small, one photo of which leads out of the folder."""

    def put(folder: Path) -> None:
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
                "color": [
                    {"language_tag": "en_US", "standardized_values": ["Grey"], "value": "Ash"}
                ],
                "product_type": [{"value": "CHAIR"}],
                "node": [{"node_id": 1, "node_name": "/Categories/Furniture/Chairs"}],
                "main_image_id": "81a",
                "other_image_id": ["81b", "none", "81a"],
            },
            {
                "item_id": "L2",
                "item_name": texts(ja_JP="机"),
                "product_type": [{"value": "HOME_DESK"}],
            },
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

    return put
