"""One URL to the bytes of one photo, within bounds of time, size and number of redirects."""

from __future__ import annotations

import time
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, ReadTimeoutError, SSLError
from urllib3.util import Retry, Timeout, make_headers, parse_url

from tgqformer import __version__
from tgqformer.catalog.downloads.addresses import (
    Target,
    is_literal,
    is_public,
    parse,
    private,
    resolve,
)
from tgqformer.catalog.downloads.config import DownloadConfig
from tgqformer.catalog.downloads.deadline import POOLS
from tgqformer.catalog.downloads.faults import NO_ANSWER, FetchError
from tgqformer.catalog.downloads.pace import Pace

MAX_REDIRECTS = 5
MAX_WAIT = 300.0
"""Seconds; a photo whose server asks for a longer wait is given up."""

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_BLOCK = 1 << 16
_HEADERS = {
    "User-Agent": f"tgqformer/{__version__}",
    "Accept": "image/*",
    # A photo is packed already; a packed body could unpack to anything.
    "Accept-Encoding": "identity",
}


class Fetcher:
    """Fetches photos; threads may share one.

    Args:
        config: the bounds.
        pace: how often one host is asked.
        redirects: followed at most.
        proxies: use those that the environment names; without, every address is checked here.
    """

    def __init__(
        self,
        config: DownloadConfig,
        pace: Pace,
        *,
        redirects: int = MAX_REDIRECTS,
        proxies: bool = True,
    ) -> None:
        self._config = config
        self._pace = pace
        self._redirects = redirects
        pool = {"maxsize": config.workers, "headers": _HEADERS}
        self._direct = urllib3.PoolManager(num_pools=64, **pool)  # type: ignore[arg-type]
        self._proxies = {
            scheme: _proxy(url, config.workers)
            for scheme, url in getproxies().items()
            if proxies and scheme in ("http", "https")
        }
        for manager in (self._direct, *self._proxies.values()):
            manager.pool_classes_by_scheme = POOLS

    def close(self) -> None:
        """Close the connections."""
        for manager in (self._direct, *self._proxies.values()):
            manager.clear()

    def fetch(self, url: str) -> bytes:
        """Return the body that a URL, or what it redirects to, answers with.

        Raises:
            FetchError: there is none, or it breaks a bound.
        """
        place = url
        for _ in range(self._redirects + 1):
            target = parse(place)
            self._pace.wait(target.host)
            deadline = time.monotonic() + self._config.timeout
            try:
                answer = self._ask(url, target, deadline)
            except SSLError as error:
                raise FetchError(url, "bad certificate", _told(error)) from error
            except HTTPError as error:
                raise FetchError(url, NO_ANSWER, _told(error), passing=True) from error
            try:
                if answer.status in _REDIRECTS and "location" in answer.headers:
                    place = urljoin(place, answer.headers["location"])
                    continue
                return self._body(url, target, answer)
            finally:
                # What is left of a body is not read for the sake of a connection.
                answer.close()
        reason = f"it redirects more than {self._redirects} times, last to {place[:120]}"
        raise FetchError(url, "too many redirects", reason)

    def _ask(self, url: str, target: Target, deadline: float) -> urllib3.BaseHTTPResponse:
        options = {
            "headers": {**_HEADERS, "Host": target.netloc},
            "timeout": Timeout(total=max(0.01, deadline - time.monotonic())),
            "retries": False,
            "redirect": False,
            "preload_content": False,
            "decode_content": False,
        }
        proxy = self._proxies.get(target.scheme)
        if proxy is not None and not proxy_bypass(target.host):
            # The proxy resolves the name, and has rules of its own.
            if not self._config.allow_private and _is_inner(target.host):
                raise private(url, target)
            address = f"{target.scheme}://{target.netloc}{target.path}"
            return proxy.request("GET", address, **options)  # type: ignore[arg-type]
        address = resolve(url, target, allow_private=self._config.allow_private)
        tls = {"server_hostname": target.host} if target.scheme == "https" else {}
        pool = self._direct.connection_from_host(address, target.port, target.scheme, tls)
        return pool.request("GET", target.path, assert_same_host=False, **options)  # type: ignore[arg-type]

    def _body(self, url: str, target: Target, answer: urllib3.BaseHTTPResponse) -> bytes:
        if answer.status != 200:
            wait = _wait(answer.headers.get("retry-after"))
            if wait is not None:
                self._pace.hold(target.host, min(wait, MAX_WAIT))
            raise FetchError(
                url,
                f"HTTP {answer.status}",
                f"the server answers {answer.status} {answer.reason or ''}".rstrip(),
                passing=answer.status in _PASSING,
                wait=wait,
            )
        limit = self._config.max_bytes
        length = answer.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise self._heavy(url, int(length))
        data = bytearray()
        try:
            for block in answer.stream(_BLOCK):
                data += block
                if len(data) > limit:
                    raise self._heavy(url, len(data))
                if self._pace.stopped:
                    raise FetchError(url, "stopped", "the download was stopped")
        except ReadTimeoutError as error:
            reason = f"the end of it did not come in {self._config.timeout:g} s"
            raise FetchError(url, "too slow", reason, passing=True) from error
        except HTTPError as error:
            raise FetchError(url, "cut short", _told(error), passing=True) from error
        return bytes(data)

    def _heavy(self, url: str, size: int) -> FetchError:
        reason = f"it has {size:,} bytes or more, over the limit of {self._config.max_bytes:,}"
        return FetchError(url, "too many bytes", reason)


def _wait(told: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    if told is None:
        return None
    try:
        return Retry().parse_retry_after(told)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _proxy(url: str, workers: int) -> urllib3.ProxyManager:
    parts = parse_url(url if "://" in url else f"http://{url}")
    login = make_headers(proxy_basic_auth=parts.auth) if parts.auth else None
    address = f"{parts.scheme}://{parts.netloc}"
    return urllib3.ProxyManager(address, num_pools=64, maxsize=workers, proxy_headers=login)


def _is_inner(host: str) -> bool:
    name = host.rstrip(".").lower()
    if is_literal(name):
        return not is_public(name)
    return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))


def _told(error: Exception) -> str:
    text = " ".join(str(getattr(error, "reason", None) or error).split())
    # urllib3 begins with the connection's own name: HTTPConnection(host=..., port=...): ...
    return text.rpartition("): ")[2][:200].rstrip(".") or type(error).__name__
