"""A saved embedder: what was trained, and the names of what was not.

config.json         the configuration, the towers' widths and weights digests, provenance
model.safetensors   connector, heads, LoRA: every weight that was trained, no frozen one
README.md           the model card, with its figures
modules.json        lets sentence-transformers load the folder
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import tgqformer
from tgqformer.config import from_dict, to_dict
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.errors import ConfigError, ModelError
from tgqformer.files import atomic_path, write_text
from tgqformer.packaged import terms

if TYPE_CHECKING:
    from tgqformer.embedder.item_embedder import ItemEmbedder

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
SENTENCE_TRANSFORMERS = {
    "modules.json": [
        {
            "idx": 0,
            "name": "0",
            "path": "",
            "type": "tgqformer.embedder.sentence_transformers.ItemModule",
        }
    ],
    "config_sentence_transformers.json": {"similarity_fn_name": "cosine", "prompts": {}},
}

_CARD = """---
library_name: tgqformer
pipeline_tag: feature-extraction
tags: [item-embeddings, e-commerce, multimodal, tgqformer]
---

# Item embeddings by TGQ-Former

Embeds products (photos, title, brand, category, attributes) so that neighbours are what shoppers
want next. Method: TGQ-Former, KDD 2026, arXiv 2605.17366.

| | |
|---|---|
| image tower (frozen, not in this folder) | {image} |
| text tower (frozen, not in this folder) | {text} |
| backbone ({train}) | {backbone} |
| connector | {connector}, {queries} |
| base | {base} |
| dimensions | {dims}{matryoshka} |
| trained weights | {count:,} |{terms}

```python
from tgqformer import ItemEmbedder

embedder = ItemEmbedder.from_pretrained("PATH")
vectors = embedder.encode(items)  # float32 [N, {dims}]
```

Or by sentence-transformers, which asks for `trust_remote_code` because the code is tgqformer's:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH", trust_remote_code=True)
vectors = model.encode([{{"title": "Desk lamp", "image": "lamp.jpg"}}, "a title alone"])
```

## Figures

{facts}

## Configuration

```json
{config}
```
"""


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name to weight of everything that training may change, or that is fitted to its pairs."""
    return {name: x.detach().cpu().contiguous() for name, x in _own(model).items()}


def _own(model: nn.Module) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    fitted = {
        name: buffer
        for name, buffer in model.state_dict(keep_vars=True).items()
        if name not in parameters and not name.startswith("backbone.")
    }
    return {name: p for name, p in parameters.items() if p.requires_grad} | fitted


def load_trained(model: nn.Module, path: Path) -> None:
    """Put saved weights into a model.

    Raises:
        ModelError: where they are damaged, or others than the model's trained weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The weights {path} cannot be read; they are missing or damaged."
        ) from error
    own = _own(model)
    if "token_scale" in own:  # models of before it read their tokens as they were
        saved.setdefault("token_scale", torch.ones(()))
    odd = sorted(own.keys() ^ saved.keys()) or [
        name for name, p in own.items() if p.shape != saved[name].shape
    ]
    if odd:
        raise ModelError(
            f"The weights {path} do not fit their configuration ({len(odd)} differ, first "
            f"'{odd[0]}'); the folder mixes files of two models."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(saved[name])


def save_embedder(embedder: ItemEmbedder, path: Path) -> None:
    """Write the folder; each file by temporary file, fsync and rename, weights before config."""
    towers = embedder.features
    config = {
        "format": FORMAT,
        "model_type": "tgqformer",
        "tgqformer_version": tgqformer.__version__,
        "embedder": to_dict(embedder.config),
        "towers": {"image": towers.image_tower.key, "text": towers.text_tower.key},
        "facts": embedder.facts,
    }
    weights = trained_weights(embedder.model)
    write_weights(weights, path / WEIGHTS)
    for name, content in SENTENCE_TRANSFORMERS.items():
        write_text(path / name, json.dumps(content, indent=2))
    write_text(path / CARD, model_card(embedder.config, embedder.facts, _count(weights)))
    write_text(path / CONFIG, json.dumps(config, indent=2))


def load_embedder(
    cls: type[ItemEmbedder],
    path: Path | str,
    *,
    revision: str | None,
    cache_dir: Path | str | None,
    device: str | None,
) -> ItemEmbedder:
    """See `ItemEmbedder.from_pretrained`."""
    folder = resolve(path, revision)
    try:
        saved: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version: Any = saved["format"]
        config: Any = saved.get("embedder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is no saved embedder: its {CONFIG} is missing or of another kind; give the "
            "folder that save_pretrained or `tgqformer train` wrote."
        ) from error
    if version != FORMAT:
        raise ModelError(
            f"{path} has format {version}, and this version reads {FORMAT}; upgrade tgqformer."
        )
    try:
        parsed = from_dict(EmbedderConfig, config)
    except ConfigError as error:
        raise ModelError(
            f"The configuration of {path} is not one of this version of tgqformer ({error}); "
            f"it was saved by version {saved.get('tgqformer_version', 'unknown')}."
        ) from error
    embedder = cls.from_config(parsed, cache_dir=cache_dir, device=device)
    load_trained(embedder.model, folder / WEIGHTS)
    embedder.facts = dict(saved.get("facts", {}))
    return embedder


def push_embedder(embedder: ItemEmbedder, repo_id: str, *, private: bool, token: str | None) -> str:
    """See `ItemEmbedder.push_to_hub`."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save_embedder(embedder, Path(folder))
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder))


def resolve(path: Path | str, revision: str | None = None) -> Path:
    """A local folder as it is; a run's folder stands for its model; else a hub id is downloaded."""
    folder = Path(path)
    if (folder / CONFIG).is_file():
        return folder
    if (folder / "model" / CONFIG).is_file():
        return folder / "model"
    if folder.exists() or str(path).count("/") != 1 or str(path).startswith((".", "/")):
        raise ModelError(
            f"{path} holds no saved embedder; give the folder that `tgqformer train` wrote, or a "
            "hub id like 'shop/model'."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        files = [CONFIG, WEIGHTS, CARD, *SENTENCE_TRANSFORMERS]
        return Path(snapshot_download(str(path), revision=revision, allow_patterns=files))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"'{path}' is neither a folder here nor reachable on the hub; check the spelling and "
            "the connection."
        ) from error


def write_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all; StorageError where it cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path, refusals=(SafetensorError,)) as temporary:
        save_file(weights, temporary)


def _count(weights: dict[str, Tensor]) -> int:
    return sum(w.numel() for w in weights.values())


def model_card(config: EmbedderConfig, facts: dict[str, Any], count: int) -> str:
    """Markdown with the architecture, the figures in `facts`, and the whole configuration."""
    c, language = config.connector, config.language
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    used = [config.image_tower.name, config.text_tower.name]
    used += [language.name] if config.has_backbone and language.kind == "hf" else []
    bound = [f"\n| bound by the terms of | {licence} |" for licence in terms(used)]
    return _CARD.format(
        image=f"{config.image_tower.kind} {config.image_tower.name}".strip(),
        text=f"{config.text_tower.kind} {config.text_tower.name}".strip(),
        train=language.train,
        backbone=language.name if language.kind == "hf" else language.kind,
        connector=c.kind,
        base=config.base,
        queries=f"{c.anchored} anchored and {c.exploratory} exploratory queries",
        dims=config.dims,
        matryoshka=f", also {', '.join(map(str, config.matryoshka))}" if config.matryoshka else "",
        count=count,
        terms="".join(bound),
        facts="\n".join(lines) or "None were recorded.",
        config=json.dumps(to_dict(config), indent=2),
    )
