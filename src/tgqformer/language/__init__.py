"""The language backbone: loading, LoRA, prompt, splice, pooling."""

from tgqformer.language.backbone import Backbone, load_backbone
from tgqformer.language.config import NOTELLM2_PROMPT, LanguageConfig, PromptConfig
from tgqformer.language.prompt import PromptBatch, PromptBuilder
from tgqformer.language.tokenizer import load_tokenizer

__all__ = [
    "NOTELLM2_PROMPT",
    "Backbone",
    "LanguageConfig",
    "PromptBatch",
    "PromptBuilder",
    "PromptConfig",
    "load_backbone",
    "load_tokenizer",
]
