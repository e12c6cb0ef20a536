"""``tgqformer demo``: from nothing to a report, every step of the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import plain, preset_option, quiet_option, set_option, show
from tgqformer.cli.shared import size as bytes_as_text

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.result import Evaluation
    from tgqformer.training.config import RunConfig

_NAME = "TGQ-Former"
_MODELS = ("model", "text-only", "frozen")
_NOISE = 0.5
"""Severity of the noise over the queries' photos."""


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
    from tgqformer.cli.shared import run_config

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


class Demo:
    """A demo's folder.

    shop/                the catalog
    run/                 the training run
    embeddings.parquet   the trained model's vector of each item
    evaluation/          the model and its two reference points; below noisy/ the same, with the
                         queries' photos under noise of kinds that training never draws
    noisy-queries/       those photos
    report.html          all of it on a page
    """

    def __init__(
        self,
        out: Path,
        config: RunConfig,
        *,
        items: int,
        noise: str,
        size: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.out, self.config, self.progress = out, config, progress
        self.items, self.noise, self.size, self.seed = items, noise, size, seed
        self.shop, self.run = out / "shop", out / "run"
        self.embeddings, self.report = out / "embeddings.parquet", out / "report.html"
        self.folders = [out / "evaluation" / name for name in _MODELS]
        self.noisy_folders = [out / "evaluation" / "noisy" / name for name in _MODELS]
        self.stages = Stages(out)

    def plan(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield each stage with a line that says what it does."""
        yield f"Drawing a shop of {self.items:,} items into {self.shop}", self.draw
        yield f"Training into {self.run}", self.train
        yield f"Embedding every item into {self.embeddings}", self.embed
        yield "Evaluating beside text only and the frozen towers", self.evaluate
        yield f"Writing {self.report}", self.write

    def draw(self) -> None:
        """Draw the shop; the storefront itself skips one that stands, and refuses another."""
        from tgqformer.storefront import draw_storefront

        started, fresh = time.monotonic(), not (self.shop / "manifest.json").exists()
        draw_storefront(
            self.shop,
            items=self.items,
            noise=self.noise,
            seed=self.seed,
            size=self.size,
            progress=self.progress,
        )
        if fresh:
            self.stages.finish("shop", self._made_from(), seconds=time.monotonic() - started)

    def train(self) -> None:
        """Train, or go on, or skip; a run of other options is refused, finished or not."""
        from tgqformer.config import from_dict, load_yaml
        from tgqformer.errors import ConfigError
        from tgqformer.training.run import is_finished, train

        if not is_finished(self.run):
            train(self.catalog, self.config, self.run, resume=True, progress=self.progress)
        elif from_dict(type(self.config), load_yaml(self.run / "config.yaml")) != self.config:
            raise ConfigError(
                f"{self.out} holds a demo with other training options; remove it or choose "
                "another --out"
            )

    def embed(self) -> None:
        """Embed the shop, the towers' output coming out of the run's cache."""
        from tgqformer.cli.embed import write_embeddings

        if not self.stages.done("embeddings", self._made_from(), self.embeddings):
            write_embeddings(
                self.run,
                self.catalog,
                self.embeddings,
                cache=self.run / "cache",
                progress=self.progress,
            )
            self.stages.finish("embeddings", self._made_from())

    def evaluate(self) -> None:
        """Evaluate the model and the two reference points on the test queries, clean and noisy."""
        from tgqformer.cli.evaluate import reference_points
        from tgqformer.evaluation.evaluate import evaluate

        if self.stages.done("evaluation", self._made_from(), *self.folders, *self.noisy_folders):
            return
        catalog = self.catalog
        points = reference_points(self.embedder, catalog)
        models = [(_NAME, self.vectors()), *((p.name, p.encode(catalog.items)) for p in points)]
        for (name, vectors), folder in zip(models, self.folders):
            evaluate(vectors, catalog, name=name, seed=self.seed).save(folder)
        asking = self._noisy_queries()
        for (name, vectors), folder in zip(models, self.noisy_folders):
            evaluate(vectors, catalog, name=name, seed=self.seed, query_vectors=asking[name]).save(
                folder
            )
        levels = self._levels(dict(models[1:]))
        self.stages.finish("evaluation", self._made_from(), levels=levels)

    def write(self) -> None:
        """Write the report; quick, so it is always written anew."""
        from tgqformer.evaluation.report import gallery_rows, write_report
        from tgqformer.training.run import read_curve

        write_report(
            self.report,
            title="TGQ-Former on a drawn shop",
            intro=f"A shop of {self.items:,} items with {self.noise} noise was drawn, an item "
            "embedder trained on its shoppers' pairs, and the test queries ranked over the whole "
            "shop.",
            evaluations=self.evaluations(),
            curve=read_curve(self.run),
            levels=self.stages.facts("evaluation").get("levels", {}),
            gallery=gallery_rows(self.catalog, self.vectors(), seed=self.seed),
            facts=self.facts(),
            next_steps=self.next_steps(),
            seed=self.seed,
        )

    def evaluations(self, *, noisy: bool = False) -> list[Evaluation]:
        """Read the saved evaluations, the model's first."""
        from tgqformer.evaluation.result import Evaluation

        return [Evaluation.load(each) for each in (self.noisy_folders if noisy else self.folders)]

    def vectors(self) -> Any:
        """Read the embeddings: float32 [N, D], in the order of the catalog."""
        from tgqformer.retrieval.embeddings import read_embeddings

        return read_embeddings(self.embeddings).as_float32()

    def facts(self) -> dict[str, object]:
        """Return what the report tells of the run and of the machine."""
        from tgqformer.cli.doctor import memory, version
        from tgqformer.cores import cpu

        summary = json.loads((self.run / "summary.json").read_text(encoding="utf-8"))
        config = self.config.embedder
        processor, total = cpu(), bytes_as_text(memory()["total"])
        seconds = self.stages.facts("shop").get("seconds")
        return {
            "shop": f"{self.items:,} items, noise {self.noise}, seed {self.seed}",
            "drawn in": "-" if seconds is None else f"{seconds:.0f} s",
            "towers": f"{_name(config.image_tower)} and {_name(config.text_tower)}, frozen",
            "backbone": _name(config.language),
            "trained": f"{summary['steps']:,} steps in {summary['seconds']:.0f} s",
            **self._noisy_facts(),
            "machine": f"{processor['name']}, {processor['cores']} cores, {total}",
            "version": f"tgqformer {version('tgqformer')}",
        }

    def _noisy_facts(self) -> dict[str, object]:
        """Return H@10 of each model with noisy queries, as the report tells it."""
        return {
            f"H@10 under unseen noise, {each.name}": f"{100 * each.metrics['hit@10'].value:.1f} %"
            for each in self.evaluations(noisy=True)
        }

    def next_steps(self, program: str = "tgqformer") -> list[str]:
        """Return commands to try on what the demo made."""
        first = self.catalog[0].item_id
        return [
            f"{program} similar {self.run} {self.embeddings} --id {first} --catalog {self.shop}",
            f"{program} evaluate {self.run} {self.shop} --split val",
            f"{program} presets --options",
            f"{program} import --help",
        ]

    @cached_property
    def catalog(self) -> Catalog:
        """The drawn shop."""
        from tgqformer.catalog.catalog import Catalog

        return Catalog.load(self.shop)

    @cached_property
    def embedder(self) -> ItemEmbedder:
        """The trained embedder, with the run's token cache."""
        from tgqformer.embedder import ItemEmbedder

        return ItemEmbedder.from_pretrained(self.run, cache_dir=self.run / "cache")

    def _noisy_queries(self) -> dict[str, Any]:
        """Return each model's [N, D] vectors of the test queries under unseen noise, else zero."""
        import numpy as np

        from tgqformer.catalog.catalog import Catalog
        from tgqformer.cli.evaluate import reference_points
        from tgqformer.evaluation.robustness import corrupted_items

        rows = np.unique(self.catalog.pair_indices("test")[0])
        items = corrupted_items(
            [self.catalog.items[row] for row in rows],
            "overlays+clutter",
            _NOISE,
            self.out / "noisy-queries",
            family="unseen",
        )
        found = {_NAME: self.embedder.encode(items, progress=self.progress)}
        found |= {p.name: p.encode(items) for p in reference_points(self.embedder, Catalog(items))}
        asking = {}
        for name, vectors in found.items():
            asking[name] = np.zeros((len(self.catalog), vectors.shape[1]), dtype=np.float32)
            asking[name][rows] = vectors
        return asking

    def _levels(self, vectors: dict[str, Any]) -> dict[str, float]:
        """Return each reference's figure on the sample that the training curve is measured on."""
        from tgqformer.training.validation import Validation

        sample = Validation(self.catalog, self.config.training)
        if not sample:
            return {}
        return {
            name: sample.figures(given[sample.rows])["hit@10"] for name, given in vectors.items()
        }

    def _made_from(self) -> dict[str, Any]:
        """Return what identifies the shop and, once it is trained, the model."""
        from tgqformer.cli.shared import model_digest

        manifest = json.loads((self.shop / "manifest.json").read_text(encoding="utf-8"))
        trained = (self.run / "summary.json").is_file()
        return {"shop": manifest["digest"], "model": model_digest(self.run) if trained else None}


def _name(options: Any) -> str:
    return str(options.kind if options.kind in ("tiny", "none") else options.name or options.kind)


class Stages:
    """The record of finished stages in a folder's ``stages.json``.

    A stage counts as done when it was finished with the same inputs and its outputs still stand.
    Its digest is an input of the stages that follow, so that a change is carried on to them.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stages.json"
        self._record: dict[str, dict[str, Any]] = {}
        # none yet, or none that can be read: everything is done anew
        with contextlib.suppress(OSError, ValueError):
            self._record = json.loads(self.path.read_text(encoding="utf-8"))

    def done(self, name: str, inputs: Mapping[str, Any], *outputs: Path) -> bool:
        """Tell whether a stage was finished with these inputs and its outputs exist."""
        entry = self._record.get(name, {})
        return entry.get("digest") == digest(inputs) and all(path.exists() for path in outputs)

    def finish(self, name: str, inputs: Mapping[str, Any], **facts: Any) -> None:
        """Record a stage as done, with facts about it, by temporary file and rename."""
        from tgqformer.files import write_text

        entry = {"digest": digest(inputs), "inputs": plain(inputs), **plain(facts)}
        self._record[name] = entry
        write_text(self.path, json.dumps(self._record, indent=2))

    def facts(self, name: str) -> dict[str, Any]:
        """Return what was recorded of a stage; empty where nothing was."""
        return self._record.get(name, {})


def digest(inputs: Mapping[str, Any]) -> str:
    """Return the sha256 of plain data, 16 hex digits of it."""
    text = json.dumps(plain(inputs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
