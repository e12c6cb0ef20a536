"""A saved MLLM embedder: what was trained, and the name of what was not.

config.json         the configuration, provenance, facts
model.safetensors   LoRA, head, temperature
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tgqformer
from tgqformer.config import from_dict, to_dict
from tgqformer.embedder.saving import load_trained, trained_weights, write_weights
from tgqformer.errors import ConfigError, ModelError
from tgqformer.files import write_text
from tgqformer.mllm.config import MLLMConfig

if TYPE_CHECKING:
    from tgqformer.mllm.embedder import MLLMEmbedder

FORMAT = 1
KIND = "tgqformer-mllm"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_mllm(embedder: MLLMEmbedder, path: Path) -> None:
    """Write the folder, weights before config, each file whole or not at all.

    Raises:
        StorageError: where the disk refuses.
    """
    config = {
        "format": FORMAT,
        "model_type": KIND,
        "tgqformer_version": tgqformer.__version__,
        "mllm": to_dict(embedder.config),
        "facts": embedder.facts,
    }
    write_weights(trained_weights(embedder.model), path / WEIGHTS)
    write_text(path / CONFIG, json.dumps(config, indent=2))


def load_mllm(cls: type[MLLMEmbedder], path: Path, *, device: str | None) -> MLLMEmbedder:
    """See `MLLMEmbedder.from_pretrained`."""
    folder = path if (path / CONFIG).is_file() else path / "model"
    try:
        saved: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind, version, config = saved["model_type"], saved["format"], saved["mllm"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is no saved MLLM embedder: its {CONFIG} is missing or of another kind; give "
            "the folder that MLLMEmbedder.save_pretrained or train_mllm wrote."
        ) from error
    if (kind, version) != (KIND, FORMAT):
        raise ModelError(
            f"{path} is a {kind!r} of format {version}, and this version reads {KIND!r} of format "
            f"{FORMAT}; upgrade tgqformer."
        )
    try:
        parsed = from_dict(MLLMConfig, config)
    except ConfigError as error:
        raise ModelError(
            f"The configuration of {path} is not one of this version of tgqformer ({error}); "
            f"it was saved by version {saved.get('tgqformer_version', 'unknown')}."
        ) from error
    embedder = cls.from_config(parsed, device=device)
    load_trained(embedder.model, folder / WEIGHTS)
    embedder.facts = dict(saved.get("facts", {}))
    return embedder
