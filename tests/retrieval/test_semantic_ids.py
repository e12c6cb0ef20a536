"""Laws of semantic ids: codes rebuild the vectors, more of them lose less, no two ids are equal."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.scores import unit
from tgqformer.retrieval.semantic_ids import SemanticIds, told_apart, write_ids


def vectors(count: int = 600, dims: int = 12, seed: int = 0) -> np.ndarray:
    """In clumps of clumps, as items are."""
    rng = np.random.default_rng(seed)
    coarse, fine = rng.standard_normal((8, dims)), 0.4 * rng.standard_normal((40, dims))
    rows = rng.integers(0, 40, count)
    return unit(coarse[rows % 8] + fine[rows] + 0.1 * rng.standard_normal((count, dims)))


def test_a_reconstruction_is_the_sum_of_its_entries_and_levels_lose_less_and_less() -> None:
    given, errors = vectors(), []
    for levels in (1, 2, 3):
        fitted = SemanticIds.fit(given, levels=levels, codes=16)
        codes = fitted.encode(given)
        assert codes.shape == (600, levels)
        assert codes.min() >= 0
        assert codes.max() < 16
        summed = sum(fitted.codebooks[level][codes[:, level]] for level in range(levels))
        assert np.allclose(fitted.decode(codes), summed)
        quality = fitted.judge(given, codes)
        centred = given - given.mean(axis=0)
        expected = np.square(given - summed).sum() / np.square(centred).sum()
        assert quality.error == pytest.approx(expected, rel=1e-4)
        errors.append(quality.error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2


def test_the_first_code_is_the_coarsest() -> None:
    given = vectors()
    codes = SemanticIds.fit(given, levels=2, codes=8).encode(given)
    same = [given[codes[:, 0] == code] @ given[codes[:, 0] == code].T for code in range(8)]
    within = np.mean([block.mean() for block in same if block.size])
    assert within > (given @ given.T).mean() + 0.3


def test_what_is_judged_is_what_a_plain_count_says() -> None:
    given = vectors(300)
    fitted = SemanticIds.fit(given, levels=2, codes=8)
    codes = fitted.encode(given)
    quality = fitted.judge(given, codes)
    rows = [tuple(row) for row in codes.tolist()]
    assert quality.collisions == np.mean([rows.count(row) > 1 for row in rows])
    assert quality.largest == max(map(rows.count, rows))
    exact, rebuilt = given @ given.T, unit(fitted.decode(codes))
    found = rebuilt.astype(np.float64) @ rebuilt.T.astype(np.float64)
    np.fill_diagonal(exact, -9)
    np.fill_diagonal(found, -9)
    nearest = [
        np.argsort(-s.astype(np.float32), axis=1, kind="stable")[:, :10] for s in (exact, found)
    ]
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*nearest)])
    assert quality.recall == pytest.approx(kept, abs=0.01)
    assert quality.recall_queries == 300
    for level in range(2):
        share = np.bincount(codes[:, level], minlength=8) / 300
        assert quality.used[level] == (share > 0).mean()
        assert quality.entropy[level] == pytest.approx(-sum(p * np.log2(p) for p in share if p))


def test_the_last_code_tells_all_apart_in_their_order() -> None:
    codes = np.array([[1, 2], [0, 0], [1, 2], [1, 2], [0, 1]], dtype=np.int32)
    found = told_apart(codes)
    assert found.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 1], [1, 2, 2], [0, 1, 0]]
    given = vectors()
    many = told_apart(SemanticIds.fit(given, levels=1, codes=4).encode(given))
    assert len(np.unique(many, axis=0)) == len(given)


def test_saved_codebooks_encode_alike_and_one_input_gives_one_result(tmp_path) -> None:
    given = vectors()
    fitted = SemanticIds.fit(given, levels=3, codes=8)
    fitted.save(tmp_path / "books.safetensors")
    again = SemanticIds.load(tmp_path / "books.safetensors")
    assert (again.codebooks == SemanticIds.fit(given, levels=3, codes=8).codebooks).all()
    new = vectors(50, seed=3)
    assert (again.encode(new) == fitted.encode(new)).all()
    assert (fitted.encode(given)[:50] == fitted.encode(given[:50])).all()
    write_ids(tmp_path / "ids.parquet", [f"n{i}" for i in range(50)], again.encode(new), {"a": "b"})
    table = pq.read_table(tmp_path / "ids.parquet")
    assert table.column_names == ["item_id", "codes"]
    assert table["codes"].to_pylist() == again.encode(new).tolist()
    with pytest.raises(StorageError, match="12 dimensions|dimensions"):
        again.encode(vectors(5, dims=7))
    (tmp_path / "other.safetensors").write_bytes(b"no")
    with pytest.raises(StorageError, match="codebooks"):
        SemanticIds.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("wrong", [{"codes": 200}, {"codes": 1}, {"codes": 1024}, {"levels": 0}])
def test_wrong_numbers_are_told(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        SemanticIds.fit(vectors(), **{"levels": 2, "codes": 8, **wrong})


def test_items_that_are_all_alike_are_no_fault() -> None:
    given = np.ones((40, 4), dtype=np.float32)
    fitted = SemanticIds.fit(given, levels=2, codes=4)
    codes = fitted.encode(given)
    quality = fitted.judge(given, codes)
    assert quality.collisions == 1.0
    assert quality.largest == 40
    assert len(np.unique(told_apart(codes), axis=0)) == 40
