"""The registry of corruptions, and the one call that applies them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tgqformer.corruption import clutter, overlays
from tgqformer.corruption.canvas import Corruption, as_rgb, check_severity
from tgqformer.errors import ConfigError

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
CORRUPTIONS: dict[str, Corruption] = {**CLUTTER, **OVERLAYS}


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
