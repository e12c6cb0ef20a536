"""``tgqformer train``: from a catalog to a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tgqformer.cli.shared import json_option, preset_option, print_json, quiet_option, set_option


@click.command(short_help="Train on a catalog's items and co-engaged pairs.")
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@preset_option
@set_option
@click.option("--seed", type=int, help="Same as --set training.seed.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out where it stopped.")
@click.option("--device", help="cpu, cuda, ...; by default the GPU where there is one.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Keep the towers' output here, to share it between runs; by default in the run's folder.",
)
@quiet_option
@json_option
def train(
    catalog_path: Path,
    out: Path,
    preset: str,
    assignments: tuple[str, ...],
    seed: int | None,
    resume: bool,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train an item embedder on the training pairs of CATALOG, and on noise views of its items.

    A catalog without pairs is trained on the views alone. The best step by validation is kept, and
    the frozen towers are one of the candidates: what training gained over them is told at the end.

    The run's folder holds the configuration, the checkpoints, the curve and the trained model. A
    run that was stopped, or killed, goes on with --resume and ends in the same weights.
    """
    from tgqformer.cli.shared import run_config

    config = run_config(preset, assignments, seed)  # before anything slow: it may be wrong

    from tgqformer.catalog.catalog import Catalog
    from tgqformer.training.run import train as train_run

    catalog = Catalog.load(catalog_path)
    if len(catalog.quarantine):
        click.echo(f"Left out: {catalog.quarantine.summary()}; see tgqformer validate", err=True)
    result = train_run(
        catalog, config, out, resume=resume, progress=not quiet, cache_dir=cache, device=device
    )
    if as_json:
        print_json({"run": out, **result.summary})
        return
    summary = result.summary
    click.echo(f"Trained {summary['steps']:,} steps in {summary['seconds']:,.0f} s, into {out}")
    for line in describe_gain(summary):
        click.echo(line)
    click.echo(f"Next: tgqformer evaluate {out} {catalog_path}")


def describe_gain(summary: dict[str, Any]) -> list[str]:
    """What a run's summary says of the step that was kept, and of the gain over the base."""
    lines = []
    if "step" in summary:
        kept = (
            f"step {summary['step']:,}" if summary["step"] else "the frozen base: no step beat it"
        )
        lines.append(f"Kept {kept}")
    for name, gain in summary.get("gain", {}).items():
        gap = gain["difference"]
        told = f"{100 * gain['base']:.1f} -> {100 * gain['model']:.1f} %, {100 * gap['value']:+.1f}"
        if gap["low"] is not None:
            told += f" [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"
        where = "validation" if name == "clean" else "validation under drawn noise"
        lines.append(f"Gain over the frozen towers, {gain['metric']} on {where}: {told}")
    return lines
