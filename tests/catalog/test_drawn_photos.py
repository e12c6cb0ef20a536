"""A photo that is drawn when it is read: known by its source and its recipe, stored as pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image, drawn_key, image_key, read_image_bytes
from tgqformer.catalog.items import DrawnPhoto, ImageRef, Item
from tgqformer.catalog.photos import photo_groups
from tgqformer.errors import ImageError
from tgqformer.scale.folder import stamp


@dataclass(frozen=True)
class Turned(DrawnPhoto):
    """The source, turned by so many quarters."""

    source: object  # type: ignore[assignment]
    quarters: int

    @property
    def recipe(self) -> str:  # type: ignore[override]
        return f"turned {self.quarters}"

    def draw(self, image: Image.Image) -> Image.Image:
        return image.rotate(90 * self.quarters, expand=True)


def scene(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def pixels(ref: ImageRef) -> np.ndarray:
    return np.asarray(decode_image(ref))


def test_it_is_drawn_from_its_source(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(scene())
    for source in (scene(), path):
        turned = Turned(source, 1)
        assert np.array_equal(pixels(turned), np.rot90(pixels(source)))
        assert read_image_bytes(turned) == scene()
    assert np.array_equal(pixels(Turned(Turned(path, 1), 3)), pixels(path))


def test_source_and_recipe_make_its_key(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(scene())
    turned = Turned(path, 1)
    assert (
        image_key(turned) == image_key(Turned(scene(), 1)) == drawn_key(image_key(path), "turned 1")
    )
    keys = {image_key(ref) for ref in (path, turned, Turned(path, 2), Turned(scene(1), 1))}
    assert len(keys) == 4


def test_a_fault_of_its_source_is_told_of_the_source(tmp_path: Path) -> None:
    gone = Turned(tmp_path / "gone.png", 1)
    for read in (decode_image, image_key, read_image_bytes):
        with pytest.raises(ImageError, match=r"gone\.png does not exist"):
            read(gone)
    with pytest.raises(ImageError, match="no picture in a known format"):
        decode_image(Turned(b"not a photo", 1))


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_saved_catalog_holds_it_as_pixels(tmp_path: Path, format: str) -> None:
    items = [Item("a", images=(scene(), Turned(scene(), 1)))]
    Catalog(items).save(tmp_path / "shop", format=format)
    [loaded] = Catalog.load(tmp_path / "shop").items
    for found, expected in zip(loaded.images, items[0].images, strict=True):
        assert not isinstance(found, DrawnPhoto)
        assert np.array_equal(pixels(found), pixels(expected))


def test_items_share_it_where_they_share_source_and_recipe() -> None:
    photos = [scene(), Turned(scene(), 1), Turned(scene(), 2), Turned(scene(), 1)]
    groups = photo_groups([Item(f"i{n}", images=(photo,)) for n, photo in enumerate(photos)])
    assert groups.tolist() == [0, 1, 2, 1]


def test_another_recipe_is_another_state_of_the_item() -> None:
    item = Item("a", images=(Turned(scene(), 1),))
    own = stamp(item, "text")
    assert own == stamp(replace(item, images=(Turned(scene(), 1),)), "text")
    others = [(Turned(scene(), 2),), (Turned(scene(1), 1),), (scene(),)]
    assert len({own, *(stamp(replace(item, images=photos), "text") for photos in others)}) == 4
