"""What it costs to embed one item, counted from configurations alone: no trained weight is loaded.

Counted are the products of matrices and convolutions, as `torch.utils.flop_counter` sees them when
the model runs on tensors without storage (the text tower runs for real, on random weights: its code
looks at its input). One multiply-add is two FLOP. Norms, activations, softmax and tables are left
out, as usual; attention counts in full where a decoder masks half of it; LoRA is counted as it
runs, beside the frozen matrices (merged into them it would cost nothing).

Memory is that of one item: weights as a GPU would hold them (towers and backbone in bfloat16, what
is trained in float32), and the most that the tensors of one part take at once (`memory.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tgqformer.connectors import ConnectorConfig, ConnectorShape, build_connector
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.embedder.memory import (
    ActivationLedger,
    empty_weights,
    kept_for_backward,
    weight_bytes,
)
from tgqformer.embedder.model import EmbedderModel, TowerShape
from tgqformer.language import (
    Backbone,
    LanguageConfig,
    PromptBuilder,
    load_backbone,
    load_tokenizer,
)
from tgqformer.packaged import packaged_folder
from tgqformer.towers.base import ImageTower, TextTower, TowerBatch
from tgqformer.towers.load import load_image_tower, load_text_tower

REPORTED = {"TGQ-Former": 35.43e9, "InternVL3-2B": 724e9, "Qwen3-VL-4B": 592e9}
"""The paper's figures for one item, by a public summary, which names neither convention nor
lengths. Two readings fit the first two (ours, reckoned). Multiply-adds of the whole, but for the
text tower: 35.4 G with 16 visual and 20 other tokens in the backbone; InternVL3-2B with one tile
(256 tokens) and 14 others: 362 G in the vision tower, 2 in the projector, 360 in the backbone. Or
FLOP of vision tower and connector, no backbone: 35.13 G in the ViT-B/16 and 0.30 in the connector;
723.6 G in the vision tower of InternVL3. What each asks of Qwen3-VL-4B: `mllm/flops.py`."""


@dataclass(frozen=True)
class Part:
    """One part of an item embedder.

    Attributes:
        name: "image tower", "text tower", "connector", "backbone" or "head".
        multiply_adds: for one item.
        parameters: all of them, frozen ones too.
        trained: those that training changes.
        tokens: the length of its sequence: what a tower emits, a backbone reads, a connector
            hands on.
        weights: bytes of parameters and buffers.
        activations: bytes of its tensors at their peak.
    """

    name: str
    multiply_adds: int
    parameters: int
    trained: int
    tokens: int
    weights: int = 0
    activations: int = 0


@dataclass(frozen=True)
class Cost:
    """The cost of one item with one photo, and where it arises.

    Attributes:
        parts: in the order of the data's way.
        lora: multiply-adds of the backbone that are LoRA's.
        shape: the widths around the connector.
    """

    parts: tuple[Part, ...]
    lora: int
    shape: ConnectorShape

    @property
    def multiply_adds(self) -> int:
        """The sum over all parts."""
        return sum(part.multiply_adds for part in self.parts)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(part.parameters for part in self.parts)

    @property
    def trained(self) -> int:
        """The parameters that training changes."""
        return sum(part.trained for part in self.parts)

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return sum(part.weights for part in self.parts)

    @property
    def activations(self) -> int:
        """Bytes of the part whose tensors take the most; the parts run one after the other."""
        return max(part.activations for part in self.parts)

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    def backbone_tokens_for(self, multiply_adds: float, *, text_tower: bool = True) -> float:
        """About how many tokens the backbone may read for the whole to cost so many multiply-adds.

        0 where there is no backbone.

        Args:
            text_tower: count the text tower too.
        """
        backbone = self.part("backbone")
        if not backbone.tokens:
            return 0.0
        rest = self.multiply_adds - backbone.multiply_adds
        rest -= 0 if text_tower else self.part("text tower").multiply_adds
        return (multiply_adds - rest) / (backbone.multiply_adds / backbone.tokens)


def text_budget(config: EmbedderConfig) -> int:
    """Metadata tokens of an item where nothing else is said: as many as the text tower reads."""
    return config.text_tower.max_tokens


def count_cost(config: EmbedderConfig, *, text_tokens: int | None = None) -> Cost:
    """Count one item with one photo.

    Args:
        text_tokens: metadata tokens, special ones apart; cut where text tower and prompt cut. None
            is `text_budget`.

    Raises:
        ConfigError: an option breaks a rule.
        ModelError: an architecture is neither shipped, nor local, nor on a reachable hub.
    """
    config = _as_on_a_gpu(config)
    text_tokens = text_budget(config) if text_tokens is None else text_tokens
    image = _load_on_meta(config)
    text = load_text_tower(replace(config.text_tower, random_weights=True))
    towers = [_image_part(image), _text_part(text, text_tokens)]
    widths = TowerShape(
        visual=image.dim,
        image_global=image.global_dim,
        text=text.dim,
        text_global=text.global_dim,
        shared_space=image.space is not None and image.space == text.space,
        photo_tokens=image.num_tokens,
        words=config.words if config.base != "none" else 0,
    )
    with torch.device("meta"):
        model = EmbedderModel(_random(config), widths)
    shape = model.connector_shape
    visual, metadata = (part.tokens for part in towers)
    connector = count_connector(config.connector, shape, visual, metadata)
    length = 0
    if model.backbone is not None:
        read = text_tokens if model.connector.prompt_text else 0
        length = prompt_length(config.language, connector.tokens, read)
    backbone = _backbone_part(model.backbone, length)
    lora = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    parts = (*towers, connector, backbone, _head(model))
    return Cost(parts, lora * length, shape)


@dataclass(frozen=True)
class TrainingMemory:
    """What a training step takes on a GPU, in bytes.

    Attributes:
        weights: of towers and model; fixed: gradients and AdamW's two moments of what is trained.
        item: kept for the backward pass of each item of a forward pass (`training.chunk_size`).
        checkpointed: the same with `training.gradient_checkpointing`.
    """

    weights: int
    fixed: int
    item: int
    checkpointed: int

    def of(self, items: int, *, checkpointing: bool = False) -> int:
        """All of it for so many items at a time."""
        each = self.checkpointed if checkpointing else self.item
        return self.weights + self.fixed + items * each


def training_memory(config: EmbedderConfig, cost: Cost) -> TrainingMemory:
    """Count what a step keeps, from configurations alone.

    Connector and backbone are run forward in bfloat16 autocast on tensors without storage, and
    what autograd puts by is counted. Attention keeps what a fused kernel keeps: queries, keys,
    values and output, and no scores. With checkpointing a layer keeps its input, and one layer at
    a time all the rest. What the kernels of a backward pass need for themselves, about one layer's
    share again, is left out, and an allocator's rounding too.

    Args:
        cost: of the same config, whose lengths are taken.
    """
    config = _as_on_a_gpu(config)
    visual, text = cost.part("image tower").tokens, cost.part("text tower").tokens
    with torch.device("meta"):
        connector = build_connector(config.connector, cost.shape)
        backbone = load_backbone(_random(config).language) if config.has_backbone else None
    item = _kept(connector, lambda size: {"towers": _states(cost.shape, size, visual, text)})
    checkpointed = item
    if backbone is not None:
        length, width = cost.part("backbone").tokens, backbone.width
        dtype = backbone.model.get_input_embeddings().weight.dtype  # type: ignore[operator]

        def inputs(size: int) -> dict[str, Tensor]:
            embeds = torch.empty(size, length, width, dtype=dtype).requires_grad_()
            mask = torch.empty(size, 1, length, length, dtype=dtype)
            return {"inputs_embeds": embeds, "attention_mask": mask}

        kept = _kept(backbone.model, inputs)
        layers = int(backbone.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        item += kept
        checkpointed += layers * length * width * dtype.itemsize + kept // layers
    return TrainingMemory(cost.weights, 3 * 4 * cost.trained, item, checkpointed)


def _kept(module: nn.Module, inputs: Callable[[int], Mapping[str, Tensor | TowerBatch]]) -> int:
    """Bytes that one item more keeps for the backward pass of a module built on meta."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        empty_weights(module.train())
        own = [*module.parameters(), *module.buffers()]

        def kept(size: int) -> int:
            given = inputs(size)
            parts = [vars(x).values() if isinstance(x, TowerBatch) else [x] for x in given.values()]
            apart = [*own, *(x for part in parts for x in part if x is not None)]
            with torch.autocast("cpu", torch.bfloat16):
                return kept_for_backward(lambda: module(**given), apart)

        return kept(2) - kept(1)


def _states(shape: ConnectorShape, size: int, visual: int, text: int) -> TowerBatch:
    """Tower states without values of so many items."""
    return TowerBatch(
        visual=torch.empty(size, visual, shape.visual),
        visual_mask=torch.empty(size, visual, dtype=torch.bool),
        image_global=torch.empty(size, shape.image_global),
        text=torch.empty(size, text, shape.text),
        text_mask=torch.empty(size, text, dtype=torch.bool),
        text_global=torch.empty(size, shape.text_global),
        presence=torch.empty(size, 2, dtype=torch.bool),
        words=torch.empty(size, 0),
    )


def count_connector(config: ConnectorConfig, shape: ConnectorShape, visual: int, text: int) -> Part:
    """Count one connector.

    Args:
        visual: P, visual tokens.
        text: T, text tokens.
    """
    with torch.device("meta"):
        connector = build_connector(config, shape)
        states = _states(shape, 1, visual, text)
    counts = _parameters(connector)
    connector.requires_grad_(False)  # the counter's hooks trip over views of trained weights
    cost, peak = measure(lambda: connector(states))
    size = weight_bytes(connector)
    return Part("connector", cost, *counts, connector.num_tokens, size, peak)


def multiply_adds(run: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions in `run()`, on any device."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # fused attention on a CPU escapes the counter; as two products it does not
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


def measure(run: Callable[[], object]) -> tuple[int, int]:
    """Multiply-adds of `run()`, and the most bytes that its tensors take at once."""
    ledger = ActivationLedger()

    def inside() -> None:
        with ledger:
            run()

    return multiply_adds(inside), ledger.peak


def prompt_length(config: LanguageConfig, visual: int, text_tokens: int) -> int:
    """Tokens that the backbone reads of an item with `visual` tokens and so much metadata.

    The template is that of an item with photo and metadata, or without the one of which there is
    no token here.

    Where the tokenizer is not on this machine, the template's words and punctuation marks and one
    end token are counted in its place.
    """
    text = min(text_tokens, config.prompt.max_tokens)
    local = packaged_folder(config.name, assemble=False) is not None or Path(config.name).is_dir()
    if config.kind != "tiny" and not local:
        template = config.prompt.template(image=visual > 0, text=text > 0)
        words = re.findall(r"\w+|[^\w\s]", re.sub(r"{\w+}", " ", template))
        return visual + text + len(words) + 1
    tokenizer = load_tokenizer(config)
    builder = PromptBuilder(tokenizer, config.prompt, visual, reads_text=text > 0)
    [length] = builder.lengths(["a"], [True])
    return length - builder.limit.count("a") + text if text else length


def _load_on_meta(config: EmbedderConfig) -> ImageTower:
    with torch.device("meta"):
        return load_image_tower(replace(config.image_tower, random_weights=True), device="meta")


def _image_part(tower: ImageTower) -> Part:
    from PIL import Image

    photo = tower.preprocess(Image.new("RGB", (tower.image_size, tower.image_size)))
    cost, peak = measure(lambda: tower.encode([photo]))
    tokens = tower.encode([photo]).tokens.shape[1]
    counts = _parameters(tower.module)
    return Part("image tower", cost, *counts, tokens, weight_bytes(tower.module), peak)


def _text_part(tower: TextTower, text_tokens: int) -> Part:
    text = " ".join(["word"] * text_tokens)
    cost, peak = measure(lambda: tower.encode([text]))
    tokens = tower.encode([text]).tokens.shape[1]
    counts = _parameters(tower.module)
    return Part("text tower", cost, *counts, tokens, weight_bytes(tower.module), peak)


def _backbone_part(backbone: Backbone | None, length: int) -> Part:
    if backbone is None:
        return Part("backbone", 0, 0, 0, 0)
    cost, peak = _backbone(backbone, length)
    return Part("backbone", cost, *_parameters(backbone), length, weight_bytes(backbone), peak)


def _backbone(backbone: Backbone, length: int) -> tuple[int, int]:
    table = backbone.model.get_input_embeddings().weight  # type: ignore[operator]
    embeds = torch.empty(1, length, backbone.width, dtype=table.dtype, device="meta")
    # a mask of its final form: any other is looked into, and here there is nothing to see
    mask = torch.zeros(1, 1, length, length, dtype=table.dtype, device="meta")
    return measure(lambda: backbone.model(inputs_embeds=embeds, attention_mask=mask))


def _head(model: EmbedderModel) -> Part:
    """Everything of the model that is neither backbone nor connector: linear maps, used once."""
    own: list[Tensor] = [
        p
        for name, p in model.named_parameters()
        if not name.startswith(("backbone.", "connector."))
    ]
    count = sum(p.numel() for p in own)
    trained = sum(p.numel() for p in own if p.requires_grad)
    if model.base is not None:  # its axes are fitted, and no parameters
        own += model.base.buffers()
    cost = sum(x.numel() for x in own if x.ndim == 2)
    return Part("head", cost, count, trained, 1, sum(x.nbytes for x in own))


def _parameters(module: nn.Module) -> tuple[int, int]:
    """All parameters, and the trained ones."""
    own = list(module.parameters())
    return sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)


def _as_on_a_gpu(config: EmbedderConfig) -> EmbedderConfig:
    """With what is frozen in bfloat16, unless the configuration says otherwise."""

    def dtype(asked: str) -> str:
        return "bfloat16" if asked == "auto" else asked

    return replace(
        config,
        image_tower=replace(config.image_tower, dtype=dtype(config.image_tower.dtype)),
        text_tower=replace(config.text_tower, dtype=dtype(config.text_tower.dtype)),
        language=replace(config.language, dtype=dtype(config.language.dtype)),  # type: ignore[arg-type]
    )


def _random(config: EmbedderConfig) -> EmbedderConfig:
    return replace(config, language=replace(config.language, random_weights=True))
