"""Laws of the photos of a catalog: what is fetched joins its item, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.downloads import download_catalog_images
from tgqformer.catalog.fetch import DownloadConfig
from tgqformer.catalog.importers.amazon import import_amazon2018
from tgqformer.cli import main as cli
from tgqformer.errors import CatalogError

Server = Any  # that of conftest.py
Config = Callable[..., DownloadConfig]
Photo = Callable[..., bytes]


@pytest.fixture
def metadata(server: Server, tmp_path: Path) -> Path:
    rows = [
        {"asin": "A1", "title": "Boot", "also_buy": ["A2"],
         "imageURLHighRes": [f"{server.url}/ok/1", f"{server.url}/ok/1b"]},
        {"asin": "A2", "title": "Sock", "imageURLHighRes": [f"{server.url}/status/404"]},
        {"asin": "A3", "title": "Hat", "imageURLHighRes": []},
        {"asin": "A4", "title": "Cap", "imageURLHighRes": [f"{server.url}/ok/1"]},
    ]  # fmt: skip
    path = tmp_path / "meta.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_an_unreachable_photo_costs_the_photo_and_not_the_item(
    server: Server, metadata: Path, tmp_path: Path, config: Config
) -> None:
    shop = tmp_path / "shop"
    before = import_amazon2018(metadata, shop, split="none")
    catalog, found = download_catalog_images(shop, config())
    assert (found.fetched, found.counts()) == (1, {"HTTP 404": 1})
    assert [len(item.images) for item in catalog.items] == [1, 0, 0, 1]
    (entry,) = catalog.quarantine
    assert (entry.row, entry.item_id, entry.rule) == (2, "A2", "photo not fetched")
    assert f"{server.url}/status/404: the server answers 404" in entry.reason
    loaded = Catalog.load(shop, strict=True, check_images=True)
    assert loaded.items == catalog.items
    assert (loaded.pairs, loaded.labels.equals(before.labels)) == (before.pairs, True)


def test_fetching_again_changes_nothing(
    server: Server, metadata: Path, tmp_path: Path, config: Config
) -> None:
    shop = tmp_path / "shop"
    import_amazon2018(metadata, shop, split="none")
    download_catalog_images(shop, config(), per_item=2)
    items = (shop / "items.parquet").read_bytes()
    asked = dict(server.asked)
    catalog, found = download_catalog_images(shop, config(), per_item=2)
    assert (shop / "items.parquet").read_bytes() == items
    assert [len(item.images) for item in catalog.items] == [2, 0, 0, 1]
    assert (found.kept, found.given_up, dict(server.asked)) == (2, 1, asked)
    import_amazon2018(metadata, shop, split="none")  # which knows of no photos
    assert download_catalog_images(shop, config())[1].kept == 1
    assert dict(server.asked) == asked


def test_a_changed_rule_tries_again(
    server: Server, metadata: Path, tmp_path: Path, config: Config
) -> None:
    shop = tmp_path / "shop"
    import_amazon2018(metadata, shop, split="none")
    _, refused = download_catalog_images(shop, config(allow_private=False))
    assert refused.counts() == {"private address": 2}
    _, again = download_catalog_images(shop, config(allow_private=False))
    assert (again.given_up, len(again.failures)) == (2, 2)
    _, small = download_catalog_images(shop, config(max_bytes=10))
    assert small.counts() == {"too many bytes": 1, "HTTP 404": 1}
    assert small.given_up == 0
    _, found = download_catalog_images(shop, config())
    assert (found.fetched, found.counts(), found.given_up) == (1, {"HTTP 404": 1}, 1)


@pytest.mark.parametrize("between", [", ", ",", "|", ";", "\n"])
def test_a_text_of_several_urls_is_several_photos(
    server: Server, tmp_path: Path, config: Config, between: str
) -> None:
    urls = [f"{server.url}/ok/w_1,h_2", f"{server.url}/ok/b"]
    rows = [{"item_id": "a", "Images": between.join(urls)}]
    Catalog.from_rows([{"item_id": "a"}], labels=rows).save(tmp_path)
    catalog, found = download_catalog_images(tmp_path, config(), column="Images", per_item=4)
    assert (found.fetched, len(catalog[0].images)) == (2, 2)
    assert set(server.asked) == {"/ok/w_1,h_2", "/ok/b"}


def test_only_paired_items_and_only_some(
    server: Server, metadata: Path, tmp_path: Path, config: Config
) -> None:
    import_amazon2018(metadata, tmp_path / "shop", split="none")
    found = download_catalog_images(tmp_path / "shop", config(), paired=True)[1]
    assert len(found.paths) + len(found.failures) == 2
    import_amazon2018(metadata, tmp_path / "other", split="none")
    assert not download_catalog_images(tmp_path / "other", config(), limit=1)[1].failures


def test_catalogs_may_share_a_cache(
    server: Server, metadata: Path, tmp_path: Path, config: Config
) -> None:
    for name in ("one", "two"):
        import_amazon2018(metadata, tmp_path / name, split="none")
        catalog, _ = download_catalog_images(tmp_path / name, config(), cache=tmp_path / "cache")
        (ref, *_) = catalog.items[0].images
        assert ref.is_relative_to(tmp_path / name)
    assert server.asked["/ok/1"] == 1


def test_photos_from_elsewhere_stay_first(
    server: Server, metadata: Path, tmp_path: Path, config: Config, photo: Photo
) -> None:
    mine = photo(64)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/A1.png").write_bytes(mine)
    import_amazon2018(metadata, tmp_path / "shop", images=tmp_path / "photos", split="none")
    for _ in range(2):
        catalog, _ = download_catalog_images(tmp_path / "shop", config())
        assert [ref.read_bytes() == mine for ref in catalog.items[0].images] == [True, False]


@pytest.mark.parametrize("told", ["{0}", " {0} ", '["{0}"]', ""])
def test_urls_may_be_text(server: Server, tmp_path: Path, told: str, config: Config) -> None:
    cell = told.format(f"{server.url}/ok/1").replace('"', '""')
    (tmp_path / "goods.csv").write_text(f'sku,link\nA,"{cell}"\n')
    importing = ["import", "table", str(tmp_path / "goods.csv"), str(tmp_path / "shop")]
    assert run(*importing, "--column", "item_id=sku", "--set", "labels=link", "-q") == 0
    catalog, _ = download_catalog_images(tmp_path / "shop", config(), column="link")
    assert len(catalog.items[0].images) == (told != "")


def test_a_catalog_that_would_lose_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nA,Lamp\n")
    with pytest.raises(CatalogError, match="import it first"):
        download_catalog_images(tmp_path)
    (tmp_path / "items.csv").unlink()
    pl.DataFrame({"item_id": ["A"], "note": ["mine"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match="import it first"):
        download_catalog_images(tmp_path)
    pl.DataFrame({"item_id": ["A", "A"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match="1 rows that break a rule"):
        download_catalog_images(tmp_path)
    pl.DataFrame({"item_id": ["A"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match=r"no column 'image_urls' .found: none.; name the one"):
        download_catalog_images(tmp_path)


def test_the_command(
    server: Server, metadata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop, table = str(tmp_path / "shop"), tmp_path / "failed.csv"
    assert run("import", "amazon2018", str(metadata), shop, "-q") == 0
    options = ["--allow-private", "--quarantine", str(table), "-q"]
    assert run("download-images", shop, *options) == 0
    assert "1 photos fetched" in capsys.readouterr().out
    assert "status/404: the server answers 404" in table.read_text()
    assert run("download-images", shop, "--allow-private", "-q", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["photos"]["kept"], told["photos"]["given_up"]) == (1, 1)
    assert run("download-images", shop, "--workers", "0", "-q") == 2


def test_import_may_fetch_at_once(
    server: Server, metadata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = str(tmp_path / "shop")
    options = ["--download-images", "-q", "--json"]
    assert run("import", "amazon2018", str(metadata), shop, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["photos"]["faults"] == {"private address": 2}
    assert not server.asked
