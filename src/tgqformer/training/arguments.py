"""Our options of a run in the words of transformers' `Trainer`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.training_args import ParallelMode

from tgqformer.precision import has_bfloat16
from tgqformer.training.config import TrainingConfig


def training_arguments(
    config: TrainingConfig, out: Path, *, evaluates: bool, device: torch.device
) -> TrainingArguments:
    """What `Trainer` is told of a run.

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
