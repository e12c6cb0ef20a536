"""A saved embedder as a module of sentence-transformers (5.1 or newer).

    SentenceTransformer(folder, trust_remote_code=True).encode([{"title": "Lamp", "image": photo}])

`modules.json` of a saved folder names `ItemModule`. From version 6 on sentence-transformers wants
`trust_remote_code=True` before it imports a class of any other package; no code is taken from the
folder. `SentenceTransformer(modules=[ItemModule.load(folder)])` needs no such flag.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tgqformer.catalog.items import ImageRef, Item
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.errors import CatalogError, MissingDependencyError
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

if TYPE_CHECKING:
    from PIL.Image import Image

FIELDS = ("title", "text", "brand", "category", "attributes", "price", "image", "images")
"""Keys of an item given as a dict; "text" is another name of the title."""

_TOWERS = tuple(TowerBatch.__dataclass_fields__)
_PROMPT = tuple(PromptBatch.__dataclass_fields__)


class ItemModule(InputModule):  # type: ignore[misc]
    """An `ItemEmbedder` whose inputs are titles (strings), photos (PIL), items, or dicts."""

    save_in_root = True

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
            inputs: titles, PIL images, `Item`s, or dicts with keys of `FIELDS`.
            prompt: text put before every title.

        Raises:
            CatalogError: an input is of another kind, or has an unknown key.
        """
        items = [as_item(given, f"input {i}", prompt or "") for i, given in enumerate(inputs)]
        batch = self.embedder.batch(items)
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


def as_item(given: Any, name: str, prompt: str = "") -> Item:
    """An item out of what a person may hand to `SentenceTransformer.encode`."""
    if isinstance(given, Item):
        return given
    if isinstance(given, str):
        return Item(name, title=prompt + given)
    if not isinstance(given, Mapping):
        return Item(name, images=_photos(given, name))
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise CatalogError(
            f"{name} has the unknown key {unknown[0]!r}; the known ones are {', '.join(FIELDS)}."
        )
    title = str(given.get("title") or given.get("text") or "")
    return Item(
        name,
        title=prompt + title if title else "",
        brand=str(given.get("brand") or ""),
        category=str(given.get("category") or ""),
        attributes={str(k): str(v) for k, v in (given.get("attributes") or {}).items()},
        price=given.get("price"),
        images=_photos(given.get("image"), name) + _photos(given.get("images"), name),
    )


def _photos(given: Any, name: str) -> tuple[ImageRef, ...]:
    if given is None:
        return ()
    if isinstance(given, (list, tuple)):
        return tuple(photo for one in given for photo in _photos(one, name))
    if isinstance(given, bytes):
        return (given,)
    if isinstance(given, (str, os.PathLike)):
        return (Path(given),)
    if hasattr(given, "getexif"):
        return (_encoded(given),)
    raise CatalogError(
        f"{name} is a {type(given).__name__}; give a title, a PIL image, the path or bytes of a "
        f"photo, or a dict with keys of {', '.join(FIELDS)}."
    )


def _encoded(image: Image) -> bytes:
    """A PIL image as PNG, which loses nothing; turned upright where its EXIF says so."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    out = io.BytesIO()
    upright.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _tensors(batch: TowerBatch | PromptBatch, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: getattr(batch, name) for name in names}
