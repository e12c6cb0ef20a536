"""One photo by its URL: within bounds of time, size, redirects and addresses, at a steady pace."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationParseError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout, Url, make_headers, parse_url

from tgqformer import __version__
from tgqformer.catalog.images import MAX_PIXELS
from tgqformer.catalog.quarantine import shown
from tgqformer.errors import ConfigError, ImageError

NO_ANSWER = "no answer"
NO_HOST = "host not known"
UNANSWERED = (NO_ANSWER, NO_HOST)
"""The rules of faults that a broken line gives for every photo."""

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


@dataclass(frozen=True)
class DownloadConfig:
    """Options of a download.

    Attributes:
        workers: photos fetched at the same time.
        rate: requests a second to one host, at most.
        retries: further tries after a fault that may pass: no answer, 429, 5xx, a body cut short.
        timeout: seconds for one answer, from the connection to the last byte.
        backoff: seconds before the first further try, doubled for each one after it, up to a
            minute, less a random part.
        max_bytes: larger photos are refused.
        max_pixels: photos of more pixels are refused before they are decoded.
        max_side: larger photos are scaled down to so many pixels on the longer side and kept as
            JPEG; None keeps every photo as it came.
        retry_failed: try those again that failed in an earlier run.
        allow_private: also fetch from private and local addresses, as of a shop's own network.
    """

    workers: int = 16
    rate: float = 50.0
    retries: int = 4
    timeout: float = 30.0
    backoff: float = 1.0
    max_bytes: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    max_side: int | None = None
    retry_failed: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "max_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be 1 or more.")
        for name in ("rate", "timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} ({getattr(self, name)}) must be a number above 0.")
        for name in ("retries", "backoff"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} ({getattr(self, name)}) must not be negative.")
        if self.max_side is not None and self.max_side < 32:
            raise ConfigError(f"max_side ({self.max_side}) must be 32 pixels or more, or none.")


class FetchError(ImageError):
    """A photo could not be fetched.

    Attributes:
        rule: the kind of fault in a few words, the same for every photo; what a summary counts.
        passing: another try may succeed.
        wait: seconds that the server asks to wait before another try, None where it does not.
    """

    def __init__(
        self,
        url: str,
        rule: str,
        reason: str,
        *,
        passing: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(f"{shown(url, 120)} gave no photo: {reason}.")
        self.rule = rule
        self.reason = reason
        self.passing = passing
        self.wait = wait


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


# -- addresses -------------------------------------------------------------------------------------
# Which addresses a photo may come from: http and https, and no host of an inner network.
#
# A catalog's URLs are data of strangers, and so is every redirect. A name is resolved once, here,
# and the connection goes to the address that was checked, so that a name cannot point elsewhere
# later.

PORTS = {"http": 80, "https": 443}

# IPv4-compatible (RFC 4291) and NAT64 (RFC 6052): the last 32 bits are where a packet ends up.
_WITH_IPV4 = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: "http" or "https".
        host: as the URL names it, without brackets.
        port: the URL's, or the scheme's.
        path: with the query.
        netloc: host and port as the request's Host header says them.
    """

    scheme: str
    host: str
    port: int
    path: str
    netloc: str


def parse(url: str) -> Target:
    """Return the parts of a URL.

    Raises:
        FetchError: it is no URL, or of another scheme than http and https.
    """
    try:
        parts: Url = parse_url(url)
    except (LocationParseError, ValueError) as error:
        raise FetchError(url, "no URL", "it cannot be read as a URL") from error
    scheme = (parts.scheme or "").lower()
    if scheme not in PORTS or not parts.host or "://" not in url:
        raise FetchError(url, "no http URL", "only http:// and https:// URLs are fetched")
    host = parts.host.strip("[]")
    netloc = parts.host if parts.port is None else f"{parts.host}:{parts.port}"
    return Target(scheme, host, parts.port or PORTS[scheme], parts.request_uri, netloc)


def resolve(url: str, target: Target, *, allow_private: bool) -> str:
    """Return the address to connect to.

    Raises:
        FetchError: the name is not known, or all its addresses are private.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = f"the host {shown(target.host)} is not known ({error})"
        # "Try again" of the resolver, against "there is no such name".
        passing = getattr(error, "errno", None) == socket.EAI_AGAIN
        raise FetchError(url, NO_HOST, reason, passing=passing) from error
    addresses = [str(entry[4][0]) for entry in found]
    usable = [a for a in addresses if allow_private or is_public(a)]
    if not usable:
        raise private(url, target)
    return usable[0]


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the open internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if any(ip in network for network in _WITH_IPV4):
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local or ip in _LOCAL_NAT64:
            return False
    return ip.is_global and not ip.is_multicast


def is_literal(host: str) -> bool:
    """Tell whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def private(url: str, target: Target) -> FetchError:
    """Return the error for a host of an inner network."""
    reason = (
        f"the host {shown(target.host)} is a private or local address, which is fetched from only "
        "with --allow-private"
    )
    return FetchError(url, "private address", reason)


# -- deadline --------------------------------------------------------------------------------------
# One time for the whole of an answer, where a socket's own timeout starts anew with every byte.


class _Bounded(io.RawIOBase):
    """What a socket receives, until the timeout that it has now is over."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        timeout = sock.gettimeout()
        self._end = None if timeout is None else time.monotonic() + timeout
        self._sock, self._raw = sock, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Bounded(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}
"""Pools by scheme, for a urllib3 manager, whose total timeout then holds from connection to end."""
