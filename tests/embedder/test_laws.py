"""What holds for every preset: visual tokens at the backbone's scale; one item, one vector."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from sentence_transformers import SentenceTransformer

from tgqformer.config import override
from tgqformer.connectors import CONNECTORS
from tgqformer.embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head
from tgqformer.embedder.sentence_transformers import ItemModule
from tgqformer.packaged import is_installed
from tgqformer.presets import load_preset
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.search import LocalIndex
from tgqformer.retrieval.store import Store
from tgqformer.scale.pipeline import Pipeline, ShardVectors
from tgqformer.service.app import create_app
from tgqformer.service.config import ServiceConfig
from tgqformer.service.served import Served

torch.set_num_threads(1)

READ = [kind for kind in sorted(CONNECTORS) if kind not in ("clip_sum", "text_only")]


def needs(*models: str):
    """Skip where a packaged model, or EfficientNet beside it, is not installed."""
    absent = [name for name in models if not is_installed(name)]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


GEMMA = [
    pytest.mark.slow,
    pytest.mark.gemma,
    pytest.mark.timeout(1800),  # the first to ask for Gemma has it made
    needs("all-MiniLM-L6-v2", "gemma-3-270m"),
]


# -- visual tokens at the scale of the backbone's own embeddings ----------------------------------


def norm_ratio(embedder: ItemEmbedder, items) -> float:
    """Mean norm of the visual tokens by that of the backbone's embeddings, asked one by one."""
    model = embedder.model
    with torch.no_grad():
        towers = embedder.batch(items).to(embedder.device).towers
        tokens = model.visual_tokens(model.connect(towers))[towers.presence[:, 0]]
        embeddings = model.backbone.model.get_input_embeddings()
        own = embeddings(torch.arange(len(embeddings.weight))).float().norm(dim=-1).mean()
    return float(tokens.float().norm(dim=-1).mean() / own)


@pytest.mark.parametrize("kind", READ)
def test_visual_tokens_start_at_the_scale_of_the_backbones_embeddings(make, config, items, kind):
    changed = replace(config, connector=replace(config.connector, kind=kind))
    embedder = make(changed, stirred=False)
    assert norm_ratio(embedder, items) == pytest.approx(1, rel=0.5)  # without a catalog
    initialise_head(embedder.model, embedder.batch(items).to("cpu"))
    assert norm_ratio(embedder, items) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=GEMMA) for name in ("gemma-3-270m", "all-MiniLM-L6-v2")]
)
def test_so_do_they_before_a_real_model(make, items, name):
    config = load_preset("gemma").embedder
    language = replace(config.language, name=name, layers=1, pooling="auto")
    embedder = make(replace(config, language=language), stirred=False)
    initialise_head(embedder.model, embedder.batch(items).to("cpu"))
    assert norm_ratio(embedder, items) == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_the_scale_follows_the_backbone(make, config, items, factor, monkeypatch):
    """A backbone whose embedding layer multiplies, as Gemma's does, or that has a small table."""
    embedder = make(config, stirred=False)
    layer = embedder.model.backbone.model.get_input_embeddings()
    layer.register_forward_hook(lambda module, given, out: out * factor)
    before = float(embedder.model.token_scale)
    initialise_head(embedder.model, embedder.batch(items).to("cpu"))
    assert float(embedder.model.token_scale) == pytest.approx(before * factor, rel=0.5)
    model = embedder.model
    towers = embedder.batch(items).towers
    with torch.no_grad():
        tokens = model.visual_tokens(model.connect(towers))[towers.presence[:, 0]]
    assert float(tokens.norm(dim=-1).mean()) == pytest.approx(
        factor * float(layer.weight.norm(dim=-1).mean()), rel=1e-4
    )


def test_the_scale_is_saved_and_one_of_before_it_is_one(make, config, items, tmp_path):
    from safetensors.torch import load_file, save_file

    embedder = make(config)
    initialise_head(embedder.model, embedder.batch(items).to("cpu"))
    embedder.save_pretrained(tmp_path)
    again = ItemEmbedder.from_pretrained(tmp_path, device="cpu")
    assert torch.equal(again.model.token_scale, embedder.model.token_scale)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["token_scale"]
    save_file(weights, tmp_path / "model.safetensors")
    assert float(ItemEmbedder.from_pretrained(tmp_path, device="cpu").model.token_scale) == 1


# -- one item, one vector -------------------------------------------------------------------------

BOUNDS = {"tiny": 2e-6, "offline": 2e-6, "gemma": 2e-2}
"""Largest difference of an entry of a unit vector: the rounding of other batches, and no more. The
frozen towers are asked once and kept, as they are by the token cache; Gemma computes in bfloat16
where the device does, in which a batch's shape decides how sums are rounded."""


def largest_differences(embedder: ItemEmbedder, items, folder) -> dict[str, float]:
    """Of each item's vector alone to the same by every other way."""
    alone = np.concatenate([embedder.encode([item]) for item in items])
    embedder.save_pretrained(folder / "model")
    pipeline = Pipeline(embedder, batch_size=4, workers=0, compute="float32")
    shards = [x for x in pipeline.run([(0, items)], len(items)) if isinstance(x, ShardVectors)]
    library = SentenceTransformer(modules=[ItemModule(embedder)], device="cpu")
    ways = {
        "mixed batch": embedder.encode(items, batch_size=len(items)),
        "other batches": embedder.encode(items[::-1], batch_size=3)[::-1],
        "embed": shards[0].vectors,
        "sentence-transformers": library.encode(items, batch_size=5),
        "service": served(embedder, items, alone, folder / "store"),
    }
    return {name: float(np.abs(way - alone).max()) for name, way in ways.items()}


def half_backbone(embedder: ItemEmbedder, items) -> None:
    """Let what the backbone says count as much as the frozen base, as training may come to."""
    model, batch = embedder.model, embedder.batch(items)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        model.head.weight.copy_(torch.randn(model.head.weight.shape, generator=generator))
        state = model.head(model.read(batch, model.connect(batch.towers))[1])
        model.head.weight.div_(state.norm(dim=-1).mean())


def served(embedder: ItemEmbedder, items, alone, store):
    """What POST /v1/embeddings answers; of an item of which nothing is known it is not asked."""
    Store.build(store, [(["a"], alone[:1], [Metadata("a")])], dims=alone.shape[1]).close()
    app = create_app([Served("model", embedder, LocalIndex(store))], config=ServiceConfig())
    known = [row for row, i in enumerate(items) if i.title or i.images]
    asked = [
        {"title": i.title, "brand": i.brand, "category": i.category}
        | {"images": [base64.b64encode(photo).decode() for photo in i.images]}
        for i in (items[row] for row in known)
    ]
    with TestClient(app) as client:
        answer = client.post(
            "/v1/embeddings", json={"model": "model", "input": asked, "encoding_format": "float"}
        )
        assert answer.status_code == 200, answer.text
    found = alone.copy()
    found[known] = [entry["embedding"] for entry in answer.json()["data"]]
    return found


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        pytest.param("offline", marks=[pytest.mark.offline, needs("all-MiniLM-L6-v2")]),
        pytest.param("gemma", marks=GEMMA),
    ],
)
def test_one_item_has_one_vector_by_every_way(make, items, name, tmp_path):
    config = load_preset(name).embedder
    config = replace(  # that a photo's tokens too are those of one and the same pass
        config,
        image_tower=replace(config.image_tower, dtype="float32"),
        text_tower=replace(config.text_tower, dtype="float32"),
    )
    embedder = make(config, cache_dir=tmp_path / "cache", stirred=name != "gemma")
    if name == "gemma":
        half_backbone(embedder, items)
    found = largest_differences(embedder, items, tmp_path)
    assert max(found.values()) < BOUNDS[name], found


# -- the paper's reading of the metadata ----------------------------------------------------------


def test_the_papers_reading_is_of_title_brand_and_category(make, config, items):
    config = override(config, ["language.prompt.max_tokens=200"])  # of bytes here: all is read
    paper = make(replace(config, connector=replace(config.connector, metadata="paper")))
    ours = make(config)
    short = replace(items[0], title="shoe", brand="B", category="C")  # nothing of it is cut
    whole = replace(short, attributes={"c": "red"})
    other = replace(short, attributes={"c": "blue"})
    assert torch.equal(paper.batch([whole]).towers.text, paper.batch([other]).towers.text)
    assert not torch.equal(ours.batch([whole]).towers.text, ours.batch([other]).towers.text)
    rebranded = replace(short, brand="Other")
    a, b = paper.batch([whole, rebranded]).towers.title_global
    assert torch.equal(a, b)  # the photo is compared with the title, and nothing else
    title_alone = paper.features.batch([replace(short, brand="", category="")])
    assert torch.equal(a, title_alone.text_global[0])
    assert ours.batch([whole]).towers.title_global is None
    prompt = paper.batch([whole, other]).prompt
    assert not torch.equal(prompt.input_ids[0], prompt.input_ids[1])  # the backbone reads all of it


def test_without_a_title_the_paper_compares_with_nothing(make, config, items, tmp_path):
    changed = replace(
        config, connector=replace(config.connector, metadata="paper", grounding="none")
    )
    embedder = make(changed, cache_dir=tmp_path)
    untitled = replace(items[0], title="")
    found = embedder.outputs([untitled, items[0]]).connector.agreement
    assert float(found[0]) == pytest.approx(0, abs=1e-6) or embedder.features.shared_space is False
    assert not embedder.batch([untitled]).towers.title_global.any()
    calls = embedder.features.tower_calls
    embedder.batch([untitled, items[0]])
    assert embedder.features.tower_calls == calls  # what is compared was cached with the rest
