"""Laws of the pace: how often a host is asked, and how long one that wants time is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.downloads import Downloads
from tgqformer.catalog.fetch import Pace

Server = Any  # that of conftest.py
Fetch = Callable[..., Downloads]
Fault = Callable[..., tuple[str, str]]


def test_a_host_is_asked_no_more_often_than_allowed(
    server: Server, tmp_path: Path, fetch: Fetch
) -> None:
    fetch(server, tmp_path, *[f"ok/{number}" for number in range(11)], rate=50.0, workers=8)
    assert max(server.times) - min(server.times) >= 10 / 50 - 0.03


def test_hosts_do_not_wait_for_each_other() -> None:
    pace = Pace(rate=0.001)
    start = time.monotonic()
    pace.wait("one.test")
    pace.wait("two.test")
    assert time.monotonic() - start < 1
    threading.Timer(0.05, pace.stop).start()
    pace.wait("one.test")  # for 1,000 s, were it not stopped
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("path", "seconds"), [("busy/1", 1.0), ("date", 0.9)])
def test_retry_after_is_obeyed(
    server: Server, tmp_path: Path, path: str, seconds: float, fetch: Fetch
) -> None:
    """As a number and as a date; the whole host is left alone meanwhile."""
    assert fetch(server, tmp_path, path, timeout=30.0).fetched == 1
    first, second = server.times
    assert second - first >= seconds


def test_a_wait_of_hours_is_not_waited_for(server: Server, tmp_path: Path, fault: Fault) -> None:
    assert fault(server, tmp_path, "busy/86400")[0] == "HTTP 429"
    assert server.asked["/busy/86400"] == 1
