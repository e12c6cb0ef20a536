"""A contact sheet of a catalog's photos, a labelled row for each noise regime."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.images import decode_image
from tgqformer.corruption.canvas import font
from tgqformer.files import atomic_path
from tgqformer.storefront.regimes import REGIMES


def contact_sheet(
    catalog: Catalog, out_png: str | Path, rows: int = 1, cols: int = 8, *, tile: int = 128
) -> None:
    """Write a PNG of the catalog's first photos.

    Args:
        catalog: any; where its labels have a column `noise`, each regime gets rows of its own.
        out_png: the file, written atomically.
        rows: rows for each regime.
        cols: photos in a row.
        tile: side of a photo on the sheet in pixels.

    Raises:
        ImageError: a photo cannot be read.
        StorageError: the file cannot be written.
    """
    shown = _rows(catalog, rows, cols)
    margin, caption = 96, 15
    size = (margin + cols * (tile + 4), len(shown) * (tile + caption + 4) + 4)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, positions) in enumerate(shown):
        y = 4 + row * (tile + caption + 4)
        draw.text((6, y + tile // 2 - 8), name, fill="black", font=font(14))
        for column, position in enumerate(positions):
            item = catalog[position]
            x = margin + column * (tile + 4)
            photo = decode_image(item.images[0]).resize((tile, tile), Image.Resampling.LANCZOS)
            sheet.paste(photo, (x, y))
            draw.rectangle((x - 1, y - 1, x + tile, y + tile), outline=(225, 225, 225))
            draw.text((x, y + tile + 2), _fit(item.title or "-", tile), (90, 90, 90), font(9))
    out = Path(out_png)
    with atomic_path(out) as temporary:
        sheet.quantize(256, Image.Quantize.MEDIANCUT).save(temporary, "PNG", optimize=True)


def _rows(catalog: Catalog, rows: int, cols: int) -> list[tuple[str, list[int]]]:
    with_photo = [i for i, item in enumerate(catalog.items) if item.images]
    if catalog.labels is None or "noise" not in catalog.labels.columns:
        groups = {"": with_photo}
    else:
        noise = catalog.labels["noise"].cast(pl.String).to_list()
        names = [*REGIMES, *sorted({n for n in noise if n is not None} - set(REGIMES))]
        groups = {name: [i for i in with_photo if noise[i] == name] for name in names}
    return [
        (name if row == 0 else "", group[row * cols : (row + 1) * cols])
        for name, group in groups.items()
        for row in range(min(rows, -(-len(group) // cols)))
    ]


def _fit(text: str, width: int) -> str:
    while len(text) > 1 and font(9).getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    return text
