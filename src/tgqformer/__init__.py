"""TGQ-Former: item embeddings whose neighbours hold up under noisy product photos.

The names below are the public surface; they are imported when they are first used.
"""

from typing import TYPE_CHECKING

from tgqformer.errors import TGQFormerError
from tgqformer.lazy import lazily

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item, Pair
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.evaluate import evaluate
    from tgqformer.presets import load_preset
    from tgqformer.retrieval.exact import ExactIndex
    from tgqformer.storefront import draw_storefront
    from tgqformer.training.run import train

__version__ = "0.1.0"

__all__ = [
    "Catalog",
    "ExactIndex",
    "Item",
    "ItemEmbedder",
    "Pair",
    "TGQFormerError",
    "__version__",
    "draw_storefront",
    "evaluate",
    "load_preset",
    "train",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Catalog": "tgqformer.catalog.catalog",
        "ExactIndex": "tgqformer.retrieval.exact",
        "Item": "tgqformer.catalog.items",
        "ItemEmbedder": "tgqformer.embedder",
        "Pair": "tgqformer.catalog.items",
        "draw_storefront": "tgqformer.storefront",
        "evaluate": "tgqformer.evaluation.evaluate",
        "load_preset": "tgqformer.presets",
        "train": "tgqformer.training.run",
    },
)
