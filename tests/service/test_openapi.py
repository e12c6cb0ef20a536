"""Laws of /openapi.json and /docs: what is told is what is done, and nothing comes from elsewhere.

`test_the_service_keeps_its_schema` is schemathesis with all of its checks. Two of them know no 413
or 422 beside valid and invalid data; but a body may be too large, and no schema can say that base64
must be a photo, or how wide a vector is.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import schemathesis

PORT = 18_435
ALSO = {
    "positive_data_acceptance": ["2xx", 404, 409, 413, 422, 429, 503],
    "negative_data_rejection": [400, 404, 405, 409, 413, 422, 429],
}


def test_docs_need_no_other_host(client) -> None:
    pages = [client.get(path).text for path in ("/docs", "/docs/start.js", "/")]
    for link in re.findall(r"(?:src|href|url)\s*[=:]\s*\"([^\"]+)\"", " ".join(pages)):
        assert re.match(r"#|/(?!/)", link), link  # // would name another host
        assert client.get(link).status_code == 200, link
    policy = client.get("/docs").headers["content-security-policy"]
    assert "default-src 'self'" in policy


def test_every_refusal_and_route_is_told(client) -> None:
    told = client.get("/openapi.json").json()
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert {"401", "404", "413", "422", "429", "504"} <= set(operation["responses"])
            error = operation["responses"]["422"]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/ErrorBody"}


@pytest.mark.filterwarnings("ignore")  # of schemathesis and hypothesis themselves
def test_the_service_keeps_its_schema_quickly(client) -> None:
    told = {"checks": {name: {"expected-statuses": codes} for name, codes in ALSO.items()}}
    config = schemathesis.Config.from_dict(told)
    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app, config=config)
    kept = hypothesis.settings(
        max_examples=2,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    count = 0
    for operation in schema.get_all_operations():

        @kept
        @hypothesis.given(case=operation.ok().as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate()

        check()
        count += 1
    assert count == 16


@pytest.mark.slow
def test_the_service_keeps_its_schema(store: Path, tmp_path: Path, start_service) -> None:
    lines = [f"[checks.{name}]\nexpected-statuses = {codes}\n" for name, codes in ALSO.items()]
    config = tmp_path / "schemathesis.toml"
    config.write_text("".join(lines).replace("'", '"'))
    process = start_service(store, PORT)
    try:
        program = str(Path(sys.executable).with_name("schemathesis"))
        address = f"http://127.0.0.1:{PORT}/openapi.json"
        options = ["--checks", "all", "--max-examples", "50", "--seed", "1", "--no-color"]
        done = subprocess.run(
            [program, "--config-file", str(config), "run", address, *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    finally:
        process.terminate()
        process.wait(60)
