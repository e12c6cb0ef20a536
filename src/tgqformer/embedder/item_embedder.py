"""`ItemEmbedder`: items in, vectors out; saved and loaded as a folder of what was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from tgqformer.catalog.inputs import Fault, Given, OnError, read_inputs
from tgqformer.catalog.items import Item, Vectors
from tgqformer.catalog.text import is_cut, item_text
from tgqformer.config import whole_number
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.model import EmbedderModel, ItemBatch, ItemOutput, TowerShape
from tgqformer.errors import ConfigError
from tgqformer.language import PromptBuilder, load_tokenizer
from tgqformer.language.backbone import byte_tokenizer
from tgqformer.progress import track
from tgqformer.retrieval.scores import Precision, Stored, inner_products, quantize, unit
from tgqformer.towers.base import TowerBatch
from tgqformer.towers.encoding import one_ahead
from tgqformer.towers.features import ItemFeatures
from tgqformer.towers.load import keep_large_buffers, load_image_tower, load_text_tower


class ItemEmbedder:
    """Frozen towers, trained connector and backbone, behind `encode`.

    Attributes:
        config: what it is made of.
        features: the towers and their cache.
        model: the trained part.
        facts: figures and provenance for the model card.
    """

    def __init__(
        self, config: EmbedderConfig, features: ItemFeatures, model: EmbedderModel
    ) -> None:
        self.config, self.features, self.model = config, features, model
        self.facts: dict[str, Any] = {}
        backbone, connector = model.backbone, model.connector
        self.prompts = PromptBuilder(
            byte_tokenizer() if backbone is None else load_tokenizer(config.language),
            config.language.prompt,
            connector.num_tokens,
            reads_text=connector.prompt_text,
        )
        longest = self.prompts.longest
        positions = None if backbone is None else backbone.positions
        if positions is not None and longest > positions:
            raise ConfigError(
                f"language.prompt.max_tokens ({config.language.prompt.max_tokens}) makes prompts "
                f"of up to {longest} tokens, and the backbone reads {positions}; lower it."
            )

    @classmethod
    def from_config(
        cls,
        config: EmbedderConfig,
        *,
        cache_dir: Path | str | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> ItemEmbedder:
        """Build an untrained embedder.

        Args:
            cache_dir: where tower outputs are kept; None keeps none.
            device: "cpu", "cuda", ...; None takes the GPU where there is one.
            seed: of the random weights; the caller's random state is left as it was.
        """
        keep_large_buffers()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        features = ItemFeatures(
            load_image_tower(config.image_tower, device=device),
            load_text_tower(config.text_tower, device=device),
            Path(cache_dir) if cache_dir is not None else None,
            max_images=config.max_images,
            words=config.words if config.base != "none" else 0,
            text_fields=config.connector.text_fields,
            title_apart=config.connector.metadata == "paper",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = EmbedderModel(config, tower_shape(features), device=device)
        return cls(config, features, model.to(device).eval())

    @classmethod
    def from_pretrained(
        cls,
        path: Path | str,
        *,
        revision: str | None = None,
        cache_dir: Path | str | None = None,
        device: str | None = None,
    ) -> ItemEmbedder:
        """Load a saved folder, or a hub id of one.

        Raises:
            ModelError: where the folder is none of ours or does not fit its towers.
        """
        from tgqformer.embedder.saving import load_embedder

        return load_embedder(cls, path, revision=revision, cache_dir=cache_dir, device=device)

    def save_pretrained(self, path: Path | str) -> None:
        """Write config, trained weights (safetensors), model card and `modules.json`.

        Frozen weights are not written: they are named, and loaded from where they came.
        """
        from tgqformer.embedder.saving import save_embedder

        save_embedder(self, Path(path))

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the saved folder to the Hugging Face hub; returns its address."""
        from tgqformer.embedder.saving import push_embedder

        return push_embedder(self, repo_id, private=private, token=token)

    @property
    def device(self) -> torch.device:
        """Where the trained part lives."""
        return next(self.model.parameters()).device

    def text(self, item: Item) -> str:
        """The metadata of an item as text, "" where it has none.

        Text tower and prompt each shorten it to what they read (`catalog.text.fit_text`).
        """
        return item_text(item)

    def cut_texts(self, items: Sequence[Item]) -> int:
        """How many items have more metadata than the text tower or the backbone reads."""
        limits = [self.features.text_tower.limit]
        if self.model.backbone is not None and self.prompts.reads_text:
            limits.append(self.prompts.limit)
        return sum(is_cut(item, limits) for item in items)

    def connector_text(self, item: Item, text: str) -> str:
        """What the connector reads of an item whose metadata is `text`: the same."""
        return text

    def batch(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        prompt_texts: Sequence[str] | None = None,
    ) -> ItemBatch:
        """Model input for B items, on the CPU; tokens in float16, as the cache keeps them.

        Args:
            texts: metadata in place of the items' own.
            prompt_texts: what the backbone reads, where it differs from `texts`.
        """
        texts = [self.text(item) for item in items] if texts is None else texts
        read = [self.connector_text(item, text) for item, text in zip(items, texts, strict=True)]
        towers = self.features.batch(items, texts=read, dtype=torch.float16)
        has_image = towers.presence[:, 0].tolist()
        return ItemBatch(
            towers, self.prompts.build(texts if prompt_texts is None else prompt_texts, has_image)
        )

    @torch.inference_mode()
    def outputs(self, items: Sequence[Item], *, attention: bool = False) -> ItemOutput:
        """Everything that the model says of a few items: vectors, gates, attention maps."""
        self.model.eval()
        self.features.fill(items)
        result: ItemOutput = self.model(
            self.batch(items).to(self.device), return_attention=attention
        )
        return result

    def unread(self, items: Sequence[Item]) -> list[Fault]:
        """Photos of items that `encode` or `batch` passed over since they cannot be read."""
        return [
            Fault(row, f"photo {place}: {reason}")
            for row, place, reason in self.features.unread(items)
        ]

    @overload
    def encode(
        self,
        items: Given,
        *,
        batch_size: int = 64,
        progress: bool = False,
        dims: int | None = None,
        precision: Literal["float32"] = "float32",
        errors: OnError | None = None,
    ) -> Vectors: ...

    @overload
    def encode(
        self,
        items: Given,
        *,
        batch_size: int = 64,
        progress: bool = False,
        dims: int | None = None,
        precision: Precision,
        errors: OnError | None = None,
    ) -> Stored: ...

    def encode(
        self,
        items: Given,
        *,
        batch_size: int = 64,
        progress: bool = False,
        dims: int | None = None,
        precision: Precision = "float32",
        errors: OnError | None = None,
    ) -> Stored:
        """Embed one item, or many.

        Args:
            items: an `Item`, a dict of its fields, a title (str), a Pillow image, the path
                (`pathlib.Path`) or the bytes of a photo; or a list, a tuple, a catalog or any
                iterator of these, mixed as they come.
            batch_size: items in one forward pass.
            progress: show a progress bar.
            dims: keep the first so many dimensions, renormalised; None keeps all.
            precision: "float32", "int8" or "binary" (see `retrieval.scores`).
            errors: what to do about photos and values that cannot be read: "raise"; "warn", which
                counts them, names the first and embeds what is left of their items; or "ignore".
                None raises where one input is given and warns where there are many.

        Returns:
            float32 unit vectors [N, dims], int8 [N, dims] or uint8 [N, ceil(dims / 8)]; of one
            input (no list of one) its row alone, [dims].

        Raises:
            CatalogError: an input is of another kind, has an unknown key, or is an `Item` with a
                field of another type than its own.
            ConfigError: `batch_size`, `dims`, `precision` or `errors` breaks its rule.
            ImageError: something cannot be read, and `errors` says to raise.
        """
        batch_size = whole_number(batch_size, "batch_size")
        dims = None if dims is None else whole_number(dims, "dims")
        inputs = read_inputs(items, errors)
        vectors = self.encode_views(inputs.items, batch_size=batch_size, progress=progress)
        inputs.faults += self.unread(inputs.items)
        inputs.tell(errors)
        stored = quantize(vectors["embedding"], precision, dims)
        return stored[0] if inputs.single else stored

    def similarity(self, a: Given | Vectors, b: Given | Vectors, **options: Any) -> Vectors:
        """Cosines of every one of N inputs with every one of M: float32 [N, M].

        Args:
            a, b: whatever `encode` takes, or vectors that it made, [N, D] or [D]; one input counts
                as a list of one.
            options: of `encode`, for what is still to be embedded.

        Raises:
            ConfigError: the vectors of a and b differ in width, or one is not finite.
        """
        return similarity(self.encode, a, b, **options)

    def encode_views(
        self,
        items: Sequence[Item],
        *,
        batch_size: int = 64,
        progress: bool = False,
        connector_only: bool = False,
        parts: bool = False,
    ) -> dict[str, Vectors]:
        """The "embedding" and the "visual" view (see `ItemOutput`) of N items.

        Args:
            connector_only: leave the backbone out; see `EmbedderModel.forward`.
            parts: "said" and "rest" too, where the streams are added to a base.

        Returns:
            Name to float32 [N, D], unit rows but for the parts.
        """
        batch_size = whole_number(batch_size, "batch_size")
        shape = (len(items), self.config.dims)
        views = {"visual": np.empty(shape, dtype=np.float32)}
        if not connector_only or self.model.base is not None or not self.model.aligns:
            views["embedding"] = np.empty(shape, dtype=np.float32)
        if parts and self.model.strength is not None:
            views |= {name: np.empty(shape, dtype=np.float32) for name in ("said", "rest")}
        self.model.eval()
        self.features.fill(items, progress=progress)
        starts = range(0, len(items), batch_size)
        ready = one_ahead(lambda start: self.batch(items[start : start + batch_size]), starts)
        batches = track(ready, total=len(starts), text="embedding", show=progress)
        for start, batch in zip(starts, batches, strict=True):
            with torch.inference_mode():
                out = self.model(batch.to(self.device), connector_only=connector_only)
            for name, view in views.items():
                view[start : start + batch_size] = getattr(out, name).float().cpu().numpy()
        return views

    @torch.inference_mode()
    def encode_base(self, items: Sequence[Item], *, batch_size: int = 64) -> Vectors:
        """What the frozen base alone says of N items: [N, D] unit rows, zero without a base."""
        batch_size = whole_number(batch_size, "batch_size")
        vectors = np.zeros((len(items), self.config.dims), dtype=np.float32)
        if self.model.base is None:
            return vectors
        for start, towers in self._globals(items, batch_size):
            vectors[start : start + len(towers)] = self.model.base_alone(towers).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def base_parts(self, items: Sequence[Item]) -> tuple[Vectors, Vectors]:
        """The photo's and the metadata's part of the frozen base, [N, D] each.

        Raises:
            ConfigError: there is no base.
        """
        if self.model.base is None:
            raise ConfigError("embedder.base is 'none'; a model without a base has no parts of it.")
        found = [self.model.base(towers) for _, towers in self._globals(items, 1024)]
        photo, metadata = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
        return photo, metadata

    def _globals(self, items: Sequence[Item], size: int) -> Iterator[tuple[int, TowerBatch]]:
        """Starts and batches of `size` items, global vectors and words without any token."""
        self.features.fill(items)
        for start in range(0, len(items), size):
            found = self.features.globals(items[start : start + size])
            image, text, words, presence = map(torch.from_numpy, found)
            nothing = torch.zeros(len(found.presence), 0, 0)
            mask = torch.zeros(len(found.presence), 0, dtype=torch.bool)
            towers = TowerBatch(nothing, mask, image, nothing, mask, text, presence, words)
            yield start, towers.to(self.device)


def similarity(encode: Callable[..., Any], a: Any, b: Any, **options: Any) -> Vectors:
    """Cosines [N, M] of two sides, each of them vectors or what `encode` takes."""
    left, right = (_unit_rows(encode, side, options) for side in (a, b))
    if left.shape[1] != right.shape[1]:
        raise ConfigError(
            f"a has vectors of {left.shape[1]} dimensions and b of {right.shape[1]}; encode both "
            "with the same dims."
        )
    return inner_products(left, right)


def _unit_rows(encode: Callable[..., Any], side: Any, options: dict[str, Any]) -> Vectors:
    if isinstance(side, torch.Tensor) and not side.is_complex():
        side = side.detach().float().cpu().numpy()
    if not (isinstance(side, np.ndarray) and side.dtype.kind in "fiu"):
        side = encode(side, **options)
    elif side.ndim > 2:
        raise ConfigError(
            f"an array of shape {side.shape} is neither vectors [N, D] nor a photo that is read; "
            "give a photo as a Pillow image (PIL.Image.fromarray)."
        )
    elif side.dtype == np.uint8:
        raise ConfigError(
            "uint8 vectors are packed bits; compare them by retrieval.scores.binary_similarity."
        )
    rows = np.atleast_2d(np.asarray(side, dtype=np.float32))
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ConfigError(
            f"vectors of shape {rows.shape} must be [N, D] or [D], and finite; give what encode "
            "made."
        )
    return unit(rows)


def tower_shape(features: ItemFeatures) -> TowerShape:
    """The widths that a model over these towers needs."""
    image, text = features.image_tower, features.text_tower
    return TowerShape(
        visual=image.dim,
        image_global=image.global_dim,
        text=text.dim,
        text_global=text.global_dim,
        shared_space=features.shared_space,
        photo_tokens=image.num_tokens,
        words=features.words,
    )
