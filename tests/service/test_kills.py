"""Laws of writes under kills: whatever was acknowledged is there after a restart."""

from __future__ import annotations

import http.client
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

PORT = 18_433
Start: TypeAlias = "Callable[[Path, int], subprocess.Popen[bytes]]"


def write_until_gone(port: int, worker: int, acknowledged: dict[str, str | None]) -> None:
    """Upsert and delete items until the service is gone, noting what it acknowledged."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        number = 0
        while True:
            names = [f"w{worker}-{(number + n) % 40}" for n in range(3)]
            title = f"{worker} {time.monotonic_ns()}"
            items = [{"id": name, "title": title} for name in names]
            for name in names:
                acknowledged.pop(name, None)  # what is under way may or may not be there
            answer = request(connection, "POST", "/v1/items", {"items": items})
            if answer is not None:
                acknowledged.update({entry["id"]: title for entry in answer["items"]})
            acknowledged.pop(names[0], None)
            if request(connection, "DELETE", f"/v1/items/{names[0]}", {}) is not None:
                acknowledged[names[0]] = None
            number += 2
    except (OSError, http.client.HTTPException):
        return


def request(connection: http.client.HTTPConnection, method: str, path: str, body: object):
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    assert answer.status in (200, 404, 429, 503), (answer.status, said)
    return said if answer.status == 200 else None


def lost(port: int, acknowledged: dict[str, str | None]) -> list[str]:
    """Acknowledged writes that are not there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    missing = []
    for name, title in acknowledged.items():
        connection.request("GET", f"/v1/items/{name}")
        answer = connection.getresponse()
        said = json.loads(answer.read())
        there = said.get("title") if answer.status == 200 else None
        if there != title:
            missing.append(f"{name}: {there!r} instead of {title!r}")
    connection.close()
    return missing


def rounds(start: Start, store: Path, count: int, seed: int) -> int:
    """Kill a service under writes `count` times; how many writes were acknowledged in all."""
    rng = random.Random(seed)
    known: dict[str, str | None] = {}
    total = 0
    process = start(store, PORT)
    try:
        for turn in range(count):
            parts: list[dict[str, str | None]] = [{} for _ in range(3)]
            threads = [
                threading.Thread(target=write_until_gone, args=(PORT, worker, part))
                for worker, part in enumerate(parts)
            ]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.2, 1.5))
            process.send_signal(signal.SIGKILL if turn % 2 else signal.SIGTERM)
            for thread in threads:
                thread.join(60)
            process.wait(60)
            known = {}
            for part in parts:
                known.update(part)
            total += len(known)
            process = start(store, PORT)
            assert lost(PORT, known) == []
    finally:
        process.kill()
        process.wait()
    return total


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_acknowledged_write_is_lost_in_fifty_kills(store: Path, start_service: Start) -> None:
    assert rounds(start_service, store, 50, 0) > 50
