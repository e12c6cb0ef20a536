"""``tgqformer demo``: from nothing to a report, every step of the way."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.cli.options import preset_option, set_option
from tgqformer.cli.output import quiet_option, show

if TYPE_CHECKING:
    from tgqformer.cli.demo_stages import Demo


@click.command(short_help="Draw a shop, train on it, evaluate, write a report.")
@click.option(
    "--out",
    default="runs/demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Everything goes below this folder.",
)
@click.option("--items", default=5000, show_default=True, type=int, help="Size of the shop.")
@click.option("--noise", default="market", show_default=True, help="As for storefront.")
@click.option("--size", default=224, show_default=True, type=int, help="Side of the photos.")
@preset_option
@set_option
@click.option("--seed", default=0, show_default=True, help="Of the shop and of the training.")
@quiet_option
def demo(
    out: Path,
    items: int,
    noise: str,
    size: int,
    preset: str,
    assignments: tuple[str, ...],
    seed: int,
    quiet: bool,
) -> None:
    """Draw a shop, train on it, evaluate the model beside two reference points, write a report.

    Each stage is kept: a demo that was stopped goes on where it was, and one that is done only
    shows its result again.
    """
    from tgqformer.cli.demo_stages import Demo
    from tgqformer.cli.options import run_config

    started = time.monotonic()
    config = run_config(preset, assignments, seed)
    stages = Demo(out, config, items=items, noise=noise, size=size, seed=seed, progress=not quiet)
    for number, (text, stage) in enumerate(stages.plan(), start=1):
        click.echo(f"[{number}/5] {text}")
        stage()
    _print(stages, time.monotonic() - started)


def _print(stages: Demo, seconds: float) -> None:
    from tgqformer.cli.evaluate import gain_line
    from tgqformer.evaluation.compare import compare

    for title, noisy in (
        ("The test queries over the full pool", False),
        ("The same, their photos under noise of kinds that training never draws", True),
    ):
        comparison = compare(stages.evaluations(noisy=noisy))
        show(comparison.rich_table(title))
        click.echo(gain_line(comparison))
    click.echo(f"Done in {seconds / 60:.1f} minutes. Look at {stages.report}")
    click.echo("Then try:")
    for command in stages.next_steps(_program()):
        click.echo(f"  {command}")


def _program() -> str:
    """Return how this program is called from here: by name, or by path out of a .venv."""
    if shutil.which("tgqformer") or not sys.argv[0].endswith("tgqformer"):
        return "tgqformer"
    return os.path.relpath(sys.argv[0])
