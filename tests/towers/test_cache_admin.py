"""Looking after the cache: it says what it holds, and clears that and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tgqformer.errors import CacheError
from tgqformer.towers.cache import TokenCache, cache_info, clear_cache, default_cache_dir
from tgqformer.towers.load import keep_large_buffers


def fill(root: Path, key: str, rows: int) -> None:
    cache = TokenCache(root, key, 4, 4)
    keys = [bytes([n]) * 32 for n in range(rows)]
    cache.put(keys, [np.zeros((2, 4), np.float16)] * rows, np.zeros((rows, 4), np.float32))


def test_info_tells_each_towers_part_the_largest_first(tmp_path: Path) -> None:
    assert cache_info(tmp_path / "absent") == []
    fill(tmp_path, "a", 1)
    fill(tmp_path, "b", 50)
    fill(tmp_path, "b", 10)
    entries = cache_info(tmp_path)
    assert [(entry.key, entry.shards) for entry in entries] == [("b", 2), ("a", 1)]
    on_disk = sum(path.stat().st_size for path in (tmp_path / "b").glob("*.safetensors"))
    assert entries[0].size == on_disk


def test_clearing_takes_the_caches_own_folders_only(tmp_path: Path) -> None:
    fill(tmp_path, "a", 1)
    fill(tmp_path, "b", 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert clear_cache(tmp_path, key="a") > 0
    assert [entry.key for entry in cache_info(tmp_path)] == ["b"]
    with pytest.raises(CacheError, match="no part 'mine'"):
        clear_cache(tmp_path, key="mine")
    with pytest.raises(CacheError, match="no part '../x'"):
        clear_cache(tmp_path, key="../x")
    clear_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert clear_cache(tmp_path) == 0


def test_the_environment_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TGQFORMER_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path / "towers"
    monkeypatch.delenv("TGQFORMER_CACHE")
    assert default_cache_dir() == Path("~/.cache/tgqformer/towers").expanduser()


def test_the_allocator_setting_is_harmless_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_large_buffers() is False
