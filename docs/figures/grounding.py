"""Draw docs/images/grounding.png: where a trained model's metadata point, photo by photo.

    .venv/bin/python docs/figures/grounding.py RUN SHOP docs/images/grounding.png ID [ID ...]

RUN is what `tgqformer train shops/market --preset offline` made, SHOP a storefront that knows its
products' boxes. The map is `Grounded.relevance`, which is added to the scores of every query.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from tgqformer import Catalog, ItemEmbedder
from tgqformer.catalog.images import decode_image


def main(run: Path, shop: Path, out: Path, ids: list[str]) -> None:
    embedder = ItemEmbedder.from_pretrained(run, device="cpu")
    catalog = Catalog.load(shop)
    items = [catalog.items[catalog.index[item_id]] for item_id in ids]
    found = []
    grounding = embedder.model.connector.get_submodule("grounding")
    grounding.register_forward_hook(lambda _, __, said: found.append(said))
    attention = embedder.outputs(items, attention=True).connector.attention
    relevance = found[0].relevance[:, :-1].numpy()  # without the null token
    side = round(relevance.shape[1] ** 0.5)
    columns = {
        "the photo, the product's box": None,
        "agreement with the metadata": relevance,
        "anchored queries": attention["anchored"].mean(dim=1).numpy(),
        "exploratory queries": attention["exploratory"].mean(dim=1).numpy(),
    }
    figure, grid = plt.subplots(
        len(items), len(columns), figsize=(9.2, 2.45 * len(items)), squeeze=False, dpi=80
    )
    assert catalog.labels is not None
    for row, item in enumerate(items):
        photo = decode_image(item.images[0])
        x0, y0, x1, y1 = catalog.labels["product_box"][catalog.index[item.item_id]]
        for axes, (title, map_) in zip(grid[row], columns.items()):
            axes.imshow(photo)
            if map_ is not None:
                axes.imshow(np.full((*photo.size[::-1], 3), 255, np.uint8), alpha=0.55)
                cells = map_[row].reshape(side, side)
                axes.imshow(
                    cells, cmap="viridis", alpha=0.7, extent=(0, photo.width, photo.height, 0)
                )
            axes.add_patch(
                plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="#ff5a36", lw=1.6)
            )
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(title, fontsize=9)
        grid[row][0].set_xlabel(item.title[:38], fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
