"""Laws of whom a download asks: no inner network, and no host but the one that was checked."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tgqformer.catalog.downloads import Downloads
from tgqformer.catalog.fetch import is_public

Server = Any  # that of conftest.py
Fetch = Callable[..., Downloads]
Fault = Callable[..., tuple[str, str]]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "::1",
     "fe80::1", "fc00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "224.0.0.1", "100.64.0.1", "x",
     "fec0::1", "::127.0.0.1", "::", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
     "64:ff9b:1::5db8:d822"],
)  # fmt: skip
def test_addresses_of_inner_networks_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")
    assert is_public("64:ff9b::5db8:d822")  # as a network without IPv4 reaches 93.184.216.34


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/ok/a", "http://localhost:{port}/ok/a", "http://2130706433:{port}/",
     "http://[::1]:{port}/ok/a", "http://169.254.169.254/latest/meta-data/", "http://0x7f.1/a"],
)  # fmt: skip
def test_private_addresses_are_not_asked(
    server: Server, tmp_path: Path, url: str, fault: Fault
) -> None:
    where = url.format(port=server.server_address[1])
    rule, reason = fault(server, tmp_path, where, allow_private=False)
    assert rule == "private address"
    assert "--allow-private" in reason
    assert not server.asked


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Let names lead to addresses, one after another with each question; return the questions."""
    real, asked = socket.getaddrinfo, []

    def answer(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in names:
            return real(host, port, *rest, **options)
        asked.append(host)
        address = names[host][min(asked.count(host), len(names[host])) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_no_redirect_leads_inside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """A server that counts as public sends us to a private one, by address and by name."""
    monkeypatch.setattr("tgqformer.catalog.fetch.is_public", lambda address: address == "127.0.0.1")
    resolving(monkeypatch, {"shop.test": ["127.0.0.1"], "inner.test": ["10.0.0.7"]})
    port = server.server_address[1]
    for target in ("http://10.0.0.7/ok", "http://inner.test/ok"):
        told = fault(server, tmp_path, f"http://shop.test:{port}/to/{target}", allow_private=False)
        assert told[0] == "private address"
    assert server.hosts == [f"shop.test:{port}"] * 2


def test_a_name_cannot_move_between_check_and_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetch
) -> None:
    """The name is asked for once, and the connection goes to the address that was checked."""
    asked = resolving(monkeypatch, {"shop.test": ["127.0.0.1", "10.0.0.7"]})
    port = server.server_address[1]
    assert fetch(server, tmp_path, f"http://shop.test:{port}/ok/a").fetched == 1
    assert asked == ["shop.test"]
    assert server.hosts == [f"shop.test:{port}"]


def test_a_host_that_nobody_knows(tmp_path: Path, server: Server, fault: Fault) -> None:
    assert fault(server, tmp_path, "http://no-such-host.invalid/a.jpg", retries=0)[0] == (
        "host not known"
    )


def test_a_proxy_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetch, fault: Fault
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    found = fetch(server, tmp_path, "http://photos.test/ok/a", allow_private=False, retries=0)
    assert found.failures, "the server takes the whole URL for a path, which it has not"
    assert server.hosts == ["photos.test"]
    assert fault(server, tmp_path, "http://10.0.0.1/a", allow_private=False)[0] == (
        "private address"
    )


def test_https_is_checked_against_the_name_not_the_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetch, fault: Fault
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"]
    try:
        subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the command openssl")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    resolving(monkeypatch, {"shop.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    port = server.server_address[1]
    url = f"https://shop.test:{port}/ok/a"
    assert fault(server, tmp_path / "a", url, retries=0)[0] == "bad certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(server, tmp_path / "b", url).fetched == 1
    slow = {"timeout": 0.3, "retries": 0}
    for path, rule in (("slowhead/x", "no answer"), ("slowly", "too slow")):
        start = time.monotonic()
        told = fault(server, tmp_path / path, f"https://shop.test:{port}/{path}", **slow)
        assert (told[0], time.monotonic() - start < 1.5) == (rule, True)
    other = url.replace("shop", "other")
    assert fault(server, tmp_path / "c", other, retries=0)[0] == "bad certificate"
