"""The training loop: transformers' `Trainer` underneath, our batches, losses and evaluation on top.

`Trainer` brings resume, mixed precision, accelerate and torchrun, and the trackers. Its data loader
is replaced by one whose n-th element is the batch of step n, so resuming means starting at n.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch
from tgqformer.embedder.saving import load_trained, trained_weights, write_atomically
from tgqformer.training.config import TrainingConfig
from tgqformer.training.data import StepBatch, StepDataset
from tgqformer.training.distributed import gather, world
from tgqformer.training.gradient_cache import GradientCache
from tgqformer.training.losses import PerItem, batch_loss, per_item
from tgqformer.training.mining import HardNegatives
from tgqformer.training.validation import Validation

WEIGHTS = "model.safetensors"
COMPLETE = "complete.json"
BEST = "best.safetensors"


class TGQTrainer(Trainer):  # type: ignore[misc]
    """Contrastive training of an `ItemEmbedder` on the pairs of a catalog."""

    optimizer: torch.optim.Optimizer | None
    control: Any

    def __init__(
        self,
        embedder: ItemEmbedder,
        dataset: StepDataset,
        validation: Validation,
        config: TrainingConfig,
        out: Path,
    ) -> None:
        self.embedder, self.config, self.validation = embedder, config, validation
        self.mining = HardNegatives(embedder, dataset, config)
        self.terms: dict[str, float] = {}
        super().__init__(
            model=embedder.model,
            args=training_arguments(config, out, evaluates=bool(validation)),
            train_dataset=dataset,
            eval_dataset=dataset if validation else None,  # only says that there is one
            data_collator=_as_inputs,
        )
        self.remove_callback(PrinterCallback)

    # -- data and optimiser ----------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One element a step, in order; each process builds its own share."""
        return DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_as_inputs,
            num_workers=self.config.workers,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW: the backbone at its own rate, no decay on vectors and scalars."""
        if self.optimizer is None:
            groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    kind = (name.startswith("backbone."), parameter.ndim > 1)
                    groups.setdefault(kind, []).append(parameter)
            c = self.config
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": c.language_learning_rate if language else c.learning_rate,
                        "weight_decay": c.weight_decay if matrix else 0.0,
                    }
                    for (language, matrix), parameters in groups.items()
                ],
                betas=(0.9, 0.98),
            )
        return self.optimizer

    # -- a step ----------------------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: dict[str, StepBatch], num_items_in_batch: Any = None
    ) -> Tensor:
        """Fill the gradients of one batch, by the gradient cache where it is cut into chunks."""
        model.train()
        self.mining.before_step(self.state.global_step)
        device, step = self.args.device, inputs["step"]
        aligning = self.state.global_step < self.config.alignment_steps
        facts, order = step.facts.to(device), step.order.to(device)
        dims = self.embedder.config.matryoshka

        def forward(chunk: ItemBatch) -> PerItem:
            with self.autocast_smart_context_manager():
                out = model(chunk.to(device), connector_only=aligning)
            return {name: x.float() for name, x in per_item(out).items()}

        def loss(items: PerItem) -> Tensor:
            total, terms = batch_loss(gather(items, order), facts, self.config.loss, dims)
            self.terms = {name: float(term) for name, term in terms.items()}
            return total * world()[1]  # DistributedDataParallel averages what should add up

        if len(step.chunks) == 1:
            value = loss(forward(step.chunks[0]))
            self.accelerator.backward(value)
        else:
            cache = GradientCache(forward, loss, self.accelerator.backward, self._no_sync(model))
            value = cache.step(step.chunks)
        return value.detach() / world()[1]

    def _no_sync(self, model: nn.Module) -> Any:
        def no_sync() -> AbstractContextManager[object]:
            return self.accelerator.no_sync(model) if world()[1] > 1 else nullcontext()

        return no_sync

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the loss terms and the temperature to what is logged."""
        if "loss" in logs:
            logs |= {f"loss_{name}": value for name, value in self.terms.items()}
            logs["temperature"] = float((-self.model.log_scales["embedding"].detach()).exp())
        super().log(logs, start_time)

    # -- evaluation ------------------------------------------------------------------------------

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """H@K on the validation sample; keeps the best weights; stops when patience runs out."""
        step = self.state.global_step
        aligning = step < self.config.alignment_steps
        figures = self.validation.run(self.embedder, connector_only=aligning)
        metrics = {f"eval_{name}": value for name, value in figures.items()}
        past = [
            entry[self.metric]
            for entry in self.state.log_history
            if self.metric in entry and entry["step"] >= self.config.alignment_steps
        ]
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        if not aligning:
            if self.args.should_save and metrics[self.metric] > max(past, default=-1.0):
                self._save_best()
            if self.config.patience and self._stalled([*past, metrics[self.metric]]):
                self.control.should_training_stop = True
        return metrics

    @property
    def metric(self) -> str:
        """The figure that the best step is chosen by."""
        return f"eval_{self.config.metric}"

    def _stalled(self, history: list[float]) -> bool:
        since_best = len(history) - 1 - history.index(max(history))
        return since_best >= self.config.patience

    def _save_best(self) -> None:
        from safetensors.torch import save_file

        weights = trained_weights(self.model)
        path = Path(self.args.output_dir) / BEST
        write_atomically(path, lambda temporary: save_file(weights, temporary))

    def load_best(self) -> bool:
        """Put the best evaluation's weights into the model; False where there are none."""
        path = Path(self.args.output_dir) / BEST
        if not (self.config.keep_best and self.validation and path.is_file()):
            return False
        load_trained(self.model, path)
        return True

    # -- checkpoints -----------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A marker written last tells a whole checkpoint from one cut off by a kill."""
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            self.mining.save(folder)
            for file in folder.iterdir():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
            text = json.dumps({"step": self.state.global_step})
            write_atomically(folder / COMPLETE, lambda t: t.write_text(text, encoding="utf-8"))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        from safetensors.torch import save_file

        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(trained_weights(self.model), folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_trained(self.model, folder / WEIGHTS)
        self.mining.load(folder)


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint below `out`, or None."""
    whole = [folder.parent for folder in out.glob(f"checkpoint-*/{COMPLETE}")]
    return max(whole, key=lambda folder: int(folder.name.split("-")[1]), default=None)


def training_arguments(config: TrainingConfig, out: Path, *, evaluates: bool) -> TrainingArguments:
    """Our options in transformers' words."""
    evaluates = evaluates and config.eval_every > 0
    save_every = config.save_every or (config.eval_every if evaluates else config.steps)
    return TrainingArguments(
        output_dir=str(out),
        max_steps=config.steps,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=max(1, round(config.warmup * config.steps)),
        max_grad_norm=config.max_grad_norm,
        logging_steps=min(10, config.steps),
        eval_strategy="steps" if evaluates else "no",
        eval_steps=config.eval_every if evaluates else None,
        save_strategy="steps",
        save_steps=save_every,
        save_total_limit=2,
        seed=config.seed,
        bf16=torch.cuda.is_available(),
        report_to=config.report_to.split(","),
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        ddp_find_unused_parameters=True,
        dataloader_num_workers=config.workers,
        use_cpu=not torch.cuda.is_available(),
    )


def _as_inputs(batch: list[StepBatch]) -> dict[str, StepBatch]:
    """transformers wants a mapping."""
    return {"step": batch[0]}
