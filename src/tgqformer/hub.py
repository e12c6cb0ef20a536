"""Any part from Hugging Face: found, loaded whole or built at random, and given LoRA.

A part is looked for as a local folder, in a pip package and on the hub; what is wrong with it is
one clear error. Local folders must hold safetensors. For a hub id of a tower transformers may fall
back to a weights-only .bin, where an older model has nothing else. Remote code is never run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlparse

from tgqformer.errors import ModelError
from tgqformer.packaged import is_installed, packaged_folder, quiet_loading

if TYPE_CHECKING:
    import torch
    from torch import nn

HUB_IDS = {
    "all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2",
    "gemma-3-270m": "google/gemma-3-270m",
}
"""Of packaged models, where their package is absent."""


@dataclass(frozen=True)
class Part:
    """How a part is called in an error, and what is to be done about it.

    Attributes:
        noun: "model", "backbone", ...
        remedy: where the hub was asked for it.
        offline: where there is no hub to ask.
    """

    noun: str = "model"
    remedy: str = "check the id, the revision and the network, or give a local folder"
    offline: str = "give a local folder, set HF_ENDPOINT to a mirror, or use the preset 'offline'"


MODEL = Part()


def locate(name: str, *, assemble: bool = True) -> str:
    """Resolve a model name to a local folder where there is one, else to a hub id.

    Args:
        assemble: as in `packaged.packaged_folder`.

    Raises:
        ModelError: the name is empty, or a path to nowhere.
    """
    if not name:
        raise ModelError("The model has no name; give a hub id or a local folder.")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.resolve())
    if name in HUB_IDS:
        packaged = packaged_folder(name, assemble=assemble) if is_installed(name) else None
        return HUB_IDS[name] if packaged is None else str(packaged)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"The model folder {name!r} does not exist; check the path.")
    return name


def load(
    loader: Any, name: str, revision: str | None = None, *, part: Part = MODEL, **options: Any
) -> Any:
    """Call `loader.from_pretrained` on `name`; any failure is a ModelError of one sentence."""
    where = locate(name)
    local = Path(where).is_dir()
    if not local and not hub_is_reachable():
        where = cached_snapshot(name, where, revision, part)
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
            else part.remedy
        )
        raise ModelError(
            f"The {part.noun} {name!r} cannot be loaded ({type(error).__name__}: {reason}); "
            f"{remedy}."
        ) from error


def cached_snapshot(name: str, hub_id: str, revision: str | None, part: Part = MODEL) -> str:
    """The folder in which an earlier download of a hub model lies.

    Without it, transformers tries every file of a model for half a minute before failing.
    """
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(hub_id, revision=revision, local_files_only=True)
    except Exception as error:  # not cached, or no valid id
        raise ModelError(
            f"The {part.noun} {name!r} cannot be loaded: the hub is not reached and no download of "
            f"it is in the local cache; {part.offline}."
        ) from error


def load_network(
    auto_class: Any,
    name: str,
    revision: str | None = None,
    *,
    random_weights: bool = False,
    settings: Any = None,
    dtype: torch.dtype | None = None,
    unread: Iterable[str] = ("pooler",),
    safetensors: bool = False,
    part: Part = MODEL,
) -> Any:
    """Load a network with every weight that is read, or build it from its config alone.

    Args:
        random_weights: build it, with the same random weights every time.
        settings: its config, where it is not the model's own.
        dtype: of the weights; None is float32.
        unread: parts that nobody reads: many checkpoints lack their weights.
        safetensors: take nothing else from the hub either; a folder must hold them.

    Raises:
        ModelError: it cannot be loaded, or weights are missing in it that would be random.
    """
    import torch

    dtype = dtype or torch.float32
    if random_weights:
        settings = settings or load_settings(name, revision, part=part)
        return build_random(auto_class, settings, dtype=dtype)
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    if settings is not None:
        options["config"] = settings
    if safetensors or Path(locate(name)).is_dir():
        options["use_safetensors"] = True
    network, info = load(auto_class, name, revision, part=part, **options)
    missing = sorted(key for key in info["missing_keys"] if not {*unread} & {*key.split(".")})
    if missing:
        raise ModelError(
            f"The {part.noun} {name!r} lacks {len(missing)} weights ({missing[0]} first) of a "
            f"{type(network).__name__}; choose a checkpoint of that architecture."
        )
    return network


def load_settings(
    name: str, revision: str | None = None, *, shipped: bool = True, part: Part = MODEL
) -> Any:
    """A model's config: from its folder, from the copies shipped with the presets, or the hub.

    Args:
        shipped: take such a copy before the hub is asked.
    """
    from transformers import AutoConfig

    copy = files("tgqformer.presets") / "configs" / f"{name.replace('/', '--')}.json"
    if shipped and copy.is_file() and not Path(locate(name, assemble=False)).is_dir():
        settings = json.loads(copy.read_text(encoding="utf-8"))
        return AutoConfig.for_model(**settings)
    return load(AutoConfig, name, revision, part=part)


def build_random(auto_class: Any, settings: Any, *, dtype: torch.dtype | None = None) -> Any:
    """Build a network from its config with random weights, the same ones every time.

    A saved embedder holds none of them and must find them again.
    """
    import torch

    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(0)
        return auto_class.from_config(settings, **({} if dtype is None else {"dtype": dtype}))


class LoraOptions(Protocol):
    """What a configuration says of LoRA."""

    lora_rank: int
    lora_alpha: float
    lora_dropout: float


def add_lora(network: nn.Module, options: LoraOptions, targets: Sequence[str]) -> None:
    """Put LoRA on the layers of these names; from then on it alone is trained, in float32.

    Raises:
        ValueError: no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    lora = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=[*targets],
        bias="none",
    )
    inject_adapter_in_model(lora, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:  # the steps of an optimiser are lost in bfloat16
            parameter.data = parameter.data.float()


def linear_names(network: nn.Module) -> list[str]:
    """The full names of every linear layer inside the repeated blocks of a network."""
    from torch import nn

    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and any(part.isdigit() for part in name.split("."))
    ]


def without_dropout(network: nn.Module) -> None:
    """Switch its dropout off: few weights are trained, for few epochs; LoRA has one of its own."""
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


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
