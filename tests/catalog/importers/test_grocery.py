"""Laws of the importer of the Grocery Store photos, on a small copy and on that of its authors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.importers.grocery import import_grocery
from tgqformer.catalog.items import Item
from tgqformer.catalog.splits import check_leaks
from tgqformer.catalog.text import item_text
from tgqformer.errors import CatalogError

Put = Callable[..., Path]
Labels = Callable[[Catalog, str], dict[str, Any]]
Check = Callable[[Catalog, Path], None]

FINE = {
    "Pink-Lady": ("Apple", "Fruit"),
    "Royal-Gala": ("Apple", "Fruit"),
    "Kiwi": ("Kiwi", "Fruit"),
}


@pytest.fixture
def put_grocery(put_lines: Put, put_photo: Put) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
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

    return put


@pytest.fixture
def check_grocery(labels_of: Labels) -> Callable[[Catalog], None]:
    """The laws of the task, on any copy of the data set."""

    def check(catalog: Catalog) -> None:
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

    return check


def test_grocery(
    tmp_path: Path,
    check_written: Check,
    put_grocery: Callable[[Path], None],
    check_grocery: Callable[[Catalog], None],
) -> None:
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


def test_grocery_says_what_is_wrong(tmp_path: Path, put_grocery: Callable[[Path], None]) -> None:
    with pytest.raises(CatalogError, match=r"classes.csv cannot be read .*name the data set's own"):
        import_grocery(tmp_path, tmp_path / "out")
    put_grocery(tmp_path)
    (tmp_path / "val.txt").write_text("val/a.jpg, 99, 0\n")
    with pytest.raises(CatalogError, match=r"val.txt is not a list .*there is no class 99"):
        import_grocery(tmp_path, tmp_path / "out")
    (tmp_path / "classes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CatalogError, match="classes.csv is not the data set's table of classes"):
        import_grocery(tmp_path, tmp_path / "out")


def test_grocery_as_its_authors_have_it(
    tmp_path: Path, check_grocery: Callable[[Catalog], None]
) -> None:
    beside = Path(__file__).parents[3].parent / "shared/data/grocery"
    source = Path(os.environ.get("TGQFORMER_GROCERY", beside))
    if not source.is_dir():
        pytest.skip("the Grocery Store photos are not here; set TGQFORMER_GROCERY")
    catalog = import_grocery(source, tmp_path / "out", strict=True)
    assert len(catalog) == 5502
    assert catalog.describe()["pool"] == {"train": 0, "val": 296 + 81, "test": 2485 + 81}
    check_grocery(catalog)
