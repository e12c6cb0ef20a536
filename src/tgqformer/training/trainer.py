"""The training loop: transformers' `Trainer` underneath, our batches, losses and evaluation on top.

`Trainer` brings resume, mixed precision, accelerate and torchrun, and the trackers. Its data loader
is replaced by one whose n-th element is the batch of step n, so resuming means starting at n.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.training_args import ParallelMode

from tgqformer.cores import cores
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import EmbedderModel, ItemBatch
from tgqformer.embedder.saving import load_trained
from tgqformer.numerics import has_bfloat16
from tgqformer.training import checkpoints
from tgqformer.training.config import TrainingConfig
from tgqformer.training.data import StepBatch, StepDataset
from tgqformer.training.distributed import from_first, gather, world
from tgqformer.training.gradient_cache import GradientCache
from tgqformer.training.losses import PerItem, PerItemModel, batch_loss
from tgqformer.training.mining import HardNegatives
from tgqformer.training.start import start_head
from tgqformer.training.validation import Validation, score

FLOOR = 0.98
"""Share of the base's figure on clean photos that a step must keep; a few hundred queries tell no
closer."""


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
        if not embedder.model.aligns:
            config = replace(config, alignment_steps=0)
        self.embedder, self.config, self.validation = embedder, config, validation
        self.out = out
        if config.gradient_checkpointing and embedder.model.backbone is not None:
            embedder.model.backbone.checkpoint()
        self.mining = HardNegatives(embedder, dataset, config)
        self.terms: dict[str, float] = {}
        super().__init__(
            model=PerItemModel(embedder.model, config.loss),
            args=training_arguments(
                config, out, evaluates=bool(validation), device=embedder.device
            ),
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
            num_workers=min(self.config.workers, cores()),
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Ours (`make_optimizer`), made once."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.embedder.model, self.config)
        return self.optimizer

    # -- a step ----------------------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: dict[str, StepBatch], num_items_in_batch: Any = None
    ) -> Tensor:
        """Fill the gradients of one batch, by the gradient cache where it is cut into chunks."""
        model.train()
        self._before_step()
        device, step = self.args.device, inputs["step"]
        aligning = self.state.global_step < self.config.alignment_steps
        facts, order = step.facts.to(device), step.order.to(device)
        dims = self.embedder.config.matryoshka

        def forward(chunk: ItemBatch) -> PerItem:
            with self.autocast_smart_context_manager():
                out = model(chunk.to(device), connector_only=aligning)
            return {name: x.float() for name, x in out.items()}

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

    def _before_step(self) -> None:
        """What the very first step and the first one of a stage want done before them."""
        now = self.state.global_step
        if now == self.config.alignment_steps:
            start_head(self.embedder, self.train_dataset.catalog, self.config.seed)
        if now == 0 and self.embedder.model.base is not None and self._evaluates:
            self.evaluate()  # the frozen base is a candidate like any other step
            self.model.train()
        self.mining.before_step(now)

    @property
    def _evaluates(self) -> bool:
        return bool(self.validation) and self.config.eval_every > 0

    def _no_sync(self, model: nn.Module) -> Any:
        def no_sync() -> AbstractContextManager[object]:
            return self.accelerator.no_sync(model) if world()[1] > 1 else nullcontext()

        return no_sync

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the loss terms and the temperature to what is logged."""
        if "loss" in logs:
            logs |= {f"loss_{name}": value for name, value in self.terms.items()}
            logs["temperature"] = float(
                (-self.embedder.model.log_scales["embedding"].detach()).exp()
            )
        super().log(logs, start_time)

    # -- evaluation ------------------------------------------------------------------------------

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """H@K on the validation sample; keeps the best weights; stops when patience runs out."""
        aligning = self.state.global_step < self.config.alignment_steps
        figures = from_first(lambda: self.validation.run(self.embedder, connector_only=aligning))
        metrics = {f"eval_{name}": value for name, value in figures.items()}
        best = max((value for _, value in self.judged()), default=-1.0)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        judged = self.judged()
        if self._is_candidate(self.state.global_step):
            if self.args.should_save and judged[-1][1] > best:
                with self.embedder.model.strengthened(figures.get("factor", 1.0)):
                    checkpoints.save_best(self.embedder.model, self.out)
            if self._stalled(judged):
                self.control.should_training_stop = True
        return metrics

    def judged(self, state: TrainerState | None = None) -> list[tuple[dict[str, Any], float]]:
        """The evaluations of the run so far and what each came to; see `judge`."""
        log = (state or self.state).log_history
        return judge(log, self.config.metric, self._is_candidate)

    def _is_candidate(self, step: int) -> bool:
        """Whether the model of a step has an embedding: in an alignment stage, only with a base."""
        return self.embedder.model.base is not None or step >= self.config.alignment_steps

    def _stalled(self, judged: list[tuple[dict[str, Any], float]]) -> bool:
        if not self.config.patience or not judged:
            return False
        values = [value for _, value in judged]
        return len(values) - 1 - values.index(max(values)) >= self.config.patience

    def load_best(self) -> bool:
        """Put the best evaluation's weights into the model; False where there are none."""
        self.accelerator.wait_for_everyone()  # the first process may still be writing them
        path = self.out / checkpoints.BEST
        if not (self.config.keep_best and self.validation and path.is_file()):
            return False
        load_trained(self.embedder.model, path)
        return True

    # -- checkpoints -----------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As transformers does, with the hard negatives, and marked as whole at the end.

        Raises:
            StorageError: the disk refuses; the last whole checkpoint stays.
        """
        step = self.state.global_step
        folder = self.out / f"checkpoint-{step}"
        with checkpoints.writing(folder):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each process writes its own random state
            if self.args.should_save:
                self.mining.save(folder)
                checkpoints.mark_complete(folder, step)
                checkpoints.remove_old(self.out)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        checkpoints.save_weights(self.embedder.model, Path(output_dir or self.out))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_trained(self.embedder.model, folder / checkpoints.WEIGHTS)
        self.mining.load(folder)

    def has_ended(self, checkpoint: Path) -> bool:
        """Whether the run stopped at this checkpoint, by its last step or for want of gain."""
        state = checkpoints.read_state(checkpoint)
        return state.global_step >= self.config.steps or self._stalled(self.judged(state))

    def restore(self, checkpoint: Path) -> None:
        """Take weights and log of a checkpoint without training on."""
        self.state = checkpoints.read_state(checkpoint)
        self._load_from_checkpoint(str(checkpoint))


def judge(
    log: list[dict[str, Any]], metric: str, is_candidate: Callable[[int], bool]
) -> list[tuple[dict[str, Any], float]]:
    """The evaluations of a run that it may end with, and what each came to.

    That is the metric, with noise views its mean over items as they are and as views; -1 where
    the metric of the items as they are lies below FLOOR of the frozen base's, step 0's: what is
    gained under noise may not be paid for with clean photos.
    """
    found = [entry for entry in log if f"eval_{metric}" in entry and is_candidate(entry["step"])]
    base = next((entry[f"eval_{metric}"] for entry in found if entry["step"] == 0), 0.0)
    return [
        (entry, score(entry, metric, "eval_") if entry[f"eval_{metric}"] >= FLOOR * base else -1.0)
        for entry in found
    ]


def run_chunks(embedder: ItemEmbedder, step: StepBatch, config: TrainingConfig) -> float:
    """Fill the gradients of one batch as a run in one process does, and let go of them: the loss.

    To time a step and to measure its memory; nothing is learned.
    """
    model, device = PerItemModel(embedder.model, config.loss).train(), embedder.device
    bfloat16 = config.precision == "auto" and has_bfloat16(device)
    facts = step.facts.to(device)

    def forward(chunk: ItemBatch) -> PerItem:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            out = model(chunk.to(device))
        return {name: x.float() for name, x in out.items()}

    def loss(items: PerItem) -> Tensor:
        return batch_loss(items, facts, config.loss, embedder.config.matryoshka)[0]

    value = float(GradientCache(forward, loss).step(step.chunks))
    embedder.model.zero_grad(set_to_none=True)
    return value


def seconds_of_a_step(
    embedder: ItemEmbedder, dataset: StepDataset, config: TrainingConfig
) -> float:
    """About how long a step takes here: one chunk forward and backward, timed; changes nothing."""
    step = dataset[0]
    model = PerItemModel(embedder.model, config.loss).train()
    aligning, device = config.alignment_steps > 0, embedder.device
    bfloat16 = config.precision == "auto" and has_bfloat16(device)
    started = 0.0
    with torch.random.fork_rng(devices=[]):
        for _ in range(2):  # the first pass pays for what is set up once
            started = time.monotonic()
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                out = model(step.chunks[0].to(device), connector_only=aligning)
            whole = torch.stack([x.float().sum() for x in out.values()]).sum()
            whole.backward()  # type: ignore[no-untyped-call]
            embedder.model.zero_grad(set_to_none=True)
    once = time.monotonic() - started
    embedder.model.eval()
    # the gradient cache forwards each chunk once more, a third of the work
    return once * len(step.chunks) * (4 / 3 if len(step.chunks) > 1 else 1)


def _as_inputs(batch: list[StepBatch]) -> dict[str, StepBatch]:
    """transformers wants a mapping."""
    return {"step": batch[0]}


def training_arguments(
    config: TrainingConfig, out: Path, *, evaluates: bool, device: torch.device
) -> TrainingArguments:
    """Our options of a run in the words of transformers' `Trainer`.

    Args:
        out: where checkpoints go.
        evaluates: there are validation pairs.
        device: what a run in one process trains on; each of several has a GPU of its own.
    """
    on_cpu = device.type == "cpu"
    evaluates = evaluates and config.eval_every > 0
    save_every = config.save_every or (config.eval_every if evaluates else config.steps)
    args = TrainingArguments(
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
        seed=config.seed,
        bf16=config.precision == "auto" and has_bfloat16(device),
        report_to=config.report_to.split(","),
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        ddp_find_unused_parameters=True,
        dataloader_num_workers=config.workers,
        use_cpu=on_cpu,
    )
    # transformers takes the first GPU and spreads batches over all, which it cannot do with ours
    args._n_gpu = min(args.n_gpu, 1)
    if device.type == "cuda" and args.parallel_mode == ParallelMode.NOT_PARALLEL:
        torch.cuda.set_device(device)
        args._setup_devices = device
    return args


def make_optimizer(model: EmbedderModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW over what is trained: the backbone at its own rate, decay on linear layers alone.

    Learned queries, null tokens, strengths, norms and biases do not decay. After each step the
    temperatures are brought back to their limit.
    """
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = (name.startswith("backbone."), id(parameter) in matrices)
            groups.setdefault(kind, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.language_learning_rate if language else config.learning_rate,
                "weight_decay": config.weight_decay if matrix else 0.0,
            }
            for (language, matrix), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
    )
    optimizer.register_step_post_hook(lambda *_: model.clamp_scales())
    return optimizer


class ProgressBar(TrainerCallback):  # type: ignore[misc]
    """Loss, H@K, items a second and time left: a bar on a terminal, else a line an evaluation.

    Both on standard error.
    """

    def __init__(self, config: TrainingConfig) -> None:
        from rich.console import Console

        self.config = config
        self.console = Console(stderr=True)
        self.bar: Any = None
        self.loss, self.hit = "–", "–"
        self.started, self.first = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.started, self.first = time.monotonic(), state.global_step
        if not (state.is_world_process_zero and self.console.is_terminal):
            return
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}  {task.fields[name]} {task.fields[hit]}"),
            TextColumn("{task.fields[speed]} items/s"),
            TimeRemainingColumn(),
            console=self.console,
        )
        name = self.config.metric.upper().replace("HIT", "H")
        self.task = self.bar.add_task(
            "", total=state.max_steps, loss="–", hit="–", speed="–", name=name
        )
        self.bar.start()
        self.bar.update(self.task, completed=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(
                self.task,
                completed=state.global_step,
                loss=self.loss,
                hit=self.hit,
                speed=f"{self._speed(state.global_step):,.0f}",
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.loss = f"{logs['loss']:.3f}"

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        value = (metrics or {}).get(f"eval_{self.config.metric}")
        if value is None:
            return
        self.hit = f"{100 * value:.1f} %"
        if self.bar is None and state.is_world_process_zero:
            others = [
                f"{name} {100 * metrics[f'eval_{key}_{self.config.metric}']:.1f} %"
                for key, name in (("noisy", "under noise"), ("visual", "streams alone"))
                if f"eval_{key}_{self.config.metric}" in metrics
            ]
            told = f"({', '.join(others)})  " if others else ""
            self.console.print(
                f"step {state.global_step}/{state.max_steps}  loss {self.loss}  "
                f"{self.config.metric} {self.hit}  {told}"
                f"{self._speed(state.global_step):,.0f} items/s",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    def _speed(self, step: int) -> float:
        seconds = max(time.monotonic() - self.started, 1e-9)
        return (step - self.first) * 2 * self.config.batch_size / seconds


def duration(seconds: float) -> str:
    """ "40 seconds", "9 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
