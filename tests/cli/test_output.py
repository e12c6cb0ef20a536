"""Laws of what commands print: JSON that any reader takes, cells that no title can break."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgqformer.cli.shared import cell, plain, print_json, size, table

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@dataclass
class Point:
    x: float
    name: Path


@given(JSON)
def test_what_json_can_hold_stays_as_it_is(value: object) -> None:
    assert plain(value) == value
    assert json.loads(json.dumps(plain(value))) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_what_json_cannot_hold_is_null(value: object, capsys) -> None:
    print_json({"x": value})
    assert json.loads(capsys.readouterr().out) == {"x": None}


def test_numpy_dataclasses_paths_and_surrogates_print(capsys) -> None:
    print_json([np.float32(0.5), np.arange(2), Point(1.0, Path("a/b")), {1: (2,)}, "\ud800"])
    told = json.loads(capsys.readouterr().out)
    assert told == [0.5, [0, 1], {"x": 1.0, "name": "a/b"}, {"1": [2]}, "\ud800"]


def test_a_table_prints_hostile_cells_as_they_are(capsys) -> None:
    table("T", ("a", "b"), [("[red]x[/red]", 1), ("\ud800", None)])
    told = capsys.readouterr().out
    assert "[red]x[/red]" in told
    assert "\\ud800" in told


def test_cells() -> None:
    assert [cell(v) for v in (None, True, False, 1234, 0.123456)] == [
        "-", "yes", "no", "1,234", "0.1235",
    ]  # fmt: skip


def test_sizes_keep_three_figures_at_least() -> None:
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 3e13)] == [
        "0 B", "999 B", "1.5 kB", "2.5 GB", "30.0 TB",
    ]  # fmt: skip
