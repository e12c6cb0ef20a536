"""What it costs an MLLM to embed one item, counted from its configuration alone.

Counted as `embedder.flops` does it: products of matrices and convolutions, on tensors without
storage. The language-model head is left out, since an embedder has no use for it, and the linear
head of the embedding is in. A photo is a square; a model that reads tiles of one size reads one.

What the paper reports (by a public summary, which names neither convention nor resolution nor
lengths) is 35.43 G for TGQ-Former, 724 G for InternVL3-2B, 592 G for Qwen3-VL-4B. No reading of all
three needs no guess. Counted here, "others" being the tokens that are no image:

    multiply-adds of the whole      35.4 with 16 visual tokens and 20 others, no text tower
                                    724 with one tile (256 tokens) and 14 others
                                    592 with a photo of 320 px (100 tokens) and 23 others, or with
                                    one of 256 px (64 tokens) and 73 others
    FLOP without the backbone       35.4 in tower and connector
                                    724 in the vision tower, 728 with its projector
                                    592 with 800 patches: about 453 px, which is no usual size
    FLOP of the whole               35.4 is less than tower and backbone take
                                    724 is less than the vision tower and one token take
                                    592 with a photo of 224 px (49 tokens) and 14 others

The first reading fits all three with lengths that are near one another, and asks of Qwen3-VL-4B a
resolution that nothing confirms; it reads photos at their own size, so that 592 G may as well be a
mean over photos. The second fits two without any guess and the third not. Which one is meant cannot
be told from the figures; the third reading, at least, is excluded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tgqformer.embedder.flops import Part, measure, multiply_adds
from tgqformer.embedder.memory import weight_bytes
from tgqformer.errors import ConfigError, ModelError
from tgqformer.mllm.config import MLLMConfig
from tgqformer.mllm.network import MLLMModel

MLLMS = {
    "InternVL3-2B": "OpenGVLab/InternVL3-2B-hf",
    "Qwen3-VL-4B": "Qwen/Qwen3-VL-4B-Instruct",
    "Qwen2.5-VL-3B": "Qwen/Qwen2.5-VL-3B-Instruct",
}
"""Short names of the models whose architecture is shipped (`presets/configs/README.md`)."""

IMAGE_SIDE = 448
"""Pixels; the tile of InternVL3, and 196 tokens of Qwen3-VL."""

TURN_TOKENS = 10
"""Tokens around what the user says, in the chat format of all three: the marks of two turns with
their roles and line ends, and the begin and end of the image. A system prompt would come on top."""

_PROJECTORS = r"\.(multi_modal_projector|merger|deepstack_merger_list\.\d+)$"


@dataclass(frozen=True)
class MLLMCost:
    """The cost of one item with one photo.

    Attributes:
        parts: "vision tower", "projector", "backbone", "head", in the order of the data's way.
        image_tokens: of the backbone's tokens, those of the photo.
        text_tokens: of them, the metadata's.
        image_side: pixels of the square photo as the model reads it.
        weights: bytes, in bfloat16 but for LoRA and head (float32).
        activations: bytes at the peak of one forward pass, beside the weights.
    """

    parts: tuple[Part, ...]
    image_tokens: int
    text_tokens: int
    image_side: int
    weights: int
    activations: int

    @property
    def multiply_adds(self) -> int:
        """The sum over all parts."""
        return sum(part.multiply_adds for part in self.parts)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(part.parameters for part in self.parts)

    @property
    def trained(self) -> int:
        """The parameters that training changes."""
        return sum(part.trained for part in self.parts)

    @property
    def without_backbone(self) -> int:
        """Multiply-adds of vision tower and projector."""
        return self.part("vision tower").multiply_adds + self.part("projector").multiply_adds

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)


def count_mllm(
    name: str, *, image_side: int = IMAGE_SIDE, text_tokens: int = 64, lora: bool = True
) -> MLLMCost:
    """Count one item with one square photo.

    Args:
        name: a key of `MLLMS`, a hub id or a local folder; a Qwen-VL or an InternVL.
        image_side: of the photo in pixels; rounded to whole image tokens.
        text_tokens: metadata tokens.
        lora: with LoRA beside the language model's matrices, as it runs in training.

    Raises:
        ConfigError: the photo is smaller than one image token.
        ModelError: the architecture is neither shipped, nor local, nor on a reachable hub, or is of
            another family.
    """
    config = MLLMConfig(
        MLLMS.get(name, name),
        dtype="bfloat16",
        random_weights=True,
        train="lora" if lora else "frozen",
    )
    with torch.device("meta"):
        model = MLLMModel(config, "meta").eval()
    network: Any = model.backbone
    language = network.language_model
    photo, image_tokens, side = _photo(network, name, image_side)
    projectors = _projectors(network)
    trained = {p for p in model.parameters() if p.requires_grad}
    model.requires_grad_(False)  # the counter's hooks trip over views of trained weights

    def counted(part: str, cost: int, own: list[Tensor], tokens: int) -> Part:
        learned = sum(p.numel() for p in own if p in trained)
        return Part(part, cost, sum(p.numel() for p in own), learned, tokens)

    length = image_tokens + text_tokens + _frame(config)
    width = language.config.hidden_size
    embeds = torch.empty(1, length, width, dtype=torch.bfloat16, device="meta")
    # a mask of its final form: any other is looked into, and here there is nothing to see
    mask = torch.zeros(1, 1, length, length, dtype=torch.bfloat16, device="meta")
    seeing = _on_meta(lambda: network.get_image_features(**photo))
    reading = _on_meta(lambda: language(inputs_embeds=embeds, attention_mask=mask, use_cache=False))
    whole, projecting, seeing_peak = _split(seeing, projectors)
    read, reading_peak = measure(reading)
    inside = {id(p) for module in projectors for p in module.parameters()}
    spoken = list(language.parameters())
    heard = {id(p) for p in spoken}
    seen = [p for p in network.parameters() if id(p) not in heard]
    parts = (
        counted(
            "vision tower",
            whole - projecting,
            [p for p in seen if id(p) not in inside],
            image_tokens,
        ),
        counted("projector", projecting, [p for p in seen if id(p) in inside], image_tokens),
        counted("backbone", read, spoken, length),
        counted("head", model.head.weight.numel(), list(model.head.parameters()), 1),
    )
    return MLLMCost(
        parts,
        image_tokens,
        text_tokens,
        side,
        weight_bytes(model),
        max(seeing_peak, reading_peak),
    )


class _OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets tensors without storage meet index tensors that have one: the result has none.

    Networks look into their index tensors (grids, lengths of windows), which must have storage.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if any(x.is_meta for x in tensors) and not all(x.is_meta for x in tensors):
            args, kwargs = tree_map_only(Tensor, lambda x: x.to("meta"), (args, kwargs))
        return func(*args, **kwargs)


def _on_meta(run: Callable[[], object]) -> Callable[[], object]:
    def inside() -> object:
        with _OneDevice():  # type: ignore[no-untyped-call]
            return run()

    return inside


def _split(run: Callable[[], object], modules: list[nn.Module]) -> tuple[int, int, int]:
    """As `measure`, with the multiply-adds inside `modules` in between."""
    seen: list[tuple[nn.Module, list[tuple[torch.Size, torch.dtype]]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # shapes, since a tensor that is kept here would be one more in the ledger
        seen.append((module, [(x.shape, x.dtype) for x in inputs]))

    hooks = [module.register_forward_pre_hook(note) for module in modules]
    try:
        whole, peak = measure(run)
    finally:
        for hook in hooks:
            hook.remove()
    within = 0
    for module, shapes in seen:
        again = [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in shapes]
        within += multiply_adds(partial(module, *again))
    return whole, within, peak


def _projectors(network: nn.Module) -> list[nn.Module]:
    """The modules between vision tower and backbone: InternVL's projector, Qwen's mergers."""
    return [
        module for name, module in network.named_modules() if re.search(_PROJECTORS, f".{name}")
    ]


def _photo(network: Any, name: str, side: int) -> tuple[dict[str, Tensor], int, int]:
    """(what the vision tower takes, image tokens, pixels of a side)."""
    settings = network.config
    vision = settings.vision_config
    if settings.model_type == "internvl":
        height, width = vision.image_size
        pixels = torch.empty(1, 3, height, width, dtype=torch.bfloat16, device="meta")
        return {"pixel_values": pixels}, int(settings.image_seq_length), int(height)
    merge = getattr(vision, "spatial_merge_size", None)
    if merge is None or not hasattr(vision, "temporal_patch_size"):
        raise ModelError(
            f"The model {name!r} is a {settings.model_type!r}, and only Qwen-VL and InternVL are "
            f"counted; choose one of {', '.join(MLLMS)}."
        )
    patch = int(vision.patch_size)
    tokens = round(side / (patch * merge))
    if tokens < 1:
        raise ConfigError(
            f"image_side ({side}) is less than one image token of {patch * merge} pixels; raise it."
        )
    grid = tokens * merge
    values = 3 * int(vision.temporal_patch_size) * patch * patch
    pixels = torch.empty(grid * grid, values, dtype=torch.bfloat16, device="meta")
    photo = {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, grid, grid]])}
    return photo, tokens * tokens, grid * patch


def _frame(config: MLLMConfig) -> int:
    """Tokens that are neither photo nor metadata: the turn's, and the instruction's words."""
    return TURN_TOKENS + len(re.findall(r"\w+|[^\w\s]", config.instruction))
