"""The importer of the Amazon Berkeley Objects: languages, photos, and parts that are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.abo import import_abo
from tgqformer.catalog.items import Item
from tgqformer.errors import CatalogError

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]
Check = Callable[[Catalog, Path], None]


def test_abo(
    tmp_path: Path, put_abo: Callable[[Path], None], labels_of: Labels, check_written: Check
) -> None:
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


def test_abo_says_what_is_missing(tmp_path: Path, put_lines: Put) -> None:
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
