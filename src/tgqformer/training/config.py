"""Options of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tgqformer.embedder.config import EmbedderConfig
from tgqformer.errors import ConfigError


@dataclass
class LossConfig:
    """Weights of the losses; the main InfoNCE has weight 1.

    Attributes:
        both_sides: the other queries too are negatives of a query (2B - 2 instead of B - 1).
        visual: InfoNCE on the connector's streams alone (ours): keeps the photo from being
            neglected while the metadata answers the easy half of the question.
        exploratory: InfoNCE on the exploratory stream alone (ours): it has to tell apart what the
            metadata, and so the anchored stream, takes for one.
        redundancy: correlation between the two streams (the paper's R3).
        base: an item and its noise view are to be what the frozen base says of the item as it is,
            by cosine, in the embedding and in the streams' own views (ours). It takes the place of
            InfoNCE for pairs of an item with its view, where `training.noise.teacher` says so.
        agreement: image-text contrast of the learned agreement (ours), where there is one.
    """

    both_sides: bool = True
    visual: float = 0.5
    exploratory: float = 0.5
    redundancy: float = 0.1
    base: float = 10.0
    agreement: float = 0.3

    def __post_init__(self) -> None:
        for name in ("visual", "exploratory", "redundancy", "base", "agreement"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"training.loss.{name} ({getattr(self, name)}) must not be negative."
                )


@dataclass
class DropoutConfig:
    """How often a part of an item is hidden in training, each a probability (ours).

    Attributes:
        metadata: hide the metadata from connector and backbone.
        prompt: hide the metadata from the backbone only; the connector is still guided by it.
        image: hide the photo.
        swap: put the metadata of another item of the training pairs in the place of the item's
            own, for connector and backbone alike.
    """

    metadata: float = 0.0
    prompt: float = 0.0
    image: float = 0.0
    swap: float = 0.0

    def __post_init__(self) -> None:
        for name in ("metadata", "prompt", "image", "swap"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"training.dropout.{name} ({getattr(self, name)}) must lie in [0, 1)."
                )


@dataclass
class NoiseConfig:
    """Views of items under drawn noise, each the same item as its clean form (`noise.py`, ours).

    Attributes:
        views: of each item; 0 trains without them. Each takes as much of the token cache as a
            photo.
        share: of a batch's pairs that are an item and a view of itself; the rest are the shop's.
            A catalog without pairs has nothing else.
        appear: how often an item of a shop's pair appears as a view of itself.
        teacher: what a view is to be like: "item", its clean form, by InfoNCE; "base", what the
            frozen base says of the clean form (`training.loss.base`); "auto" is "item" where there
            are pairs and "base" where views are all there is.
        severity: of the noise over a photo, from and to, each 0 to 1.
        metadata: how often a view's metadata has a fault: a field dropped, another item's brand or
            category, advertising for a title.
        missing: how often a view lacks its photo or its metadata altogether.
    """

    views: int = 1
    share: float = 0.5
    appear: float = 0.25
    teacher: Literal["auto", "item", "base"] = "auto"
    severity: tuple[float, float] = (0.2, 0.8)
    metadata: float = 0.2
    missing: float = 0.05

    def __post_init__(self) -> None:
        if self.views < 0:
            raise ConfigError(f"training.noise.views ({self.views}) must not be negative.")
        for name in ("share", "appear", "metadata", "missing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"training.noise.{name} ({getattr(self, name)}) must lie in [0, 1]."
                )
        if len(self.severity) != 2 or not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise ConfigError(
                f"training.noise.severity ({list(self.severity)}) must be two numbers within 0 and "
                "1, the lower one first."
            )


@dataclass
class TrainingConfig:
    """Options of a training run.

    Attributes:
        steps: optimiser steps; 0 takes as many as the numbers of items and pairs ask for
            (`run.plan_run`).
        batch_size: pairs in a batch, over all processes.
        chunk_size: items in one forward pass; smaller than the batch switches the gradient cache
            on, which gives the same gradient in less memory. None runs the batch at once.
        gradient_checkpointing: keep of each layer of the backbone its input alone and run it again
            in the backward pass: a third more work there, a fraction of the memory.
        learning_rate: peak rate of connector and heads.
        language_learning_rate: peak rate of the backbone's trained weights.
        weight_decay: AdamW's, on the matrices of linear layers only.
        warmup: share of the steps with rising rate.
        schedule: how the rate falls afterwards.
        precision: of matrix products: "auto" is bfloat16 on GPUs and CPUs that compute in it
            (weights and losses stay float32), "float32" is that everywhere.
        max_grad_norm: gradients are clipped to it; 0 leaves them.
        alignment_steps: first so many steps train the connector without the backbone, on the
            visual and agreement losses (ours, after BLIP-2's first stage); -1 is three eighths of
            the steps. None, where there is no backbone or the connector has no streams to align.
        loss: the weights of the losses.
        dropout: what is hidden in training.
        noise: views of items under drawn noise, as positives of their own.
        popularity: how far InfoNCE corrects for items that stand in many pairs (logQ, Yi et al.,
            RecSys 2019): 0 not at all, 1 in full. Without it what is popular is pushed away, since
            it is a negative more often than others are.
        hard_negatives: mined negatives added for each pair; 0 is none.
        mine_every: steps between minings from the current model.
        mine_pool: items among which is mined, at most.
        eval_every: steps between evaluations on the validation pairs; 0 never evaluates, -1 does
            ten times in a run.
        eval_queries: validation queries, at most.
        eval_pool: items in the validation pool, at most: the targets and a random rest.
        metric: what early stopping and the choice of the best step go by. A few hundred queries
            tell models two points of H@10 apart at best; nDCG@10, which looks at every rank, tells
            more.
        patience: evaluations without gain before the run stops; 0 never stops early.
        save_every: steps between checkpoints; 0 saves with each evaluation.
        keep_best: end with the weights of the best evaluation, not with the last ones.
        seed: of everything random.
        workers: processes that read the token cache ahead of the steps; 0 reads in the main one.
        report_to: trackers, as in transformers: "none", "tensorboard", "wandb", "mlflow", ...
    """

    steps: int = 0
    batch_size: int = 64
    chunk_size: int | None = None
    gradient_checkpointing: bool = False
    learning_rate: float = 1e-3
    language_learning_rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    precision: Literal["auto", "float32"] = "auto"
    max_grad_norm: float = 1.0
    alignment_steps: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    popularity: float = 0.0
    hard_negatives: int = 0
    mine_every: int = 100
    mine_pool: int = 20000
    eval_every: int = -1
    eval_queries: int = 500
    eval_pool: int = 1500
    metric: str = "ndcg@10"
    patience: int = 0
    save_every: int = 0
    keep_best: bool = True
    seed: int = 0
    workers: int = 0
    report_to: str = "none"

    def __post_init__(self) -> None:
        for name in ("batch_size", "mine_every", "mine_pool", "eval_queries", "eval_pool"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name} ({getattr(self, name)}) must be 1 or more.")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name} ({getattr(self, name)}) must not be negative.")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"training.warmup ({self.warmup}) must lie in [0, 1].")
        if self.hard_negatives and self.workers:
            raise ConfigError(
                f"training.workers ({self.workers}) must be 0 with training.hard_negatives: "
                "loading processes would go on with the negatives of their start."
            )
        if self.batch_size < 2:
            raise ConfigError(
                "training.batch_size (1) must be 2 or more: a pair alone has no negatives."
            )
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"training.chunk_size ({self.chunk_size}) must be 1 or more.")
        if self.eval_every < -1:
            raise ConfigError(
                f"training.eval_every ({self.eval_every}) must be 1 or more, 0 for never, or -1 "
                "for ten times in a run."
            )
        if self.alignment_steps < -1:
            raise ConfigError(
                f"training.alignment_steps ({self.alignment_steps}) must be 1 or more, 0 for none, "
                "or -1 for three eighths of the steps."
            )
        if self.alignment_steps > self.steps > 0:
            raise ConfigError(
                f"training.alignment_steps ({self.alignment_steps}) must not exceed "
                f"training.steps ({self.steps})."
            )


_NOT_NEGATIVE = (
    "popularity",
    "learning_rate",
    "language_learning_rate",
    "weight_decay",
    "max_grad_norm",
    "hard_negatives",
    "patience",
    "steps",
    "save_every",
    "seed",
    "workers",
)


@dataclass
class RunConfig:
    """Everything that a run is made of: what is trained, and how.

    Attributes:
        embedder: towers, connector, backbone, head.
        training: the run.
    """

    embedder: EmbedderConfig = field(default_factory=EmbedderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
