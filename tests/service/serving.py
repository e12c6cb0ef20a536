"""A process of its own that serves a fake model over a store: python serving.py STORE PORT

Where there is no store yet, a small one is made.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main(store: Path, port: int) -> None:
    from tgqformer.retrieval.search import LocalIndex
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
