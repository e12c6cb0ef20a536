"""Which addresses a photo may come from: http and https, and no host of an inner network.

A catalog's URLs are data of strangers, and so is every redirect. A name is resolved once, here, and
the connection goes to the address that was checked, so that a name cannot point elsewhere later.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from tgqformer.catalog.downloads.faults import NO_HOST, FetchError
from tgqformer.catalog.quarantine import shown

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
