"""Every recipe loads, and its page's commands run on small files in the format of its data."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import click
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.splits import check_leaks
from tgqformer.catalog.text import item_text
from tgqformer.cli import main as cli
from tgqformer.config import load_yaml, override, to_dict
from tgqformer.presets import load_preset

RECIPES = Path(__file__).parent.parent.parent / "recipes"
NAMES = ["storefront", "grocery", "amazon-clothing-2018", "myntra", "abo"]
BLOCK = re.compile(r"```bash\n(.*?)```\n", re.DOTALL)


def commands(name: str) -> list[list[str]]:
    """The `tgqformer` commands of a recipe's page, each as its words."""
    text = "".join(BLOCK.findall((RECIPES / f"{name}.md").read_text("utf-8")))
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines]
    return [line[1:] for line in words if line[:1] == ["tgqformer"]]


def picture(number: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (12, 12), (number * 37 % 256, number * 91 % 256, 99)).save(buffer, "JPEG")
    return buffer.getvalue()


# -- the files -----------------------------------------------------------------------------------


def test_every_recipe_is_a_configuration_and_a_page() -> None:
    found = {path.stem for path in RECIPES.glob("*.yaml")}
    assert set(NAMES) <= found
    told = (RECIPES / "README.md").read_text("utf-8")
    for name in found:
        assert (RECIPES / f"{name}.md").is_file()
        assert f"({name}.md)" in told


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_changes_what_it_says_of_its_base_and_no_more(name: str) -> None:
    path = RECIPES / f"{name}.yaml"
    config = load_preset(str(path))
    told = load_yaml(path)
    base = to_dict(load_preset(told.pop("base")))
    for group, options in told.items():
        for key, value in options.items():
            assert to_dict(config)[group][key] == value
            assert base[group][key] != value, f"{group}.{key} is its base's own"
            base[group][key] = value
    assert to_dict(config) == base


@pytest.mark.parametrize("name", NAMES)
def test_a_page_tells_the_way_from_data_to_table(name: str) -> None:
    """Its commands are ones that the command line knows, with options that it has."""
    told = commands(name)
    order = [line[0] for line in told]
    assert order[-1] == "compare"
    assert order.index("train") < order.index("evaluate") < order.index("compare")
    context = click.Context(cli.tgqformer)
    for first, *rest in told:
        command = cli.tgqformer.get_command(context, first)
        if command is None and first == "compare":
            continue
        assert command is not None, first
        command.make_context(first, list(rest))
        presets = [rest[i + 1] for i, word in enumerate(rest) if word == "--preset"]
        assert presets in ([], [f"recipes/{name}.yaml"])
    page = (RECIPES / f"{name}.md").read_text("utf-8")
    assert "**Data.**" in page
    assert "licence" in page
    assert "## Time and memory" in page


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in RECIPES.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (RECIPES / link).exists(), f"{page.name}: {link}"


# -- small data in each format -------------------------------------------------------------------


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def put_lines(path: Path, rows: list[object]) -> None:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    put(path, gzip.compress(text.encode()) if path.suffix == ".gz" else text)


def no_data(folder: Path, url: str) -> None:
    pass


def grocery_data(folder: Path, url: str) -> None:
    root = folder / "GroceryStoreDataset" / "dataset"
    fine = ["Gala", "Pink-Lady", "Whole-Milk", "Oat-Milk"]
    coarse = ["Apple", "Apple", "Milk", "Milk"]
    rows: list[object] = ["Class Name (str),ID,Coarse Class Name (str),ID,Iconic,Description"]
    for number, (name, kind) in enumerate(zip(fine, coarse)):
        iconic = f"iconic-images-and-descriptions/Food/{kind}/{name}/{name}_Iconic.jpg"
        put(root / iconic, picture(number))
        rows.append(f"{name},{number},{kind},{number // 2},/{iconic},/none.txt")
    put_lines(root / "classes.csv", rows)
    for start, split in enumerate(("train", "val", "test")):
        listed: list[object] = []
        for number in range(12):
            name = fine[number % 4]
            path = f"{split}/Food/{name}/{name}_{number:03}.jpg"
            put(root / path, picture(100 * start + number + 10))
            listed.append(f"{path}, {number % 4}, {number % 4 // 2}")
        put_lines(root / f"{split}.txt", listed)


def amazon_data(folder: Path, url: str) -> None:
    put_lines(
        folder / "meta_Clothing_Shoes_and_Jewelry.json.gz",
        [
            {
                "asin": f"B{number:03}",
                "title": f"Boot {number}",
                "category": ["Clothing", "Shoes"],
                "imageURLHighRes": [f"{url}/{number}.jpg"],
                "also_buy": [f"B{(number + step) % 60:03}" for step in (1, 2)],
                "also_view": [f"B{(number + 7) % 60:03}"],
            }
            for number in range(60)
        ],
    )


def myntra_data(folder: Path, url: str) -> None:
    header = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    rows: list[object] = [header + "productDisplayName"]
    for number in range(60):
        colour = ("Blue", "Red", "Green", "Black")[number % 4]
        kind = ("Tshirts", "Shirts")[number % 2]
        told = f"Men,Apparel,Topwear,{kind},{colour},Fall,2011,Casual,Acme {colour} {kind}, large"
        rows.append(f"{1000 + number},{told}")
        put(folder / "myntra" / "images" / f"{1000 + number}.jpg", picture(number))
    put_lines(folder / "myntra" / "styles.csv", rows)


def abo_data(folder: Path, url: str) -> None:
    def told(value: str) -> list[dict[str, str]]:
        return [{"language_tag": "en_US", "value": value}]

    root, paths = folder / "abo", ["image_id,height,width,path"]
    listings: list[object] = []
    for number in range(60):
        line = f"Line {number % 15}"
        listings.append(
            {
                "item_id": f"L{number}",
                "item_name": told(f"{line} sofa {number}"),
                "brand": told("Rivet"),
                "model_name": told(line),
                "node": [{"node_name": "/Categories/Furniture/Sofas"}],
                "main_image_id": f"i{number}",
            }
        )
        paths.append(f"i{number},12,12,00/i{number}.jpg")
        put(root / "images" / "small" / "00" / f"i{number}.jpg", picture(number))
    put_lines(root / "listings" / "metadata" / "listings_0.json.gz", listings)
    put_lines(root / "images" / "metadata" / "images.csv.gz", [*paths])


DATA: dict[str, Callable[[Path, str], None]] = {
    "storefront": no_data,
    "grocery": grocery_data,
    "amazon-clothing-2018": amazon_data,
    "myntra": myntra_data,
    "abo": abo_data,
}
EXTRA = {
    "storefront": ["--items", "30", "--size", "32", "--workers", "1"],
    "download-images": ["--allow-private"],
}
HIDDEN = {"myntra": ("Shirt", "Red", "Blue", "Men"), "abo": ("Line", "Rivet"), "grocery": ("Gala",)}


class Photos(BaseHTTPRequestHandler):
    """Every photo but the third."""

    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        number = int(self.path.strip("/").removesuffix(".jpg"))
        self.send_response(404 if number == 3 else 200)
        self.end_headers()
        self.wfile.write(b"" if number == 3 else picture(number))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def photo_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Photos) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_on_small_files(
    name: str, photo_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tgqformer.training.run import train

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copytree(RECIPES, tmp_path / "recipes")
    DATA[name](tmp_path / "data", photo_server)
    for line in commands(name):
        if line[0] in ("storefront", "import", "download-images"):
            assert run(*line, *EXTRA.get(line[0], []), "-q") == 0, line
        elif line[0] == "validate":
            assert run(*line, "-q") in (0, 1)
    (folder,) = {line[1] for line in commands(name) if line[0] == "train"}
    catalog = Catalog.load(folder, check_images=True)
    assert check_leaks(catalog, promise="query" if name == "grocery" else "cold") == []
    assert catalog.describe()["pairs"]["test"] > 0
    assert sum(not item.images for item in catalog.items) <= 6
    for word in HIDDEN.get(name, ()):
        assert not any(word in item_text(item) for item in catalog.items)

    config = load_preset(f"recipes/{name}.yaml")
    small = [f"training.{key}={value}" for key, value in SMALL.items()]
    config = override(dataclasses.replace(config, embedder=load_preset("tiny").embedder), small)
    assert train(catalog, config, tmp_path / "run", device="cpu").summary["steps"] == 2


SMALL = {"batch_size": 4, "chunk_size": 4, "steps": 2, "alignment_steps": 1, "eval_every": 2}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code
