"""Laws of the gate: who may do what, how much and how fast; and the one shape of every refusal."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from tgqformer.errors import ConfigError
from tgqformer.service.keys import Keys, right_needed

READ, WRITE = "r" * 20, "w" * 20
KEYS = Keys.parse(["# keys", f"read {READ}", "", f"write {WRITE}"], "test")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def assert_refused(answer: Any, status: int, code: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "param"}
    assert (error["code"], bool(error["message"])) == (code, True)
    return error


def test_keys_allow_what_they_say(make_client) -> None:
    client = make_client(keys=KEYS)
    query, items = {"id": "i1"}, {"items": [{"id": "new", "title": "Cup"}]}
    for wrong in ({}, bearer("x" * 20), bearer(READ[:-1]), {"Authorization": f"Basic {READ}"}):
        answer = client.post("/v1/similar", json=query, headers=wrong)
        assert_refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics", headers=wrong).status_code == 401
    for key in (READ, WRITE):
        assert client.post("/v1/similar", json=query, headers=bearer(key)).status_code == 200
    assert_refused(client.post("/v1/items", json=items, headers=bearer(READ)), 403, "forbidden")
    for method in ("patch", "delete"):
        answer = client.request(method, "/v1/items/i1", json={}, headers=bearer(READ))
        assert_refused(answer, 403, "forbidden")
    assert client.post("/v1/items", json=items, headers=bearer(WRITE)).status_code == 200
    for path in ("/health", "/ready", "/", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_every_route_that_changes_anything_needs_the_right_to_write(make_client) -> None:
    paths = make_client().get("/openapi.json").json()["paths"]
    harmless = {"/v1/similar", "/v1/embeddings", "/v1/explain", "/v1/corrupt"}
    for path, methods in paths.items():
        for method in methods:
            changes = method != "get" and path not in harmless
            wanted = "write" if changes else "read"
            assert right_needed(method.upper(), path) == (
                None if path in ("/health", "/ready") else wanted
            )


@pytest.mark.parametrize(
    "lines", [[], ["read"], ["admin " + READ], ["read short"], [f"read {READ} more"]]
)
def test_keys_that_are_none_are_refused_without_being_told(lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Keys.parse(lines, "the file")
    assert READ not in str(caught.value)
    assert "the file" in str(caught.value)


def test_paths_and_methods_that_there_are_not_have_the_one_shape(client) -> None:
    assert_refused(client.get("/nope"), 404, "not_found")
    assert_refused(client.get("/v1/"), 404, "not_found")
    answer = client.put("/v1/items")
    assert_refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"id": "\\ud800"}', b""):
        answer = client.post(
            "/v1/similar", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422)
        assert set(answer.json()) == {"error"}


def test_a_fault_is_500_in_the_one_shape_and_tells_nothing(client, embedder, caplog) -> None:
    def fail(items: object) -> None:
        raise RuntimeError("secret text")

    embedder.before = fail
    answer = client.post("/v1/embeddings", json={"input": "private words"})
    error = assert_refused(answer, 500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in error["message"]


def test_the_log_holds_no_contents(make_client, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("tgqformer.service"), "propagate", True)
    client = make_client(keys=KEYS)
    with caplog.at_level(logging.INFO, "tgqformer.service"):
        client.get("/v1/items/private-id", headers=bearer(READ), params={"model": "hidden"})
        client.post("/v1/embeddings", json={"input": "private words"}, headers=bearer(READ))
    entries = [record.entry for record in caplog.records]
    assert [entry["route"] for entry in entries] == ["/v1/items/{item_id:path}", "/v1/embeddings"]
    told = json.dumps(entries)
    assert all(word not in told for word in ("private", "hidden", READ))


def test_bodies_over_the_limit_are_413_whether_declared_or_not(make_client) -> None:
    client = make_client(max_body=2000)
    declared = client.post("/v1/similar", content=b"x" * 2001)
    assert_refused(declared, 413, "too_large")

    def parts():
        for _ in range(50):
            yield b"x" * 100

    assert_refused(client.post("/v1/similar", content=parts()), 413, "too_large")
    answer = client.post("/v1/similar", content=b"", headers={"Content-Length": "9" * 30})
    assert answer.status_code in (400, 413)
    service = client.app.state.service
    assert service.metrics.under_way._value.get() == 0


def call(app: Any, method: str, path: str, receive: Any, headers: list[Any] = []) -> Any:  # noqa: B006
    """One request straight to the application: its messages."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_body_that_comes_too_slowly_is_408_and_a_client_that_leaves_is_nobody(
    make_client,
) -> None:
    client = make_client(body_timeout=0.05)

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def leaves() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    chunked = [(b"transfer-encoding", b"chunked")]
    sent = call(client.app, "POST", "/v1/similar", slow, chunked)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "too_slow"
    assert call(client.app, "POST", "/v1/similar", leaves, chunked) == []


def test_what_is_too_much_at_once_is_429_and_says_when_to_come_again(make_client, embedder) -> None:
    client = make_client(max_queued=2, batch=1, batch_wait=0.0)
    started, go_on = threading.Event(), threading.Event()

    def hold(items: object) -> None:
        started.set()
        assert go_on.wait(20)

    embedder.before = hold
    answers: list[Any] = []

    def ask() -> None:
        answers.append(client.post("/v1/embeddings", json={"input": "a"}))

    threads = [threading.Thread(target=ask) for _ in range(3)]  # one at work, two waiting
    threads[0].start()
    assert started.wait(20)
    for thread in threads[1:]:
        thread.start()
    worker = client.app.state.service.embedding
    while worker.queued < 2:
        pass
    refused = client.post("/v1/embeddings", json={"input": "a"})
    assert_refused(refused, 429, "overloaded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.post("/v1/similar", json={"id": "i1"}).status_code == 200  # has its own queue
    go_on.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 3


def test_what_takes_too_long_is_504_and_nobody_waits_for_it(make_client, embedder) -> None:
    client = make_client(timeout=0.1)
    go_on = threading.Event()
    embedder.before = lambda items: assert_waited(go_on)
    assert_refused(client.post("/v1/embeddings", json={"input": "a"}), 504, "timeout")
    assert_refused(client.post("/v1/embeddings", json={"input": "b"}), 504, "timeout")
    go_on.set()
    embedder.before = lambda items: None
    client.app.state.service.embedding.close(20)
    assert embedder.batches == [1]  # b was given up before its turn


def assert_waited(event: threading.Event) -> None:
    assert event.wait(20)


def test_metrics_count_what_was_answered(client) -> None:
    client.post("/v1/similar", json={"id": "i1"})
    client.post("/v1/similar", json={"k": 0})
    client.get("/v1/items/a/b")
    text = client.get("/metrics").text
    for line in (
        'tgqformer_requests_total{method="POST",route="/v1/similar",status="200"} 1.0',
        'tgqformer_requests_total{method="POST",route="/v1/similar",status="422"} 1.0',
        'tgqformer_requests_total{method="GET",route="/v1/items/{item_id:path}",status="404"} 1.0',
        'tgqformer_items{model="fake"} 20.0',
        'tgqformer_batch_units_count{worker="search"} 1.0',
    ):
        assert line in text
