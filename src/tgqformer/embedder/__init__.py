"""The item embedder: config, model, save and load, `encode`."""

from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import EmbedderModel, ItemBatch, ItemOutput

__all__ = ["EmbedderConfig", "EmbedderModel", "ItemBatch", "ItemEmbedder", "ItemOutput"]
