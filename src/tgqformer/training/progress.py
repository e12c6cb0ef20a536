"""The progress bar of a run: loss, H@K, items a second, time left."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from tgqformer.training.config import TrainingConfig


class ProgressBar(TrainerCallback):  # type: ignore[misc]
    """A bar on a terminal; a line for each evaluation elsewhere. Both on standard error."""

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
