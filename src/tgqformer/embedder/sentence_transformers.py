"""A saved embedder as a module of sentence-transformers (5.1 or newer).

    SentenceTransformer(folder, trust_remote_code=True).encode([{"title": "Lamp", "image": photo}])

`modules.json` of a saved folder names `ItemModule`. From version 6 on sentence-transformers wants
`trust_remote_code=True` before it imports a class of any other package; no code is taken from the
folder. `SentenceTransformer(modules=[ItemModule.load(folder)])` needs no such flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tgqformer.catalog.inputs import OnError, read_inputs
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import MissingDependencyError
from tgqformer.language import PromptBatch
from tgqformer.towers.base import TowerBatch

try:
    from sentence_transformers.base.modules import InputModule
except ImportError:
    try:
        from sentence_transformers.models import InputModule  # 5.1 to 5.3
    except ImportError as error:
        raise MissingDependencyError(
            "sentence-transformers 5.1 or newer is not installed; run pip install "
            '"sentence-transformers>=5.1".'
        ) from error

_TOWERS = tuple(TowerBatch.__dataclass_fields__)
_PROMPT = tuple(PromptBatch.__dataclass_fields__)


class ItemModule(InputModule):  # type: ignore[misc]
    """An `ItemEmbedder` whose inputs are titles (strings), photos (PIL), items, or dicts.

    Attributes:
        errors: what becomes of an input of which something cannot be read: "raise", "warn" or
            "ignore", as `ItemEmbedder.encode` has it.
    """

    save_in_root = True
    errors: OnError = "raise"

    def __init__(self, embedder: ItemEmbedder) -> None:
        super().__init__()
        self.embedder = embedder
        self.model = embedder.model  # registered here, so that it moves between devices

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        revision: str | None = None,
        cache_folder: str | None = None,
        **options: Any,
    ) -> ItemModule:
        """Load a saved folder, or a hub id of one; see `ItemEmbedder.from_pretrained`.

        Other options of sentence-transformers' loader are of no meaning here.
        """
        path = Path(model_name_or_path) / subfolder if subfolder else model_name_or_path
        return cls(ItemEmbedder.from_pretrained(path, revision=revision))

    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        """Write the folder that `load` reads; always safetensors."""
        self.embedder.save_pretrained(output_path)

    @property
    def modalities(self) -> list[Any]:
        """What an input may be made of."""
        return ["text", "image", ("text", "image"), ("image", "text")]

    def get_embedding_dimension(self) -> int:
        """D, the width of an embedding."""
        return self.embedder.config.dims

    def get_sentence_embedding_dimension(self) -> int:
        """The older name of `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    @property
    def max_seq_length(self) -> int:
        """Tokens of metadata that the backbone reads."""
        return self.embedder.config.language.prompt.max_tokens

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **options: Any
    ) -> dict[str, Tensor]:
        """Run the frozen towers and tokenize the prompts of B inputs.

        Args:
            inputs: titles, PIL images, paths, `Item`s, or dicts with keys of
                `catalog.inputs.FIELDS`.
            prompt: text put before every title.

        Raises:
            CatalogError: an input is of another kind, or has an unknown key.
            ImageError: a photo cannot be read, and `errors` is "raise".
        """
        read = read_inputs(list(inputs), self.errors, prompt=prompt or "")
        batch = self.embedder.batch(read.items)
        read.faults += self.embedder.unread(read.items)
        read.tell(self.errors)
        return {**_tensors(batch.towers, _TOWERS), **_tensors(batch.prompt, _PROMPT)}

    def tokenize(self, texts: Sequence[Any], **options: Any) -> dict[str, Tensor]:
        """The older name of `preprocess`."""
        return self.preprocess(texts, **options)

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Add "sentence_embedding", [B, D] unit rows, to what `preprocess` made."""
        batch = ItemBatch(
            TowerBatch(**{name: features[name] for name in _TOWERS}),
            PromptBatch(**{name: features[name] for name in _PROMPT}),
        )
        embedding = self.model(batch.to(self.embedder.device)).embedding
        return features | {"sentence_embedding": embedding.to(torch.float32)}


def _tensors(batch: TowerBatch | PromptBatch, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: getattr(batch, name) for name in names}
