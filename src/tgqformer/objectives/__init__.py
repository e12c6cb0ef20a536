"""Losses as pure functions: tensors in, scalar out; no model, no process group."""

from tgqformer.objectives.contrastive import image_text_contrast, info_nce, likeness
from tgqformer.objectives.matryoshka import matryoshka
from tgqformer.objectives.redundancy import redundancy

__all__ = ["image_text_contrast", "info_nce", "likeness", "matryoshka", "redundancy"]
