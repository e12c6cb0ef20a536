"""Dockerfile and compose.yaml against the program: there is no Docker where the tests run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement

from tgqformer.cli.main import tgqformer
from tgqformer.service.config import ServiceConfig

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SERVICES: dict[str, Any] = COMPOSE["services"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continued lines joined."""
    lines = "\n".join(ln for ln in DOCKERFILE.splitlines() if not ln.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    parts = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in parts]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(n for n, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def parse(arguments: list[str]) -> click.Context:
    """Parse as the program does, running nothing."""
    group: click.Command = tgqformer
    parent: click.Context | None = None
    rest = arguments
    while isinstance(group, click.Group):
        parent = click.Context(group, parent=parent)
        name, command, rest = group.resolve_command(parent, rest)
        assert command is not None, name
        group = command
    return group.make_context(arguments[0], list(rest), parent=parent)


def commands() -> dict[str, list[str]]:
    cmd = next(rest for name, rest in last_stage() if name == "CMD")
    return {"Dockerfile": json.loads(cmd)} | {n: s["command"] for n, s in SERVICES.items()}


@pytest.mark.parametrize("place", ["Dockerfile", "serve", "index"])
def test_its_command_is_one_that_the_program_takes(place: str) -> None:
    context = parse(commands()[place])
    assert context.params


def test_an_option_that_is_none_would_be_refused() -> None:
    with pytest.raises(click.UsageError):
        parse([*commands()["serve"], "--no-such-option"])


def test_the_service_listens_where_its_port_is_published_and_its_health_is_asked() -> None:
    for place in ("Dockerfile", "serve"):
        params = parse(commands()[place]).params
        assert params["host"] == "0.0.0.0"
        assert str(params["port"]) == dict(last_stage())["EXPOSE"]
    assert SERVICES["serve"]["ports"][0].endswith(":8000")
    check = dict(last_stage())["HEALTHCHECK"]
    asked = re.search(r"http://127\.0\.0\.1:8000(/\w+)", check)
    assert asked is not None
    pytest.importorskip("fastapi")
    from tgqformer.service.routes import operations

    assert asked[1] in {getattr(route, "path", "") for route in operations.router.routes}
    program = json.loads(re.sub(r"^.*? CMD ", "", check))
    compile(program[2], "<healthcheck>", "exec")


def test_torch_has_the_bounds_of_the_project() -> None:
    asked = next(Requirement(d) for d in PROJECT["dependencies"] if d.startswith("torch>"))
    run = next(rest for name, rest in instructions() if name == "RUN" and "TORCH_INDEX" in rest)
    told = [Requirement(word.rstrip(";")) for word in shlex.split(run) if word.startswith("torch>")]
    assert told == [asked]


def test_the_extras_that_are_installed_exist() -> None:
    installed = re.search(r'pip install "\.\[([\w,]+)\]"', DOCKERFILE)
    assert installed is not None
    extras = installed[1].split(",")
    assert "serve" in extras
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_it_runs_without_rights_and_keeps_no_cache() -> None:
    names = [name for name, _ in last_stage()]
    user = dict(last_stage())["USER"]
    assert user.isdigit()
    assert int(user) > 0
    assert "PIP_NO_CACHE_DIR=1" in DOCKERFILE
    assert "ADD" not in names
    assert ":latest" not in DOCKERFILE
    for service in SERVICES.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service


def test_the_store_is_below_a_named_volume_and_what_is_not_written_is_read_only() -> None:
    for name, service in SERVICES.items():
        mounts = {m.rsplit(":", 2)[-2 if m.endswith(":ro") else -1]: m for m in service["volumes"]}
        params = parse(service["command"]).params
        store = Path(params["store"])
        volume = mounts[str(store.parent)]
        assert volume.split(":")[0] in COMPOSE["volumes"], name
        assert store.parent != Path("/")
        for key in ("run", "catalog_path", "embeddings"):
            if key in params:
                assert mounts[str(params[key])].endswith(":ro"), key


def test_the_keys_come_as_a_secret() -> None:
    keys = parse(SERVICES["serve"]["command"]).params["keys_path"]
    assert keys.parent == Path("/run/secrets")
    assert keys.name in SERVICES["serve"]["secrets"]
    assert keys.name in COMPOSE["secrets"]


def test_docker_waits_longer_than_the_service_takes_to_stop() -> None:
    grace = SERVICES["serve"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > ServiceConfig().shutdown_timeout


def test_the_build_is_sent_all_that_it_copies() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in sent
    copied = [
        word.rstrip("/")
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for word in shlex.split(rest)[:-1]
    ]
    assert copied
    for path in copied:
        assert f"!{path}" in sent
        assert (ROOT / path).exists()
