"""How often one host is asked, over all threads."""

from __future__ import annotations

import threading
import time


class Pace:
    """Spaces the requests to each host evenly.

    Args:
        rate: requests a second to one host.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._free: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait(self, host: str) -> None:
        """Sleep until the next request to a host may go out, or until `stop`."""
        with self._lock:
            start = max(time.monotonic(), self._free.get(host, 0.0))
            self._free[host] = start + self._interval
        self.sleep(start - time.monotonic())

    def hold(self, host: str, seconds: float) -> None:
        """Let no request to a host out for so long, as a server asks with Retry-After."""
        with self._lock:
            self._free[host] = max(self._free.get(host, 0.0), time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, or less where `stop` is called."""
        if seconds > 0:
            self._stopped.wait(seconds)

    def stop(self) -> None:
        """Wake every sleeper and let nobody sleep again."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()
