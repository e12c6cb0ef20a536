"""transformers' own image preprocessing, on Pillow alone: no torchvision."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tgqformer.errors import ConfigError
from tgqformer.hub import load
from tgqformer.towers.base import PixelInputs, Window
from tgqformer.towers.load import ImageTowerConfig

WHITE = (255, 255, 255)
MAX_ASPECT = 8.0


class Preprocessor:
    """Calls a model's image processor for one photo at a time.

    What the processor does to the shape is the model's own way: CLIP crops the centre, SigLIP and
    Chinese-CLIP squash. Strips longer than 8:1 are padded with white first.

    Attributes:
        image_size: the length that the shorter side is scaled to, for the decoder.
        native: whether the photo comes out at the size the model was trained at.
    """

    def __init__(self, config: ImageTowerConfig, settings: Any) -> None:
        self.processor = (
            default_processor(settings)
            if config.random_weights
            else load_processor(config.name, config.revision)
        )
        self.options: dict[str, Any] = {}
        self.native = True
        # one that neither crops nor squashes would give photos of different sizes
        self.to_square = not getattr(self.processor, "do_center_crop", False) and bool(
            _size_of(self.processor).get("shortest_edge")
        )
        if config.image_size is not None:
            self._resize_to(config.image_size)
        size = self.options.get("size") or _size_of(self.processor)
        self.image_size = int(max(size.values(), default=256))

    def __call__(self, image: Image.Image) -> PixelInputs:
        image = bound_aspect(image, self._limit)
        batch = self.processor(image, return_tensors="pt", **self.options)
        return {name: tensor[0] for name, tensor in batch.items()}

    def window(self, width: int, height: int) -> Window:
        """What of a photo is left after padding and the processor's own crop."""
        padded = bounded_size(width, height, self._limit)
        if not getattr(self.processor, "do_center_crop", False):
            return centred(width, height, *padded)
        size = self.options.get("size") or _size_of(self.processor)
        crop = self.options.get("crop_size") or dict(self.processor.crop_size)
        short = size.get("shortest_edge")
        scales = (
            (short / min(padded),) * 2
            if short
            else tuple(size[name] / side for name, side in zip(("width", "height"), padded))
        )
        return centred(width, height, crop["width"] / scales[0], crop["height"] / scales[1])

    @property
    def _limit(self) -> float:
        return 1.0 if self.to_square else MAX_ASPECT

    def spec(self) -> dict[str, Any]:
        """All that decides the pixels."""
        return {
            "processor": self.processor.to_dict(),
            "to_square": self.to_square,
            "max_aspect": MAX_ASPECT,
            **self.options,
        }

    def _resize_to(self, side: int) -> None:
        size = _size_of(self.processor)
        square = {"height": side, "width": side}
        if getattr(self.processor, "do_center_crop", False):
            crop = dict(self.processor.crop_size or square)
            short = size.get("shortest_edge") or size.get("height") or side
            scaled = round(side * short / (crop.get("height") or side))  # keep the model's margin
            self.options = {
                "size": {"shortest_edge": scaled} if size.get("shortest_edge") else square,
                "crop_size": square,
            }
            self.native = crop.get("height") == side
        elif size:
            self.options = {"size": {"shortest_edge": side} if self.to_square else square}
            self.native = side in size.values()
        else:
            raise ConfigError(
                f"image_size is {side}, but this model takes photos at their own shape; "
                "leave image_size out."
            )


def _size_of(processor: Any) -> dict[str, int]:
    size = dict(getattr(processor, "size", None) or {})
    return {name: int(side) for name, side in size.items() if side}


def load_processor(name: str, revision: str | None) -> Any:
    """The model's Pillow processor; where transformers has none (DINOv3), the plain one of ViT."""
    from transformers import AutoImageProcessor

    from tgqformer.errors import ModelError

    try:
        return load(AutoImageProcessor, name, revision, backend="pil")
    except ModelError as error:
        if not isinstance(error.__cause__, (ImportError, ValueError)):
            raise
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        return load(ViTImageProcessorPil, name, revision)


def default_processor(settings: Any) -> Any:
    """A processor for a network with random weights: the right size, the family's own way."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    vision = getattr(settings, "vision_config", settings)
    side = int(getattr(vision, "image_size", None) or 224)
    square = {"height": side, "width": side}
    if settings.model_type == "siglip2":
        patches = int(getattr(vision, "num_patches", 256))
        return Siglip2ImageProcessorPil(patch_size=vision.patch_size, max_num_patches=patches)
    if settings.model_type == "siglip":
        return SiglipImageProcessorPil(size=square)
    if settings.model_type == "clip":
        return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square)
    return CLIPImageProcessorPil(size=square, do_center_crop=False)


def centred(
    width: float, height: float, inner_width: float, inner_height: float
) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a rectangle in the middle of a photo; outside of it where it is larger."""
    x, y = (width - inner_width) / 2, (height - inner_height) / 2
    return x, y, x + inner_width, y + inner_height


def fit_on_white(image: Image.Image, size: int) -> Image.Image:
    """Scale so that the longer side is `size` px, and centre on a white square: nothing is cut."""
    image = image.convert("RGB")
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return _centre(image, size, size)


def bound_aspect(image: Image.Image, limit: float = MAX_ASPECT) -> Image.Image:
    """Pad with white until the longer side is at most `limit` times the shorter.

    Processors that scale the shorter side to 224 px would make gigabytes of a 10,000 x 1 strip.
    """
    image = image.convert("RGB")
    return _centre(image, *bounded_size(*image.size, limit))


def bounded_size(width: int, height: int, limit: float = MAX_ASPECT) -> tuple[int, int]:
    """The size that `bound_aspect` pads to."""
    least = int(-(-max(width, height) // limit))
    return max(width, least), max(height, least)


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    canvas = Image.new("RGB", (width, height), WHITE)
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas
