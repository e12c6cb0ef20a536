"""Options of an MLLM embedder and of its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tgqformer.errors import ConfigError


@dataclass
class MLLMConfig:
    """A vision-language model of transformers as an embedder.

    Attributes:
        name: hub id or local folder: a Qwen-VL, an InternVL in transformers' own format
            (ids that end in "-hf"), or another that is called like them.
        revision: hub revision; None is the default branch.
        dims: D, the width of an embedding.
        max_pixels: photos are scaled down to it; a model that reads tiles of one size gets as many
            as fit, and at least one.
        max_tokens: metadata tokens; longer metadata has its fields shortened.
        instruction: ends the user's turn; the state after it is pooled. One word, as in E5-V (arXiv
            2407.12580), makes that state a summary.
        missing: stands for the metadata of an item with neither photo nor metadata.
        train: "lora", "full" or "frozen", of the language model; the vision tower is frozen.
        lora_rank: rank of the LoRA matrices.
        lora_alpha: LoRA scale is alpha / rank.
        lora_dropout: dropout before the LoRA matrices.
        dtype: of the frozen weights: "auto" (bfloat16 where the device computes in it), "float32",
            "bfloat16" or "float16".
        random_weights: build the network from its config alone; the processor is still read.
    """

    name: str
    revision: str | None = None
    dims: int = 256
    max_pixels: int = 448 * 448
    max_tokens: int = 128
    instruction: str = "Describe this product in one word:"
    missing: str = "an unknown product"
    train: Literal["lora", "full", "frozen"] = "lora"
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    random_weights: bool = False

    def __post_init__(self) -> None:
        for name in ("dims", "max_pixels", "max_tokens", "lora_rank"):
            if getattr(self, name) < 1:
                raise ConfigError(f"mllm.{name} ({getattr(self, name)}) must be 1 or more.")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"mllm.lora_dropout ({self.lora_dropout}) must lie in [0, 1).")
        for name in ("instruction", "missing"):
            if not getattr(self, name).strip():
                raise ConfigError(f"mllm.{name} must not be empty: its last state is pooled.")


@dataclass
class MLLMTraining:
    """Options of `train_mllm`: names and defaults of `TrainingConfig`, as far as they go.

    Attributes:
        steps: optimiser steps.
        batch_size: pairs in a batch.
        chunk_size: items in one forward pass; smaller than the batch switches the gradient cache
            on, which gives the same gradient in less memory. None runs the batch at once.
        learning_rate: peak rate of the head.
        language_learning_rate: peak rate of the language model's trained weights.
        weight_decay: AdamW's, on matrices only.
        warmup: share of the steps with rising rate; a cosine follows.
        max_grad_norm: gradients are clipped to it; 0 leaves them.
        both_sides: the other queries too are negatives of a query.
        seed: of everything random.
    """

    steps: int = 300
    batch_size: int = 64
    chunk_size: int | None = None
    learning_rate: float = 1e-3
    language_learning_rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    max_grad_norm: float = 1.0
    both_sides: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be {least} or more.")
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"chunk_size ({self.chunk_size}) must be 1 or more.")
        for name in ("learning_rate", "language_learning_rate", "weight_decay", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} ({getattr(self, name)}) must not be negative.")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup ({self.warmup}) must lie in [0, 1].")
