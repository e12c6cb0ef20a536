"""The item embedder: config, model, save and load, `encode`."""

from typing import TYPE_CHECKING

from tgqformer.lazy import lazily

if TYPE_CHECKING:
    from tgqformer.embedder.config import EmbedderConfig
    from tgqformer.embedder.item_embedder import ItemEmbedder
    from tgqformer.embedder.model import EmbedderModel, ItemBatch, ItemOutput

__all__ = ["EmbedderConfig", "EmbedderModel", "ItemBatch", "ItemEmbedder", "ItemOutput"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "EmbedderConfig": "tgqformer.embedder.config",
        "EmbedderModel": "tgqformer.embedder.model",
        "ItemBatch": "tgqformer.embedder.model",
        "ItemEmbedder": "tgqformer.embedder.item_embedder",
        "ItemOutput": "tgqformer.embedder.model",
    },
)
