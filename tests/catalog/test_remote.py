"""Laws of photos by address: as good as files, and bound by the rules of downloads."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from tgqformer.catalog import images as reading
from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image, image_key
from tgqformer.catalog.items import RemotePhoto
from tgqformer.catalog.photos import photo_groups
from tgqformer.errors import ImageError


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    buffer = BytesIO()
    Image.new("RGB", (6, 5), (10, 200, 30)).save(buffer, "PNG")
    system.pipe_file("/shop/a.png", buffer.getvalue())
    system.pipe_file("/shop/broken.png", b"no photo")
    yield system
    system.rm("/shop", recursive=True)


def test_an_address_is_as_good_as_a_file(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    rows = [
        {"item_id": "a", "images": "memory://shop/a.png"},
        {"item_id": "b", "images": ["memory://shop/a.png"]},
        {"item_id": "c", "images": "memory://shop/broken.png, memory://shop/gone.png"},
    ]
    catalog = Catalog.from_rows(rows, root=tmp_path, check_images=True)
    photo = RemotePhoto("memory://shop/a.png")
    assert [item.images for item in catalog] == [(photo,), (photo,), ()]
    assert catalog.quarantine.counts() == {"items: unreadable image": 2}
    assert decode_image(photo).size == (6, 5)
    assert image_key(photo) == image_key(store.cat_file("/shop/a.png"))
    assert photo_groups(catalog.items).tolist() == [0, 0, 2]
    for format in ("parquet", "jsonl", "csv"):
        catalog.save(tmp_path / format, format=format)
        assert Catalog.load(tmp_path / format, strict=True).items == catalog.items


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://host/a.jpg",
        "local://etc/passwd",
        "memory://x::file:///etc/passwd",
        "simplecache::memory://shop/a.png",
        "zip://a.jpg::memory://x.zip",
        "ssh://host/a.jpg",
    ],
)
def test_no_other_scheme_is_read(address: str, tmp_path: Path) -> None:
    (item,) = Catalog.from_rows([{"item_id": "a", "images": [address]}], root=tmp_path)
    assert item.images == ()
    with pytest.raises(ImageError):
        decode_image(RemotePhoto(address))


def test_what_is_not_there_or_too_large_is_one_sentence(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="memory://shop/gone.png does not exist"):
        decode_image(RemotePhoto("memory://shop/gone.png"))
    with pytest.raises(ImageError, match="more than the limit of 10"):
        reading._stored("memory://shop/a.png", 10, 5.0)


def test_a_photo_on_the_web_is_fetched_by_the_rules_of_downloads() -> None:
    if not reading._installed("http"):
        told = reading.address_fault("https://shop.example/a.jpg")
        assert told is not None
        assert "download-images" in told[1]
        assert "tgqformer[remote]" in told[1]
        pytest.skip("the extra [remote] is not installed")
    with pytest.raises(ImageError, match="private or local"):
        decode_image(RemotePhoto("http://127.0.0.1:1/a.jpg"))
