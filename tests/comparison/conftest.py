"""A comparison in miniature: two methods, two rates, two seeds, done in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.comparison.cell import run_cell
from tgqformer.comparison.plan import Plan, jobs
from tgqformer.comparison.prepare import prepare

torch.set_num_threads(1)

KINDS = ["shoe", "lamp", "bowl", "coat"]


def photo(group: int, member: int) -> bytes:
    pixels = np.random.default_rng([group, member]).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((24, 24), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def make_catalog() -> Catalog:
    """40 items in groups of four; two items lack their photo and two their metadata."""
    items = [
        Item(
            f"{g}-{m}",
            title="" if (g, m) in ((1, 0), (2, 1)) else f"{KINDS[m]} of make {g}",
            category="" if (g, m) in ((1, 0), (2, 1)) else f"Things > {KINDS[m]}",
            images=() if (g, m) in ((3, 0), (4, 2)) else (photo(g, m),),
        )
        for g in range(10)
        for m in range(4)
    ]
    splits = {(0, 1): "train", (2, 3): "train", (1, 2): "val", (0, 3): "test", (3, 0): "test"}
    pairs = [
        Pair(f"{g}-{a}", f"{g}-{b}", 1.0, s) for g in range(10) for (a, b), s in splits.items()
    ]
    return Catalog(items, pairs)


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison") / "small"
    make_catalog().save(folder)
    return folder


@pytest.fixture(scope="session")
def plan_of(small_shop: Path) -> Callable[..., Plan]:
    """A plan for the small shop with the tiny preset, two steps a run."""

    def make(out: Path, **options: object) -> Plan:
        few = ("steps=2", "eval_every=1", "batch_size=8", "eval_queries=8")
        given: dict[str, object] = {
            "catalogs": {"small": small_shop},
            "preset": "tiny",
            "assignments": tuple(f"training.{each}" for each in few),
            "methods": ("tgqformer", "frozen_both"),
            "seeds": (0, 1),
            "sweep": (0.003, 0.03),
            "robustness_queries": 6,
        }
        return Plan(out=out, **{**given, **options})  # type: ignore[arg-type]

    return make


def do_all(plan: Plan) -> None:
    """All jobs of a plan, one after another in this process."""
    plan.save()
    prepare(plan)
    while (job := next(jobs(plan), None)) is not None:
        run_cell(plan, job.cell, judge=job.judge)


@pytest.fixture(scope="session")
def run_all() -> Callable[[Plan], None]:
    return do_all


@pytest.fixture(scope="session")
def finished(plan_of: Callable[..., Plan], tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A comparison that has come to its end; not to be changed."""
    plan = plan_of(tmp_path_factory.mktemp("finished") / "out")
    do_all(plan)
    return plan
