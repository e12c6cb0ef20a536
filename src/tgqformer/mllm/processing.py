"""From photo and metadata to a model's input: chat template, image tokens, pixels; no torchvision.

transformers' processors of vision-language models ask for a video processor too, and those need
torchvision. Nothing here is a video, so the processor is loaded without its video part and with the
Pillow image processor; all else (chat template, how many image tokens a photo takes) is its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from tgqformer.catalog.text import TextLimit
from tgqformer.errors import ModelError
from tgqformer.hub import load
from tgqformer.mllm.config import MLLMConfig
from tgqformer.packaged import quiet_loading
from tgqformer.towers.processors import bound_aspect


class ChatProcessor:
    """Makes one user's turn of each item: its photo, its metadata, the instruction.

    Attributes:
        processor: transformers' own, without its video part.
    """

    def __init__(self, config: MLLMConfig, model_type: str) -> None:
        """Load the processor of `config.name`.

        Raises:
            ModelError: it cannot be loaded, has no chat template, or does not know images.
        """
        self.config = config
        kind = processor_class(config.name, model_type)
        self.processor: Any = load(without_video(kind), config.name, config.revision, backend="pil")
        tokenizer = self.processor.tokenizer
        if not (self.processor.chat_template or getattr(tokenizer, "chat_template", None)):
            raise ModelError(
                f"The model {config.name!r} has no chat template; choose an instruction-tuned one."
            )
        self._marks = _special_marks(self.processor)
        self._limit = TextLimit(self._count, config.max_tokens)
        self._image_options = image_options(self.processor.image_processor, config.max_pixels)

    def batch(
        self, photos: Sequence[Image.Image | None], texts: Sequence[str]
    ) -> dict[str, Tensor]:
        """Model input for B items, padded on the right.

        Args:
            photos: B photos, None where an item has none.
            texts: B lines of metadata, "" where an item has none.

        Returns:
            "input_ids" and "attention_mask" [B, S], and what the model takes of the photos
            (absent where there is none).
        """
        fitted = [fit(photo, self.config.max_pixels) for photo in photos if photo is not None]
        prompts = [
            self.prompt(text, image=photo is not None)
            for photo, text in zip(photos, texts, strict=True)
        ]
        inputs = self.processor(
            images=fitted or None,
            text=prompts,
            padding=True,
            padding_side="right",
            add_special_tokens=False,  # the template has them
            return_tensors="pt",
            **(self._image_options if fitted else {}),
        )
        return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}

    def prompt(self, text: str, *, image: bool) -> str:
        """The whole turn of one item, up to where the model would begin to answer."""
        body = self._cut(text)
        if not body and not image:
            body = self.config.missing
        content: list[dict[str, str]] = [{"type": "image"}] if image else []
        said = f"{body}\n{self.config.instruction}" if body else self.config.instruction
        content.append({"type": "text", "text": said})
        with quiet_loading():
            turn: str = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        return turn

    def _cut(self, text: str) -> str:
        """A text of at most `max_tokens` tokens in which special tokens are spelt apart.

        A title may spell "<|image_pad|>"; it is text, and stays text.
        """
        for mark in self._marks:
            text = text.replace(mark, f"{mark[:1]} {mark[1:]}")
        return self._limit.fit(text)

    def _count(self, text: str) -> int:
        return len(
            self.processor.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        )


def fit(photo: Image.Image, max_pixels: int) -> Image.Image:
    """Scale a photo down to at most `max_pixels`; strips longer than 8:1 are padded first."""
    photo = bound_aspect(photo)
    scale = math.sqrt(max_pixels / (photo.width * photo.height))
    if scale >= 1:
        return photo
    width, height = (max(1, math.floor(side * scale)) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.BICUBIC)


def image_options(processor: Any, max_pixels: int) -> dict[str, Any]:
    """What bounds the image tokens of a photo, in the way of the image processor's family.

    Qwen-VL reads any size and scales small photos up to its least; InternVL cuts a large photo into
    tiles of one size and adds a small copy of the whole. Of others the photo's size is the bound.
    """
    size = dict(getattr(processor, "size", None) or {})
    if hasattr(processor, "crop_to_patches"):
        tile = int(size["height"]) * int(size["width"])
        tiles = max_pixels // tile - 1  # the copy of the whole is one more
        return {"crop_to_patches": tiles > 1, "max_patches": max(1, tiles)}
    if hasattr(processor, "merge_size") and size.get("longest_edge"):
        least = min(int(size.get("shortest_edge") or 1), max_pixels)
        return {"size": {"shortest_edge": least, "longest_edge": max_pixels}}
    return {}


def processor_class(name: str, model_type: str) -> Any:
    """The class of a model type's processor."""
    from transformers.models.auto.processing_auto import (
        PROCESSOR_MAPPING_NAMES,
        processor_class_from_name,
    )

    found = PROCESSOR_MAPPING_NAMES.get(model_type)
    kinds = (found,) if isinstance(found, str) else tuple(found or ())
    kind = next((k for k in map(processor_class_from_name, kinds) if k is not None), None)
    if kind is None or not {"image_processor", "tokenizer"} <= set(kind.get_attributes()):
        raise ModelError(
            f"The model {name!r} is a {model_type!r}, for which transformers has no processor of "
            "photos and text; choose a vision-language model such as Qwen3-VL or InternVL3 (-hf)."
        )
    return kind


def without_video(kind: Any) -> Any:
    """The same class, which neither loads nor asks for a video processor."""

    class ImagesOnly(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if "video" not in name]

    ImagesOnly.__name__ = kind.__name__  # processors look themselves up by name
    return ImagesOnly


def _special_marks(processor: Any) -> list[str]:
    """Everything that the tokenizer or the processor reads as more than letters, longest first."""
    added = processor.tokenizer.get_added_vocab()
    own = [getattr(processor, name, None) for name in ("image_token", "video_token")]
    marks = {mark for mark in (*added, *own) if isinstance(mark, str) and len(mark.strip()) > 1}
    return sorted(marks, key=lambda mark: (-len(mark), mark))
