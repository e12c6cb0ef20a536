"""The language backbone: loading, LoRA, prompt, splice, pooling."""

from typing import TYPE_CHECKING

from tgqformer.lazy import lazily

if TYPE_CHECKING:
    from tgqformer.language.backbone import Backbone, load_backbone, load_tokenizer
    from tgqformer.language.config import NOTELLM2_PROMPT, LanguageConfig, PromptConfig
    from tgqformer.language.prompt import PromptBatch, PromptBuilder

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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Backbone": "tgqformer.language.backbone",
        "LanguageConfig": "tgqformer.language.config",
        "NOTELLM2_PROMPT": "tgqformer.language.config",
        "PromptBatch": "tgqformer.language.prompt",
        "PromptBuilder": "tgqformer.language.prompt",
        "PromptConfig": "tgqformer.language.config",
        "load_backbone": "tgqformer.language.backbone",
        "load_tokenizer": "tgqformer.language.backbone",
    },
)
