"""Laws of progress: nothing is lost or reordered; a log gets lines, stdout nothing."""

from __future__ import annotations

import pytest

from tgqformer import progress


@pytest.mark.parametrize("show", [False, True])
def test_everything_comes_through_in_order(show: bool, capsys: pytest.CaptureFixture[str]) -> None:
    found = progress.track(iter(range(9)), total=9, text="t", show=show)
    assert list(found) == list(range(9))
    assert capsys.readouterr().out == ""


def test_without_a_terminal_lines_tell_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert list(progress.track(range(3), total=2000, text="photos", show=True)) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["photos: 1 of 2,000", "photos: 2 of 2,000", "photos: 3 of 2,000"]
