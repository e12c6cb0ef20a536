"""Laws of the token cache: what goes in comes out, and nothing damaged ever does."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgqformer.errors import CacheError
from tgqformer.towers import cache as cache_module
from tgqformer.towers.cache import TokenCache, to_half

DIM, WIDTH = 6, 5


def key_of(n: int) -> bytes:
    return hashlib.sha256(str(n).encode()).digest()


def row_of(n: int, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    length = n % 4 if length is None else length
    return (
        rng.normal(size=(length, DIM)).astype(np.float16),
        rng.normal(size=WIDTH).astype(np.float32),
    )


def put(cache: TokenCache, numbers: list[int]) -> None:
    rows = [row_of(n) for n in numbers]
    cache.put([key_of(n) for n in numbers], [t for t, _ in rows], np.stack([p for _, p in rows]))


def check(cache: TokenCache, n: int) -> None:
    found = cache.get(key_of(n))
    assert found is not None
    tokens, pooled = row_of(n)
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_array_equal(found.pooled, pooled)


def open_cache(root: Path) -> TokenCache:
    return TokenCache(root, "tower-a", DIM, WIDTH)


def shard_of(root: Path) -> Path:
    [path] = (root / "tower-a").glob("*.safetensors")
    return path


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True), max_size=4))
def test_what_is_put_is_found_again_by_a_new_reader(groups: list[list[int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = open_cache(Path(folder))
        for numbers in groups:
            put(writer, numbers)
        wanted = {n for numbers in groups for n in numbers}
        for cache in (writer, open_cache(Path(folder))):
            assert len(cache) == len(wanted)
            assert cache.missing(key_of(n) for n in range(31)) == [
                key_of(n) for n in range(31) if n not in wanted
            ]
            for n in wanted:
                check(cache, n)


def test_a_shard_is_a_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    put(open_cache(tmp_path), [1, 2, 3])
    arrays = load_file(shard_of(tmp_path))
    assert arrays["lengths"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(
        arrays["tokens"], np.concatenate([row_of(n)[0] for n in (1, 2, 3)])
    )


def test_towers_do_not_see_each_others_rows(tmp_path: Path) -> None:
    put(open_cache(tmp_path), [1])
    assert len(TokenCache(tmp_path, "tower-b", DIM, WIDTH)) == 0


def test_refresh_takes_in_what_another_process_wrote(tmp_path: Path) -> None:
    reader, writer = open_cache(tmp_path), open_cache(tmp_path)
    put(writer, [1])
    assert key_of(1) not in reader
    reader.refresh()
    check(reader, 1)


@pytest.mark.parametrize("kept", [0, 5, 8, 60, 0.5, 0.99, -1])
def test_a_file_cut_short_is_ignored(tmp_path: Path, kept: float) -> None:
    put(open_cache(tmp_path), [1, 2, 3])
    path = shard_of(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.warns(RuntimeWarning, match="ignored"):
        cache = open_cache(tmp_path)
    assert len(cache) == 0
    put(cache, [1])  # and the cache goes on working
    check(cache, 1)


@pytest.mark.parametrize("extra", [b"x", b"\0" * 4096])
def test_a_file_with_bytes_behind_its_end_is_ignored(tmp_path: Path, extra: bytes) -> None:
    put(open_cache(tmp_path), [1, 2])
    path = shard_of(tmp_path)
    path.write_bytes(path.read_bytes() + extra)
    with pytest.warns(RuntimeWarning, match="ignored"):
        assert len(open_cache(tmp_path)) == 0


def test_random_bytes_in_the_header_never_raise_nor_give_wrong_rows(tmp_path: Path) -> None:
    import warnings

    put(open_cache(tmp_path), [1, 2, 3])
    path = shard_of(tmp_path)
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        data[rng.integers(0, header)] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            cache = open_cache(tmp_path)
            for n in (1, 2, 3):
                found = cache.get(key_of(n))
                if found is not None:
                    np.testing.assert_array_equal(found.tokens, row_of(n)[0])
                    np.testing.assert_array_equal(found.pooled, row_of(n)[1])


def test_a_flipped_bit_in_a_row_makes_that_row_missing_and_no_other(tmp_path: Path) -> None:
    put(open_cache(tmp_path), [1, 2, 3])
    path = shard_of(tmp_path)
    data = bytearray(path.read_bytes())
    place = bytes(data).index(row_of(2)[0].tobytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    cache = open_cache(tmp_path)
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert cache.get(key_of(2)) is None
    assert cache.missing([key_of(1), key_of(2)]) == [key_of(2)]
    check(cache, 1)
    check(cache, 3)
    put(cache, [2])
    check(cache, 2)


def test_pooled_alone_is_read_although_the_tokens_are_damaged(tmp_path: Path) -> None:
    put(open_cache(tmp_path), [2])
    path = shard_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[bytes(data).index(row_of(2)[0].tobytes())] ^= 1
    path.write_bytes(bytes(data))
    found = open_cache(tmp_path).get(key_of(2), pooled_only=True)
    assert found is not None
    np.testing.assert_array_equal(found.pooled, row_of(2)[1])


def test_a_shard_of_another_width_is_ignored(tmp_path: Path) -> None:
    put(open_cache(tmp_path), [1, 2])
    with pytest.warns(RuntimeWarning, match="shapes"):
        assert len(TokenCache(tmp_path, "tower-a", DIM + 1, WIDTH)) == 0


def test_a_text_file_with_a_shards_name_is_ignored(tmp_path: Path) -> None:
    folder = open_cache(tmp_path).folder
    (folder / "note.safetensors").write_text("this is no shard")
    with pytest.warns(RuntimeWarning, match="ignored"):
        assert len(open_cache(tmp_path)) == 0


@pytest.mark.parametrize(
    ("tokens", "pooled", "problem"),
    [
        (np.zeros((2, DIM), np.float32), np.zeros((1, WIDTH), np.float32), "float16"),
        (np.zeros((2, DIM + 1), np.float16), np.zeros((1, WIDTH), np.float32), "float16"),
        (np.zeros(DIM, np.float16), np.zeros((1, WIDTH), np.float32), "float16"),
        (np.zeros((2, DIM), np.float16), np.zeros((1, WIDTH), np.float64), "float32"),
        (np.zeros((2, DIM), np.float16), np.zeros((1, WIDTH + 1), np.float32), "float32"),
        (np.zeros((2, DIM), np.float16), np.zeros((2, WIDTH), np.float32), "as many"),
    ],
)
def test_a_wrong_dtype_or_shape_is_refused(
    tmp_path: Path, tokens: np.ndarray, pooled: np.ndarray, problem: str
) -> None:
    cache = open_cache(tmp_path)
    with pytest.raises(CacheError, match=problem):
        cache.put([key_of(0)], [tokens], pooled)
    with pytest.raises(CacheError, match="32 bytes"):
        cache.put([b"short"], [row_of(1)[0]], row_of(1)[1][None])
    assert not list(cache.folder.glob("*.safetensors"))


@pytest.mark.parametrize("value", [65536.0, -1e9, np.inf, np.nan])
def test_a_value_beyond_float16_is_refused_not_turned_into_infinity(value: float) -> None:
    assert to_half(np.array([65504.0, -65504.0], np.float32), "It").tolist() == [65504.0, -65504.0]
    with pytest.raises(CacheError, match="choose another layer"):
        to_half(np.array([1.0, value], np.float32), "The image tower")


def test_the_estimate_bounds_the_size_on_disk(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    n, length = 200, 9
    rows = [row_of(i, length) for i in range(n)]
    cache.put([key_of(i) for i in range(n)], [t for t, _ in rows], np.stack([p for _, p in rows]))
    size = shard_of(tmp_path).stat().st_size
    estimate = cache.estimate(n, length)
    header = 512  # names, types and shapes
    assert estimate <= size <= estimate + header


def test_a_cache_that_does_not_fit_is_refused_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_cache(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=cache_module.RESERVE + 1000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    cache.check_room(1000)
    with pytest.raises(CacheError, match="free room") as caught:
        cache.check_room(1001)
    assert str(caught.value).count(". ") == 0


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from tgqformer.errors import CacheError
from tgqformer.towers.cache import TokenCache
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
cache = TokenCache(Path(sys.argv[1]), "tower-a", 6, 5)
try:
    cache.put([bytes(32)], [np.zeros((9000, 6), np.float16)], np.zeros((1, 5), np.float32))
except CacheError as error:
    print(error)
"""


def test_a_write_that_fails_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert os.strerror(errno.EFBIG) in done.stdout
    assert "TGQFORMER_CACHE" in done.stdout
    assert [path.name for path in (tmp_path / "tower-a").iterdir()] == ["tower.json"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="choose another folder"):
        TokenCache(tmp_path / "file", "tower-a", DIM, WIDTH)


def test_an_old_temporary_file_is_swept_away_and_a_young_one_is_not(tmp_path: Path) -> None:
    folder = open_cache(tmp_path).folder
    old, young = folder / "old.tmp", folder / "young.tmp"
    for path in (old, young):
        path.write_text("half a shard")
    os.utime(old, (time.time() - 7200,) * 2)
    assert len(open_cache(tmp_path)) == 0
    assert not old.exists()
    assert young.exists()


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_cache import open_cache, put
cache = open_cache(Path(sys.argv[1]))
first = int(sys.argv[3])
print("ready", flush=True)
for start in range(first, first + int(sys.argv[4]), 10):
    put(cache, list(range(start, start + 10)))
"""


def start_writer(root: Path, first: int, count: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), here, str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_writer_killed_at_any_moment_leaves_only_whole_shards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for trial in range(3):
        writer = start_writer(tmp_path, 10_000 * trial, 1_000_000)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.0, 0.15)))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        cache = open_cache(tmp_path)  # warnings are errors: no shard is damaged
        for n in range(10_000 * trial, 10_000 * trial + 10_000):
            if key_of(n) in cache:
                check(cache, n)
    put(cache, [999_999_999])
    check(open_cache(tmp_path), 999_999_999)


def test_readers_and_writers_at_once(tmp_path: Path) -> None:
    reader = open_cache(tmp_path)
    writers = [start_writer(tmp_path, first, 300) for first in (0, 300, 150)]  # they overlap
    while any(writer.poll() is None for writer in writers):
        reader.refresh()
        for n in range(0, 600, 7):
            if key_of(n) in reader:
                check(reader, n)
    for writer in writers:
        assert writer.returncode == 0
        assert writer.stdout is not None
        writer.stdout.close()
    reader.refresh()
    assert len(reader) == 600
    for n in range(600):
        check(reader, n)
