"""Promotional overlays and clutter for any photo: ``(image, severity, rng) -> image``.

What a model may be trained under and what it is judged under are kept apart here and nowhere else:
`OVERLAYS` and `CLUTTER` may be used in training, `UNSEEN_OVERLAYS` and `UNSEEN_CLUTTER` never.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tgqformer.corruption import clutter, overlays, unseen_clutter, unseen_overlays
from tgqformer.corruption.canvas import (
    BACKGROUNDS,
    Corruption,
    as_rgb,
    check_severity,
    draw_background,
)
from tgqformer.errors import ConfigError

__all__ = [
    "BACKGROUNDS",
    "CLUTTER",
    "CORRUPTIONS",
    "OVERLAYS",
    "UNSEEN_CLUTTER",
    "UNSEEN_OVERLAYS",
    "Corruption",
    "corrupt",
    "draw_background",
]

OVERLAYS: dict[str, Corruption] = {
    "corner_badge": overlays.corner_badge,
    "price_sticker": overlays.price_sticker,
    "banner": overlays.banner,
    "watermark": overlays.watermark,
    "text_block": overlays.text_block,
    "frame": overlays.frame,
    "collage_inset": overlays.collage_inset,
}
CLUTTER: dict[str, Corruption] = {
    "background_replacement": clutter.background_replacement,
    "distractor_paste": clutter.distractor_paste,
    "occlusion": clutter.occlusion,
    "crop": clutter.crop,
}
UNSEEN_OVERLAYS: dict[str, Corruption] = {
    "seal": unseen_overlays.seal,
    "coupon": unseen_overlays.coupon,
    "size_chart": unseen_overlays.size_chart,
    "contact_block": unseen_overlays.contact_block,
    "swatches": unseen_overlays.swatches,
}
UNSEEN_CLUTTER: dict[str, Corruption] = {
    "props": unseen_clutter.props,
    "screenshot": unseen_clutter.screenshot,
    "bad_light": unseen_clutter.bad_light,
    "flat_lay": unseen_clutter.flat_lay,
}
CORRUPTIONS: dict[str, Corruption] = {
    **CLUTTER,
    **OVERLAYS,
    **UNSEEN_CLUTTER,
    **UNSEEN_OVERLAYS,
}


def corrupt(
    image: Image.Image,
    kinds: str | Sequence[str],
    severity: float,
    rng: np.random.Generator,
) -> Image.Image:
    """Apply one or several corruptions, in the order given.

    Each kind gets a stream of its own from `rng`, so that a seed gives the same corruption at
    every severity, only stronger.

    Args:
        image: any size and mode.
        kinds: names from CORRUPTIONS.
        severity: 0 (the untouched photo, byte for byte) to 1.
        rng: where the randomness comes from.

    Returns:
        A new RGB image of the same size.

    Raises:
        ConfigError: the severity is outside 0..1, or a kind is unknown.
    """
    level = check_severity(severity)
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    for name in names:
        if name not in CORRUPTIONS:
            near = difflib.get_close_matches(str(name), CORRUPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CORRUPTIONS)}."
            raise ConfigError(f"corruption {name!r} is unknown; {hint}")
    result = as_rgb(image)
    for name in names:
        own = np.random.Generator(np.random.PCG64(int(rng.integers(2**63))))
        result = CORRUPTIONS[name](result, level, own)
    return result
