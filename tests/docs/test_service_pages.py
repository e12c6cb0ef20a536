"""What the pages of the service name is what the service has: routes, refusals, metrics, limits."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("fastapi")

from tgqformer.cli.serve import KEYS_VARIABLE, serve
from tgqformer.service.config import ServiceConfig
from tgqformer.service.failures import STATUSES
from tgqformer.service.observing import Metrics
from tgqformer.service.routes import explore, items, operations, search

DOCS = Path(__file__).parents[2] / "docs"
SERVICE = (DOCS / "service.md").read_text(encoding="utf-8")
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_routes_are_those_of_the_service() -> None:
    told = set(re.findall(r"`(GET|POST|PATCH|DELETE) (/[^`]*)`", section(SERVICE, "Routes")))
    there = {
        (method, route.path.replace(":path}", "}"))
        for part in (search, items, explore, operations)
        for route in cast("list[Any]", part.router.routes)
        if route.include_in_schema
        for method in route.methods
    }
    assert told == there


def test_the_refusals_are_those_of_the_service() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", section(SERVICE, "Refusals"), re.MULTILINE)
    assert {int(status) for row in rows for status in row.split(", ")} == set(STATUSES)


def test_the_metrics_are_those_of_the_service() -> None:
    metrics = Metrics()
    workers = [SimpleNamespace(name=name, queued=0) for name in ("embedding", "search", "write")]
    embedding, searching, writing = workers
    service = SimpleNamespace(embedding=embedding, searching=searching, writing=writing, models={})
    metrics.follow(cast("Any", service))
    metrics.request("GET", "/health", 200, 0.1)
    there = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
    }
    told = set(re.findall(r"`(tgqformer_\w+)", section(OPERATIONS, "Monitoring")))
    assert told == there


def test_the_limits_are_those_of_the_service() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", section(SERVICE, "Limits"), re.M)
    options = {option for parameter in serve.params for option in parameter.opts}
    known = ServiceConfig()
    for _, default, option in rows[1:]:
        name = option.strip("` ")
        if not name.startswith("--"):
            continue
        assert name in options
        value = getattr(known, name.removeprefix("--").replace("-", "_"))
        number, _, unit = default.strip().partition(" ")
        scale = {"": 1, "MiB": 2**20, "million": 10**6}[unit]
        assert float(number.replace(",", "")) * scale == value, name
    assert sum(option.strip().startswith("`--") for _, _, option in rows) == 6


def test_the_options_and_the_variable_that_the_pages_name_exist() -> None:
    options = {option for parameter in serve.params for option in parameter.opts}
    for told in ("--catalog", "--model", "--host", "--keys", "--image-host"):
        assert told in options
        assert told in SERVICE + OPERATIONS + (DOCS / "security.md").read_text(encoding="utf-8")
    assert KEYS_VARIABLE in SERVICE
