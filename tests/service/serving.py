"""A process of its own that serves a fake model over a store: python serving.py STORE PORT [ITEMS].

Where there is no store yet, one of ITEMS random items is made. Prints "ready" once it listens.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main(store: Path, port: int, items: int) -> None:
    from tgqformer.retrieval.local import LocalIndex
    from tgqformer.service.app import create_app
    from tgqformer.service.config import ServiceConfig
    from tgqformer.service.served import Served
    from tgqformer.service.server import run

    spec = importlib.util.spec_from_file_location("fakes", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    fakes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fakes)
    embedder = fakes.FakeEmbedder()
    if not store.exists():
        fakes.make_store(store, embedder)
    config = ServiceConfig(header_timeout=2.0, body_timeout=2.0, max_body=2_000_000)
    catalog = fakes.Catalog(fakes.catalog_items())
    served = Served(
        "fake", embedder, LocalIndex(store), catalog=catalog, explainer=fakes.FakeExplainer()
    )
    run(create_app([served], config=config), config, host="127.0.0.1", port=port)


def start(store: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the service and wait until it is ready."""
    process = subprocess.Popen([sys.executable, __file__, str(store), str(port)])
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    raise RuntimeError("the service did not start")


@contextmanager
def running(store: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The service, stopped at the end."""
    process = start(store, port)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), 20)
