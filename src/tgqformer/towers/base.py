"""What every frozen tower promises, and the tensors that towers hand on.

A tower is a plain object, not an `nn.Module`: no optimizer, checkpoint or `.train()` of the model
above it can reach the frozen weights inside.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

from tgqformer.catalog.text import TextLimit
from tgqformer.numerics import resolve_dtype

PixelInputs: TypeAlias = Mapping[str, Tensor]
"""One preprocessed photo: the named tensors that the tower's network takes, without batch axis."""

Window: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in a photo's pixels; outside of the photo where it is padded."""


@dataclass(frozen=True)
class TowerOutput:
    """What a tower says of a batch.

    Attributes:
        tokens: [B, P, D] token states (P tokens, padded on the right).
        mask: [B, P] bool, True where a token is real.
        pooled: [B, Dg] one vector for the whole input.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class TowerBatch:
    """Both towers' output for B items: the input of every connector.

    An item without a photo (or text) has zero tokens, an all-False mask row, a zero global vector
    and False in `presence`. Tokens may be float16, as they are kept; a model takes them up.

    Attributes:
        visual: [B, P, Dv] visual tokens.
        visual_mask: [B, P] bool.
        image_global: [B, Dg] pooled image vector.
        text: [B, T, Dt] text tokens of the metadata.
        text_mask: [B, T] bool.
        text_global: [B, Dtg] pooled text vector.
        presence: [B, 2] bool: has an image, has text.
        words: [B, W] the text's words, hashed (`hashing.hashed_words`), for the frozen base; W may
            be 0.
        title_global: [B, Dtg] pooled vector of the title, where the photo is compared with that
            alone (`ConnectorConfig.metadata`); None where it is compared with `text_global`.
    """

    visual: Tensor
    visual_mask: Tensor
    image_global: Tensor
    text: Tensor
    text_mask: Tensor
    text_global: Tensor
    presence: Tensor
    words: Tensor
    title_global: Tensor | None = None

    @property
    def compared(self) -> Tensor:
        """[B, Dtg] the text vector that the photo is compared with: the title's, or the whole's."""
        return self.text_global if self.title_global is None else self.title_global

    def whole(self) -> TowerBatch:
        """The same batch with tokens that came as float16, as they are kept, in float32."""
        return replace(self, visual=_whole(self.visual), text=_whole(self.text))

    def __len__(self) -> int:
        return int(self.presence.shape[0])

    def to(self, device: torch.device | str, *, dtype: torch.dtype | None = None) -> TowerBatch:
        """Move to `device`; floating tensors also to `dtype` where given. Masks stay bool."""

        def move(x: Tensor) -> Tensor:
            target = dtype if x.is_floating_point() else None
            return x.to(device=device, dtype=target, non_blocking=True)

        return self._each(move)

    def select(self, rows: Tensor | Sequence[int]) -> TowerBatch:
        """The items at `rows`, in that order."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.presence.device)
        return self._each(lambda x: x[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> TowerBatch:
        changed: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            own = getattr(self, name)
            changed[name] = None if own is None else change(own)
        return TowerBatch(**changed)


def _whole(tokens: Tensor) -> Tensor:
    return tokens.float() if tokens.dtype == torch.float16 else tokens


class Tower(ABC):
    """A frozen encoder: eval mode, no gradients, deterministic.

    Attributes:
        module: the frozen network.
        dim: width D of a token.
        global_dim: width Dg of the pooled vector.
        num_tokens: tokens for every input, or None where it varies with the input.
        max_tokens: an upper bound of the tokens of one input.
        space: names the space of the pooled vectors where image and text share one, else None.
    """

    dim: int
    global_dim: int
    num_tokens: int | None
    max_tokens: int
    space: str | None = None

    def __init__(self, module: nn.Module, *, dtype: str = "float32") -> None:
        self.module = module.eval().requires_grad_(False)
        self._dtype = dtype
        self._digest = weights_digest(module)
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        # a network without storage can still be counted: it stays on the meta device
        self.to("meta" if any(x.is_meta for x in module.state_dict().values()) else "cpu")

    def to(self, device: torch.device | str) -> Tower:
        """Move to `device`, in place. An "auto" dtype is chosen anew, and only ever narrows."""
        self.device = torch.device(device)
        wanted = resolve_dtype(self._dtype, self.device)
        if self.dtype == torch.float32:  # a narrowed weight does not get its bits back
            self.dtype = wanted
        self.module.to(device=self.device, dtype=self.dtype)
        self.__dict__.pop("key", None)
        return self

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """All that decides the output beside the weights: layer, preprocessing, lengths."""

    @cached_property
    def key(self) -> str:
        """Names the tower in the cache: equal keys give equal tokens for equal input."""
        spec = {
            "class": type(self).__name__,
            "weights": self._digest,
            "dtype": str(self.dtype),
            **self.spec(),
        }
        text = json.dumps(spec, sort_keys=True, default=str)
        label = type(self).__name__.removesuffix("Tower").lower()
        return f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


class ImageTower(Tower):
    """Photos to visual tokens and a global image vector.

    Attributes:
        image_size: side in pixels of the input; a decoder need not give more detail than this.
    """

    image_size: int

    @abstractmethod
    def preprocess(self, image: Image.Image) -> PixelInputs:
        """Turn one RGB photo into the network's input, on the CPU. Safe to call in threads."""

    @abstractmethod
    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        """Encode B preprocessed photos; the output lies on the tower's device."""

    def window(self, width: int, height: int) -> Window:
        """What of a photo the grid of tokens covers; by default all of it, whatever its shape."""
        return 0.0, 0.0, float(width), float(height)

    def collate(self, inputs: Sequence[PixelInputs]) -> dict[str, Tensor]:
        """Stack B inputs, on the tower's device and (floats) in its dtype."""
        batch = {name: torch.stack([x[name] for x in inputs]) for name in inputs[0]}
        return {
            name: x.to(self.device, self.dtype if x.is_floating_point() else None)
            for name, x in batch.items()
        }


class TextTower(Tower):
    """Metadata text to text tokens and a global text vector.

    Attributes:
        special_tokens: of the `max_tokens` those that stand around every text.
    """

    special_tokens: int = 0

    @abstractmethod
    def count(self, text: str) -> int:
        """Tokens of a text, special tokens left out. Safe to call in threads."""

    @cached_property
    def limit(self) -> TextLimit:
        """How much text the tower reads: `tower.limit.fit(text)` is what to encode."""
        return TextLimit(self.count, max(1, self.max_tokens - self.special_tokens))

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> TowerOutput:
        """Encode B texts, none of them empty; the output lies on the tower's device.

        A text that the tower's limit has not shortened loses its end.
        """

    def spans(self, text: str) -> list[tuple[int, int]]:
        """First and last + 1 character of each token, equal where it stands for none of them.

        Empty where the tower cannot tell.
        """
        return []


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bits of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        if not tensor.is_meta:
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
