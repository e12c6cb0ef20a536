"""Loading from Hugging Face: a local folder, a pip package or the hub, with one clear error.

Local folders must hold safetensors. For a hub id transformers may fall back to a weights-only
.bin, where an older model has nothing else. Remote code is never run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tgqformer.errors import ModelError
from tgqformer.packaged import is_installed, packaged_folder, quiet_loading

HUB_IDS = {
    "all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2",
    "gemma-3-270m": "google/gemma-3-270m",
}
"""Of packaged models, where their package is absent."""


def locate(name: str) -> str:
    """Resolve a model name to a local folder where there is one, else to a hub id.

    Raises:
        ModelError: the name is empty, or a path to nowhere.
    """
    if not name:
        raise ModelError("The tower has no name; give a hub id or a local folder.")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    if name in HUB_IDS:
        packaged = packaged_folder(name) if is_installed(name) else None
        return HUB_IDS[name] if packaged is None else str(packaged)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"The model folder {name!r} does not exist; check the path.")
    return name


def load(loader: Any, name: str, revision: str | None = None, **options: Any) -> Any:
    """Call `loader.from_pretrained` on `name`; any failure is a ModelError of one sentence."""
    where = locate(name)
    local = Path(where).is_dir()
    if not local and not hub_is_reachable():
        where = cached_snapshot(name, where, revision)
        revision = None
    try:
        with quiet_loading():
            return loader.from_pretrained(
                where, revision=None if local else revision, trust_remote_code=False, **options
            )
    except Exception as error:  # transformers, the hub and safetensors share no base error
        reason = " ".join(str(error).split())[:160]
        remedy = (
            "check that the folder holds a whole model, with safetensors weights"
            if local
            else "check the id, the revision and the network, or give a local folder"
        )
        raise ModelError(
            f"The model {name!r} cannot be loaded ({type(error).__name__}: {reason}); {remedy}."
        ) from error


def cached_snapshot(name: str, hub_id: str, revision: str | None) -> str:
    """The folder in which an earlier download of a hub model lies.

    Without it, transformers tries every file of a model for half a minute before failing.
    """
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(hub_id, revision=revision, local_files_only=True)
    except Exception as error:  # not cached, or no valid id
        raise ModelError(
            f"The model {name!r} cannot be loaded: the hub is not reached and no download of it is "
            "in the local cache; give a local folder, set HF_ENDPOINT to a mirror, or use the "
            "preset 'offline'."
        ) from error


def load_network(
    auto_class: Any, name: str, revision: str | None = None, *, random_weights: bool = False
) -> Any:
    """Load a float32 network, or build it from its config alone with random weights.

    Raises:
        ModelError: it cannot be loaded, or weights are missing in it that would be random.
    """
    import torch

    if random_weights:
        return build_random(auto_class, load_settings(name, revision))
    options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    if Path(locate(name)).is_dir():
        options["use_safetensors"] = True
    network, info = load(auto_class, name, revision, **options)
    # no tower uses a pooler: many checkpoints lack its weights, and it would be random
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key.split("."))
    if missing:
        raise ModelError(
            f"The model {name!r} lacks {len(missing)} weights ({missing[0]} first) of a "
            f"{type(network).__name__}; choose a checkpoint of that architecture."
        )
    return network


def load_settings(name: str, revision: str | None = None) -> Any:
    """A model's config: from its folder, from the copies shipped with the presets, or the hub."""
    from transformers import AutoConfig

    shipped = files("tgqformer.presets") / "configs" / f"{name.replace('/', '--')}.json"
    if not Path(locate(name)).is_dir() and shipped.is_file():
        settings = json.loads(shipped.read_text(encoding="utf-8"))
        return AutoConfig.for_model(**settings)
    return load(AutoConfig, name, revision)


def build_random(auto_class: Any, settings: Any) -> Any:
    """Build a network from its config with random weights, the same ones every time."""
    import torch

    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(0)
        return auto_class.from_config(settings)


def tokenizer_digest(tokenizer: Any) -> str:
    """Names a tokenizer by what it does, wherever its files lie."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return hashlib.sha256(backend.to_str().encode()).hexdigest()
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(f"{type(tokenizer).__name__}{vocabulary}".encode()).hexdigest()


@cache
def hub_is_reachable() -> bool:
    """Whether the hub's name resolves, or a proxy does so for us; asked once a process."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
