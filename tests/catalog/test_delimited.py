"""Laws of delimited text: no quote swallows a row untold; files of every habit are one table."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.quarantine import DROPPED, REPAIRED, Quarantine
from tgqformer.catalog.tables import read_table
from tgqformer.errors import CatalogError

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(path: Path, name: str = "items") -> tuple[list[tuple[object, ...]], Quarantine]:
    quarantine = Quarantine()
    table = read_table(path, name, quarantine)
    return list(zip(*(list(values) for values in table.columns.values()))), quarantine


def written(tmp_path: Path, text: str, name: str = "items.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


OPEN = {
    "to the end": ('A1,"open,5\nA2,Mug,6\nA3,Cup,7\n', [1], "line 2", "of the file, line 4"),
    "in the last row": ('A1,Lamp,5\nA2,Mug,6\nA3,"Cup,7\n', [3], "line 4", "of the file, line 4"),
    "in the last column": ('A1,Lamp,5\nA2,Mug,"6\nA3,Cup,7\n', [2], "line 3", "end of the file"),
    "a pair of them": (
        'A1,"open,5\nA2,Mug,6\nA3,"Cup,7\n', [1, 3], "line 2", "next quote, in line 4"
    ),
    "closed by an inch mark": (
        'A1,"open,5\nA2,Mug,6\nA3,24",7\nA4,Pan,8\n', [1], "line 2", "next quote, in line 4"
    ),
    "closed in the next row": ('A1,"open,5\nA2,24",6\n', [1], "line 2", "next quote, in line 3"),
    "before well-quoted rows": (
        'A1,"open,5\nA2,"Mug, blue",6\nA3,"Cup",7\n', [1], "line 2", "end of the file, line 4"
    ),
    "in the id": ('"A1,Lamp,5\nA2,Mug,6\n', [1], "line 2", "end of the file, line 3"),
}  # fmt: skip


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("kind", OPEN)
def test_an_open_quote_is_told_and_takes_no_row(
    tmp_path: Path, kind: str, delimiter: str, ends: str
) -> None:
    text, rows, opens, reaches = OPEN[kind]
    lines = ("item_id,title,price\n" + text).replace("Mug, blue", "Mug_ blue")
    lines = (
        lines.replace(",", delimiter).replace("_", delimiter).replace("item" + delimiter, "item_")
    )
    path = written(tmp_path, lines.replace("\n", ends))
    found, quarantine = read(path)
    assert [row[0] for row in found] == [f"A{n}" for n in range(1, len(found) + 1)]
    assert len(found) == text.count("\n")
    assert [(e.row, e.rule, e.action) for e in quarantine] == [
        (row, "open quote", REPAIRED) for row in rows
    ]
    reason = str(next(iter(quarantine)))
    assert opens in reason
    assert reaches in reason
    assert not any(str(value).startswith('"') for row in found for value in row)


def test_an_open_quote_in_a_row_of_another_width_costs_that_row_alone(tmp_path: Path) -> None:
    text = 'item_id,title,price\nA1,"Lamp, red,5\nA2,Mug,6\nA3,Cup,7\n'
    found, quarantine = read(written(tmp_path, text))
    assert [row[0] for row in found] == ["A2", "A3"]
    assert [(e.row, e.rule, e.action) for e in quarantine] == [(1, "open quote", DROPPED)]


def test_an_open_quote_takes_in_no_more_than_a_field_may_hold(tmp_path: Path) -> None:
    rows = "".join(f"{i},filler text of an ordinary row\n" for i in range(5_000))
    text = f'item_id,title\nx,Lamp\ny,"unclosed\n{rows}z,24"\n'
    found, quarantine = read(written(tmp_path, text))
    assert len(found) == 5_003
    (entry,) = quarantine
    assert (entry.row, entry.rule) == (2, "open quote")
    assert "over more than 100,000 characters" in entry.reason


def test_a_text_over_lines_is_no_row_for_having_commas(tmp_path: Path) -> None:
    texts = {
        "item_id,title\nA1,{}\nA2,Mug\n": "Table lamp\nwith shade, tall",
        "item_id,title\nA3,{}\n": "Table lamp\nwood, and glass",
        "item_id,title\nlamp,{}\nmug,Mug\ncup,Cup\n": "Table lamp\nwood, and glass",
        "item_id,title,price\nA1,{},5\nA2,Mug,3\n": "A lamp, wood\nand glass, tall",
        "item_id,body\nA1,{}\nA2,Mug\n": "<p>a,b</p>\n\n<ul>\n<li>x, y</li>\n</ul>",
    }
    for text, title in texts.items():
        found, quarantine = read(written(tmp_path, text.format(f'"{title}"')))
        assert found[0][1] == title
        assert not len(quarantine)


def test_lines_without_anything_are_no_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "\n\n item_id , title \n\nA1,x\n   \nA2,y\n\x1a")
    found, quarantine = read(path)
    assert (found, len(quarantine)) == ([("A1", "x"), ("A2", "y")], 0)
    with pytest.raises(CatalogError, match=r"items\.csv holds no text"):
        read(written(tmp_path, " \n"))


SOUND = {
    "a text over lines": ('A1,"Soft.\nWash cold, always.",5\n', "Soft.\nWash cold, always."),
    "in the last column": ('A1,5,"Soft\nlinen"\n', "5"),
    "quotes written twice": ('A1,"Mug ""Sea"" blue",5\n', 'Mug "Sea" blue'),
    "quotes not written twice": ('A1,"say "hi" there",5\n', 'say "hi" there'),
    "those with a comma": ('A1,"a "b, c" d",5\n', 'a "b, c" d'),
    "a quoted word first": ('A1,"Frame" small,5\n', '"Frame" small'),
    "an inch mark": ('A1,24" shelf,5\n', '24" shelf'),
    "an inch mark in quotes": ('A1,"24"" shelf",5\n', '24" shelf'),
    "blanks around quotes": ('A1, "Lamp, red" ,5\n', "Lamp, red"),
    "over lines, with quotes": ('A1,"the ""best""\nlamp",5\n', 'the "best"\nlamp'),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_quotes_that_are_closed_are_read_and_need_no_word(tmp_path: Path, kind: str) -> None:
    text, title = SOUND[kind]
    found, quarantine = read(written(tmp_path, f"item_id,title,price\n{text}B7,Mug,6\n"))
    assert [row[0] for row in found] == ["A1", "B7"]
    assert found[0][1] == title
    assert not len(quarantine)


PLAIN = st.text("ab 1.é", max_size=4)
QUOTED = st.text('ab "\n;|', max_size=8)


@given(st.lists(st.tuples(PLAIN, QUOTED, PLAIN), max_size=8), st.sampled_from([",", "\t"]))
@settings(RELAXED, max_examples=60)
def test_what_python_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("item_id", "title", "x", "y"),
        *(("i1", title, one, two) for one, title, two in rows)])  # fmt: skip
    path = tmp_path_factory.mktemp("csv") / "items.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    found, quarantine = read(path)
    assert found == [("i1", title, one, two) for one, title, two in rows]
    assert not len(quarantine)


ROWS = [("A1", "Lämp", "49"), ("007", "Mug", "")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be",
                                      "utf-32"])  # fmt: skip
@pytest.mark.parametrize("name", ["items.csv", "items.TSV", "items.txt", "ITEMS.Csv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_habit_gives_one_table(
    tmp_path: Path, encoding: str, name: str, delimiter: str
) -> None:
    for ends in ("\n", "\r\n", "\r"):
        lines = [delimiter.join(row) for row in [("item_id", "title", "price"), *ROWS]]
        path = tmp_path / name
        path.write_bytes((ends.join(lines) + ends).encode(encoding))
        found, quarantine = read(path)
        assert found == ROWS
        assert not len(quarantine)


def test_a_mark_of_utf16_of_either_order(tmp_path: Path) -> None:
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        path = tmp_path / "items.csv"
        path.write_bytes(mark + 'item_id,title\r\nA1,"Lämp, 東京"\r\n'.encode(encoding))
        assert read(path)[0] == [("A1", "Lämp, 東京")]
        path = tmp_path / "items.jsonl"
        path.write_bytes(mark + '{"item_id": "A1", "title": "東京"}\n'.encode(encoding))
        assert read(path)[0] == [("A1", "東京")]


@pytest.mark.parametrize("sep", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_a_line_that_names_the_delimiter(tmp_path: Path, sep: str) -> None:
    path = written(tmp_path, f"{sep}\r\nitem_id;title;note\r\nA1;Lamp, red;a,b\r\n")
    assert read(path)[0] == [("A1", "Lamp, red", "a,b")]


@pytest.mark.parametrize("delimiter", ["^", "~", "\x01"])
def test_rarer_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = "item_id,title,price\nA1,Lamp,5\nA2,Mug,6\n".replace(",", delimiter)
    rows, quarantine = read(written(tmp_path, text))
    assert rows == [("A1", "Lamp", "5"), ("A2", "Mug", "6")]
    assert not len(quarantine)


def test_quotes_behind_a_backslash_are_quotes(tmp_path: Path) -> None:
    text = (
        'item_id,title\nA1,"The \\"best\\" mug"\nA2,"Red, \\"big\\", new"\n'
        'A3,"He said \\"hi\\"\nand left"\nA4,"C:\\"\nA5,\\\\host\n'
    )
    rows, quarantine = read(written(tmp_path, text))
    assert [title for _, title in rows] == [
        'The "best" mug', 'Red, "big", new', 'He said "hi"\nand left', "C:\\", "\\\\host",
    ]  # fmt: skip
    assert not len(quarantine)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_header_that_stands_again_is_no_row(tmp_path: Path, mark: str, quote: str) -> None:
    part = f"{{}}item_id,title\nA{{}},{quote}Lamp{quote}\n"
    rows, quarantine = read(written(tmp_path, part.format("", 1) + part.format(mark, 2)))
    assert rows == [("A1", "Lamp"), ("A2", "Lamp")]
    assert [(e.row, e.rule, e.action) for e in quarantine] == [(2, "header again", DROPPED)]


@pytest.mark.parametrize(
    ("text", "told"),
    [("CafÃ©", True), ("10Â\xa0cm", True), ("Â\xad", False), ("Â\xa0", False), ("Café", False)],
)
def test_only_what_shows_another_sign_was_encoded_twice(
    tmp_path: Path, text: str, told: bool
) -> None:
    (tmp_path / "items.csv").write_text(f"item_id,title\n1,{text}\n", encoding="utf-8")
    found = Catalog.load(tmp_path).quarantine.counts()
    assert found == ({"items: encoded twice": 1} if told else {})


def test_text_that_was_encoded_twice_is_told(tmp_path: Path) -> None:
    text = "item_id,title\nA1,Tür für Café\n"
    written(tmp_path, text.encode().decode("cp1252"))
    (told,) = Catalog.load(tmp_path).quarantine
    assert (told.rule, told.action) == ("encoded twice", REPAIRED)
    assert "'Tür'" in told.reason
    written(tmp_path, text)
    assert not len(Catalog.load(tmp_path).quarantine)


def test_the_delimiter_is_the_one_that_the_rows_agree_on(tmp_path: Path) -> None:
    path = written(tmp_path, "item_id;size (W,H);price\nA1;10,20;5\nA2;3;6\n")
    assert read(path)[0] == [("A1", "10,20", "5"), ("A2", "3", "6")]
    path = written(tmp_path, "item_id,colour;hue\nA1,red;r\nA2,blue;b;c\n")
    assert read(path)[0] == [("A1", "red;r"), ("A2", "blue;b;c")]
    path = written(tmp_path, "item_id\nA1\nA2\n")
    assert read(path)[0] == [("A1",), ("A2",)]


def test_empty_fields_at_the_end_of_rows_are_no_fields(tmp_path: Path) -> None:
    assert read(written(tmp_path, "item_id,title\nA1,Lamp,\nA2,Mug,,\nA3,Cup\n"))[0] == [
        ("A1", "Lamp"), ("A2", "Mug"), ("A3", "Cup"),
    ]  # fmt: skip
    found, quarantine = read(written(tmp_path, "item_id,title,\nA1,Lamp,\nA2,Mug,x\n"))
    assert found == [("A1", "Lamp")]
    assert [(e.row, e.rule) for e in quarantine] == [(2, "wrong number of fields")]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_packed_files_are_read_by_what_they_are(tmp_path: Path, packing: str) -> None:
    text = b'item_id,title\nA1,"Lamp, red"\n'
    data = gzip.compress(text) if packing == "gz" else pa.compress(text, "zstd", asbytes=True)
    for name in (f"items.csv.{packing}", "items.csv", f"ITEMS.CSV.{packing.upper()}"):
        path = tmp_path / name
        path.write_bytes(data)
        assert read(path)[0] == [("A1", "Lamp, red")]
    (tmp_path / "cut.csv").write_bytes(data[:-6])
    with pytest.raises(
        CatalogError, match=r"cut\.csv cannot be read \(it is packed, and cut short"
    ):
        read(tmp_path / "cut.csv")
    (tmp_path / "items.csv.gz").write_bytes(text)  # unpacked on the way, as browsers do
    assert read(tmp_path / "items.csv.gz")[0] == [("A1", "Lamp, red")]


def test_text_in_a_byte_for_each_letter_is_read_as_windows_and_told(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("item_id,title\nA1,café “Nord”\nA2,Glühwein\n".encode("cp1252"))
    found, quarantine = read(path)
    assert found == [("A1", "café “Nord”"), ("A2", "Glühwein")]
    (entry,) = quarantine
    assert (entry.row, entry.rule, entry.action) == (0, "not UTF-8", REPAIRED)
    assert "Windows-1252, which makes 'café'" in str(entry)
    path = tmp_path / "items.jsonl"
    path.write_bytes('{"item_id": "A1"}\n{"item_id": "A2", "title": "café"}\n'.encode("latin-1"))
    found, quarantine = read(path)
    assert found[1] == ("A2", "café")
    assert [entry.rule for entry in quarantine] == ["not UTF-8"]


def test_one_broken_row_in_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes("item_id,title\nA1,Café\n".encode() + b"A2,L\xe4mp\nA3,Mug\n")
    found, quarantine = read(path)
    assert found == [("A1", "Café"), ("A2", "L\ufffdmp"), ("A3", "Mug")]
    assert [(e.row, e.field, e.rule) for e in quarantine] == [(2, "title", "not UTF-8")]


KINDS = {
    "Parquet": (b"PAR1....PAR1", "a Parquet file; give its name the suffix .parquet"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "an old Excel workbook"),
    "HTML": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
    "XML": (b'<?xml version="1.0"?><rss></rss>', "an XML file"),
    "PDF": (b"%PDF-1.7 ...", "a PDF document"),
    "JPEG": (b"\xff\xd8\xff\xe0" + b"\0" * 50, "a JPEG picture"),
    "bzip2": (b"BZh91AY&SY...", "packed by bzip2; unpack it"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "binary": (b"\x01\x02\x00\xff\xfe\x00" * 30, "no text but binary data"),
}


@pytest.mark.parametrize("name", ["items.csv", "items.tsv", "items.jsonl", "items.txt"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, kind: str, name: str) -> None:
    data, told = KINDS[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CatalogError) as error:
        read(tmp_path / name)
    assert told in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ("xl/workbook.xml", "an Excel workbook; save its sheet as CSV"),
        ("items.csv", r"a zip archive \(with 'items.csv'\); unpack it"),
    ],
)
def test_what_an_archive_is(tmp_path: Path, inside: str, told: str) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "items.csv", "w") as archive:
        archive.writestr(inside, "x")
    with pytest.raises(CatalogError, match=told):
        read(tmp_path / "items.csv")
    (tmp_path / "items.csv").rename(tmp_path / "items.xlsx")
    with pytest.raises(CatalogError, match=told):
        read(tmp_path / "items.xlsx")


def test_text_under_the_suffix_of_parquet_and_json_under_that_of_csv(tmp_path: Path) -> None:
    path = written(tmp_path, "item_id,title\nA1,Lamp\n", "items.parquet")
    with pytest.raises(CatalogError, match="no Parquet file; rename it or write it anew"):
        read(path)
    for text in ('{"item_id": "A1"}\n', '[{"item_id": "A1"}]', "[\n{}\n]"):
        with pytest.raises(CatalogError, match=r"holds JSON; give its name the suffix \.jsonl"):
            read(written(tmp_path, text))
    with pytest.raises(CatalogError, match=r"holds no JSON in any of its 2 lines .*suffix \.csv"):
        read(written(tmp_path, "item_id,title\nA1,Lamp\n", "items.jsonl"))


JSON = {
    "a list": '[{"item_id":"A1","title":"Lamp"},{"item_id":"A2"}]',
    "a list over lines": '[\n  {"item_id": "A1",\n   "title": "Lamp"},\n  {"item_id": "A2"}\n]\n',
    "lines of a list": '{"item_id":"A1","title":"Lamp"},\n{"item_id":"A2"},\n',
    "objects over lines": '{\n "item_id": "A1",\n "title": "Lamp"\n}\n{\n "item_id": "A2"\n}\n',
    "a mark": '\ufeff[{"item_id":"A1","title":"Lamp"},{"item_id":"A2"}]',
    "in an object": '{"count": 2,\n "products": [{"item_id":"A1","title":"Lamp"},'
    '{"item_id":"A2"}]}',
    "deep in it": '{"data":{"items":{"edges":[{"node":{"item_id":"A1","title":"Lamp"}},'
    '{"node":{"item_id":"A2"}}]}}}',
    "by id": '{"A1": {"title": "Lamp"}, "A2": {}}',
    "by a key": '{"x": {"item_id": "A1", "title": "Lamp"}, "y": {"item_id": "A2"}}',
    "columns": '{"item_id": ["A1", "A2"], "title": ["Lamp", null]}',
    "pandas' columns": '{"item_id": {"0": "A1", "9": "A2"}, "title": {"0": "Lamp", "9": null}}',
    "pandas' split": '{"columns":["item_id","title"],"index":[0,1],"data":[["A1","Lamp"],'
    '["A2",null]]}',
    "pandas' table": '{"schema":{"fields":[{"name":"x"}]},"data":[{"item_id":"A1","title":"Lamp"},'
    '{"item_id":"A2"}]}',
    "two on a line": '{"item_id":"A1","title":"Lamp"}{"item_id":"A2"}\n',
    "lists one behind the other": '[{"item_id":"A1","title":"Lamp"}]\n[{"item_id":"A2"}]\n',
    "marked records": '\x1e{"item_id":"A1","title":"Lamp"}\n\x1e{"item_id":"A2"}\n',
    "Python's": "{'item_id': 'A1', 'title': 'Lamp'}\n{'item_id': 'A2', 'title': None}\n",
}


@pytest.mark.parametrize("name", ["items.jsonl", "items.json", "items.NDJSON"])
@pytest.mark.parametrize("kind", JSON)
def test_json_of_every_habit(tmp_path: Path, kind: str, name: str) -> None:
    written(tmp_path, JSON[kind], name)
    catalog = Catalog.load(tmp_path)
    assert [(item.item_id, item.title) for item in catalog.items] == [("A1", "Lamp"), ("A2", "")]
    assert not len(catalog.quarantine)


def test_a_list_that_breaks_off_is_read_so_far_and_told(tmp_path: Path) -> None:
    written(tmp_path, '[{"item_id":"A1"},\n{"item_id":"A2"},\n{"item_id":"A', "items.jsonl")
    catalog = Catalog.load(tmp_path)
    assert [item.item_id for item in catalog.items] == ["A1", "A2"]
    assert "breaks off in line 3" in str(next(iter(catalog.quarantine)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"a": [{"id": 1}],\n "b": {"c": [{"id": 2}]}}',
            "rows in 'a' .1. and 'b.c' .1.",
        ),
        ('{"item_id": ["A1", "A2"], "title": ["Lamp"]}', "not equally long .item_id 2, title 1."),
    ],
)
def test_json_that_could_be_read_in_two_ways_says_so(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CatalogError, match=told):
        read(written(tmp_path, text, "items.json"))


@pytest.mark.parametrize("name", ["pairs", "labels"])
def test_pairs_and_labels_lose_one_row_and_no_more(tmp_path: Path, name: str) -> None:
    written(tmp_path, "item_id\nA\nB\nC\n")
    columns = "query_id,target_id" if name == "pairs" else "item_id,noise"
    rows = 'A,B\nB,A,extra\nB\nC,"A\nB,A\n'
    written(tmp_path, f"{columns}\n{rows}", f"{name}.csv")
    catalog = Catalog.load(tmp_path)
    assert [(e.table, e.row, e.rule) for e in catalog.quarantine] == [
        (name, 2, "wrong number of fields"), (name, 3, "wrong number of fields"),
        (name, 4, "open quote"),
    ]  # fmt: skip
    if name == "pairs":
        assert [(p.query_id, p.target_id) for p in catalog.pairs] == [
            ("A", "B"), ("C", "A"), ("B", "A"),
        ]  # fmt: skip
    else:
        assert catalog.labels is not None
        assert catalog.labels["noise"].to_list() == ["B", "A", "A"]


def test_labels_have_types_and_keep_what_is_no_number(tmp_path: Path) -> None:
    written(tmp_path, "item_id\n007\n008\n")
    text = 'item_id,n,x,ok,zip,pool,none\n007,1,0.5,true,01234,"",\n008,-2,1e3,false,99,,\n'
    written(tmp_path, text, "labels.csv")
    labels = Catalog.load(tmp_path).labels
    assert labels is not None
    assert labels.rows() == [
        ("007", 1, 0.5, True, "01234", "", None), ("008", -2, 1000.0, False, "99", None, None),
    ]  # fmt: skip


def test_tables_of_any_suffix_are_found_and_replaced(tmp_path: Path) -> None:
    for name in ("items.CSV", "items.tsv", "items.csv.gz", "items.Json"):
        folder = tmp_path / name
        folder.mkdir()
        text = '[{"item_id": "A1"}]' if "son" in name else "item_id\nA1\n"
        data = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
        (folder / name).write_bytes(data)
        catalog = Catalog.load(folder)
        assert [item.item_id for item in catalog.items] == ["A1"]
        catalog.save(folder)
        assert len(Catalog.load(folder)) == 1
    (tmp_path / "items.CSV" / "items.csv").write_text("item_id\nB\n")
    with pytest.raises(CatalogError, match=r"holds items\.parquet and items\.csv; keep one"):
        Catalog.load(tmp_path / "items.CSV")
