"""Laws of writing a file: it is whole or absent, and an older one stays until then."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tgqformer.errors import StorageError
from tgqformer.files import atomic_path, write_bytes, write_text


@pytest.mark.parametrize("sync", [True, False])
def test_what_is_written_is_there_under_its_name_alone(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"first", b"second", b""):
        write_bytes(path, content, sync=sync)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_text_is_utf8_and_keeps_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "é\n\r\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n\r\n"


def test_the_name_is_given_when_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"


def fail_halfway(path: Path, failure: BaseException) -> None:
    path.write_text("half")
    raise failure


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "full"), ValueError("wrong"), KeyboardInterrupt()]
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: BaseException
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    expected = StorageError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected), atomic_path(path) as temporary:
        fail_halfway(temporary, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file") as one, atomic_path(tmp_path / "file") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file").read_text() == "one"  # the outer block ends last
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut after the rename may leave an empty file."""
    path, synced = tmp_path / "file", []

    def fsync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "text")
    (file, named), folder = synced
    assert Path(file).parent == tmp_path
    assert Path(file).name.startswith(".file.")
    assert not named
    assert folder == (str(tmp_path), True)
    write_bytes(path, b"", sync=False)
    assert len(synced) == 2


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "(No space left on device); free some space or choose another folder."),
        (errno.EACCES, "(Permission denied); choose a folder you may write to."),
        (errno.EROFS, "(Read-only file system); choose another folder."),
    ],
)
def test_a_refusal_tells_the_file_the_reason_and_the_remedy(
    tmp_path: Path, number: int, remedy: str
) -> None:
    with pytest.raises(StorageError) as caught, atomic_path(tmp_path / "file"):
        raise OSError(number, "a library's own long\nmessage")
    assert str(caught.value) == f"{tmp_path / 'file'} cannot be written {remedy}"


def test_refusals_in_a_librarys_own_words_are_refusals_too(tmp_path: Path) -> None:
    class LibraryError(Exception):
        pass

    with (
        pytest.raises(StorageError, match=r"file cannot be written \(no room\); free some space"),
        atomic_path(tmp_path / "file", refusals=(LibraryError,)),
    ):
        raise LibraryError("no\nroom")
    with pytest.raises(LibraryError), atomic_path(tmp_path / "file"):
        raise LibraryError


def test_a_folder_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(StorageError, match=r"\(File exists\); choose another folder"):
        write_text(tmp_path / "taken" / "file", "")


def test_files_have_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "file", "")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writing_needs_no_library() -> None:
    code = (
        "import sys, tgqformer.files\n"
        "heavy = {'torch', 'numpy', 'polars', 'pyarrow', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
