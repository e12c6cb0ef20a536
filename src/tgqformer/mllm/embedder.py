"""`MLLMEmbedder`: items in, vectors out, by a vision-language model from end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import tgqformer
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.inputs import Fault, Given, OnError, read_inputs
from tgqformer.catalog.items import Item, Vectors
from tgqformer.catalog.text import item_text
from tgqformer.config import from_dict, to_dict, whole_number
from tgqformer.embedder.item_embedder import similarity
from tgqformer.embedder.saving import load_trained, trained_weights, write_weights
from tgqformer.errors import ConfigError, ImageError, ModelError
from tgqformer.files import write_text
from tgqformer.mllm.config import MLLMConfig
from tgqformer.mllm.network import MLLMModel, load_mllm_settings
from tgqformer.mllm.processing import ChatProcessor
from tgqformer.progress import track

FORMAT = 1
KIND = "tgqformer-mllm"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class MLLMEmbedder:
    """A vision-language model behind `encode`: an `Embedder` for evaluation and search.

    Attributes:
        config: what it is made of.
        chat: makes model input of photos and metadata.
        model: network, LoRA and head.
        broken: id of an item to the reason why a photo of it was passed over.
        facts: figures and provenance, saved with it.
    """

    def __init__(self, config: MLLMConfig, chat: ChatProcessor, model: MLLMModel) -> None:
        self.config, self.chat, self.model = config, chat, model
        self.broken: dict[str, str] = {}
        self.facts: dict[str, Any] = {}

    @classmethod
    def from_config(
        cls, config: MLLMConfig, *, device: str | None = None, seed: int = 0
    ) -> MLLMEmbedder:
        """Build an untrained one: the published weights, LoRA that changes nothing, a random head.

        Args:
            device: "cpu", "cuda", ...; None takes the GPU where there is one.
            seed: of the random weights; the caller's random state is left as it was.

        Raises:
            ModelError: network or processor cannot be loaded.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        chat = ChatProcessor(config, load_mllm_settings(config).model_type)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MLLMModel(config, device)
        return cls(config, chat, model.to(device).eval())

    @classmethod
    def from_pretrained(cls, path: Path | str, *, device: str | None = None) -> MLLMEmbedder:
        """Load a folder that `save_pretrained` or `train_mllm` wrote.

        Raises:
            ModelError: where the folder is none of ours or does not fit its network.
        """
        path = Path(path)
        folder = path if (path / CONFIG).is_file() else path / "model"
        saved = _read_config(path, folder / CONFIG)
        try:
            config = from_dict(MLLMConfig, saved["mllm"])
        except ConfigError as error:
            raise ModelError(
                f"The configuration of {path} is not one of this version of tgqformer ({error}); "
                f"it was saved by version {saved.get('tgqformer_version', 'unknown')}."
            ) from error
        embedder = cls.from_config(config, device=device)
        load_trained(embedder.model, folder / WEIGHTS)
        embedder.facts = dict(saved.get("facts", {}))
        return embedder

    def save_pretrained(self, path: Path | str) -> None:
        """Write a folder of what was trained, and the name of what was not.

        config.json         the configuration, provenance, facts
        model.safetensors   LoRA, head, temperature

        Weights come before the config, each file whole or not at all.

        Raises:
            StorageError: where the disk refuses.
        """
        config = {
            "format": FORMAT,
            "model_type": KIND,
            "tgqformer_version": tgqformer.__version__,
            "mllm": to_dict(self.config),
            "facts": self.facts,
        }
        write_weights(trained_weights(self.model), Path(path) / WEIGHTS)
        write_text(Path(path) / CONFIG, json.dumps(config, indent=2))

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.head.weight.device

    def batch(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Model input for B items, on the CPU.

        Of several photos the first that can be read, and no other: a chat model reads pictures in
        an order, and an item's photos have none.
        """
        return self.chat.batch([self._photo(item) for item in items], [*map(item_text, items)])

    def encode(
        self,
        items: Given,
        *,
        batch_size: int = 8,
        progress: bool = False,
        dims: int | None = None,
        errors: OnError | None = None,
    ) -> Vectors:
        """Embed one item, or many; see `ItemEmbedder.encode` for what may be given.

        Args:
            batch_size: items in one forward pass.
            progress: show a progress bar.
            dims: keep the first so many dimensions, renormalised; None keeps all.
            errors: "raise", "warn" or "ignore", as there.

        Returns:
            float32 unit vectors [N, dims]; of one input its row alone, [dims].

        Raises:
            CatalogError: an input is of another kind, or has an unknown key.
            ConfigError: `dims` is not within 1 and the model's own, or `batch_size` below 1.
            ImageError: something cannot be read, and `errors` says to raise.
        """
        batch_size = whole_number(batch_size, "batch_size")
        dims = self.config.dims if dims is None else dims
        if not 1 <= dims <= self.config.dims:
            raise ConfigError(f"dims ({dims}) must lie within 1 and {self.config.dims}.")
        inputs = read_inputs(items, errors)
        vectors = np.empty((len(inputs.items), dims), dtype=np.float32)
        self.model.eval()
        starts = range(0, len(inputs.items), batch_size)
        for start in track(starts, total=len(starts), text="embedding", show=progress):
            part = inputs.items[start : start + batch_size]
            unread: list[tuple[int, int, str]] = []
            photos = [self._photo(item, row, unread) for row, item in enumerate(part, start)]
            inputs.faults += [Fault(row, f"photo {n}: {reason}") for row, n, reason in unread]
            with torch.inference_mode():
                chat = self.chat.batch(photos, [*map(item_text, part)])
                out = self.model(self.to_device(chat))[:, :dims]
                out = torch.nn.functional.normalize(out, dim=-1)
            vectors[start : start + len(part)] = out.float().cpu().numpy()
        inputs.tell(errors)
        return vectors[0] if inputs.single else vectors

    def similarity(self, a: Given | Vectors, b: Given | Vectors, **options: Any) -> Vectors:
        """Cosines of N inputs or vectors with M: float32 [N, M]; see `ItemEmbedder.similarity`."""
        return similarity(self.encode, a, b, **options)

    def to_device(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same input where the model lives."""
        return {name: x.to(self.device) for name, x in inputs.items()}

    def _photo(
        self, item: Item, row: int = 0, unread: list[tuple[int, int, str]] | None = None
    ) -> Image.Image | None:
        for place, ref in enumerate(item.images):
            try:
                return decode_image(ref, size_hint=round(self.config.max_pixels**0.5))
            except ImageError as error:
                self.broken[item.item_id] = str(error)
                if unread is not None:
                    unread.append((row, place, str(error)))
        return None


def _read_config(path: Path, file: Path) -> dict[str, Any]:
    """The config.json of a saved embedder, of this format."""
    try:
        saved: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        kind, version = saved["model_type"], saved["format"]
        saved["mllm"]
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
    return saved
