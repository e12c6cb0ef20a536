"""Laws of `import`: each importer with its options, and one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tgqformer.catalog.catalog import Catalog


def test_import_knows_every_importer_and_lists_its_options(tgqformer_json) -> None:
    from tgqformer.catalog.importers import IMPORTERS
    from tgqformer.cli.import_catalog import KINDS

    assert list(KINDS) == list(IMPORTERS)
    for kind in KINDS:
        options = tgqformer_json("import", kind, "--options")
        assert all(row["meaning"] for row in options), kind


def test_import_of_a_table_with_a_column_map(tmp_path: Path, tgqformer, tgqformer_json) -> None:
    source, out = tmp_path / "goods.csv", tmp_path / "shop"
    source.write_text("sku,name,cost,hue\nA,Lamp,$3.50,red\nB,Mug,,\n")
    columns = [f"--column={name}" for name in ("item_id=sku", "title=name", "price=cost")]
    told = tgqformer_json("import", "table", source, out, *columns, "--set", "attributes=hue", "-q")
    assert told["items"] == 2
    first = Catalog.load(out)[0]
    assert (first.item_id, first.title, first.price) == ("A", "Lamp", 3.5)
    assert dict(first.attributes) == {"hue": "red"}


def test_import_prints_first_reasons_and_writes_them_all(
    tmp_path: Path, tgqformer, tgqformer_json
) -> None:
    source, left = tmp_path / "goods.tsv", tmp_path / "left.csv"
    bad = "".join(f"A{n}\tx\ty\n" for n in range(30))
    source.write_text(f'item_id\ttitle\nA\t"Lamp\nB\tMug\n{bad}')
    code, out, _ = tgqformer(
        "import", "table", source, tmp_path / "shop", "--quarantine", left, "-q"
    )
    assert (code, "Imported 2 items" in out) == (0, True)
    assert "items row 1, title: the quote that opens in line 2" in out
    assert "items row 3, row: the row, in line 4, has 3 fields" in out
    assert "and 11 more; --quarantine FILE.csv writes them all" in out
    assert left.read_text().count("\n") == 32
    told = tgqformer_json("import", "table", source, tmp_path / "two", "-q")
    assert told["rejections"][0]["rule"] == "open quote"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table", "a.csv", "b", "--set", "imageroot=x"], "did you mean 'image_root'?"),
        (["table", "a.csv", "b", "--set", "seed=x"], "seed = 'x' must be int"),
        (["table", "a.csv", "b", "--set", "seed"], "key=value"),
        (["grocery", "a", "b", "--column", "title=x"], "has no option 'columns'"),
        (["table", "absent.csv", "b"], "absent.csv"),
        (["table", "a.csv"], "SOURCE and OUT"),
        (["nonsense", "a", "b"], "nonsense"),
    ],
)
def test_import_names_what_is_wrong(tgqformer, arguments: list[str], words: str) -> None:
    code, _, err = tgqformer("import", *arguments)
    assert code == 2
    assert words in err
