"""What a run's options leave open is filled in by the catalog's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tgqformer.errors import ConfigError
from tgqformer.training.config import TrainingConfig
from tgqformer.training.run import plan_run, steps_for


@pytest.mark.parametrize(("steps", "aligned"), [(160, 60), (320, 120), (2, 1), (0, 30)])
def test_an_alignment_stage_of_minus_one_is_three_eighths_of_the_steps(shop, steps, aligned):
    config = TrainingConfig(steps=steps, alignment_steps=-1)
    planned = plan_run(config, shop).training
    assert planned.alignment_steps == aligned == round(3 / 8 * planned.steps)
    assert plan_run(replace(config, alignment_steps=0), shop).training.alignment_steps == 0


def test_an_alignment_stage_below_minus_one_is_refused():
    with pytest.raises(ConfigError, match=r"training\.alignment_steps \(-2\)"):
        TrainingConfig(alignment_steps=-2)


def test_the_plan_grows_with_what_there_is_twofold_for_eight_times_as_much():
    assert steps_for(20_000, 100) == steps_for(100, 40_000) == 400
    assert steps_for(160_000, 0) == 800
    assert steps_for(10, 0) == 80
    assert steps_for(10, 10**14) == 20_000
    sizes = [steps_for(n, 0) for n in (1000, 10_000, 100_000, 10**6)]
    assert sizes == sorted(sizes)
    assert all(steps % 10 == 0 for steps in sizes)


def test_the_plan_fills_in_what_is_left_open_and_nothing_else(ring):
    catalog = ring(300, "train", "val")
    open_plan = plan_run(TrainingConfig(), catalog)
    assert open_plan.training.steps == steps_for(300, 300)
    assert open_plan.training.eval_every == open_plan.training.steps // 10
    assert (open_plan.items, open_plan.pairs, open_plan.validation) == (300, 300, 300)
    asked = TrainingConfig(steps=7, eval_every=0, batch_size=200)
    assert plan_run(asked, catalog).training == asked


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("items", [8, 25, 50, 300])
def test_a_planned_batch_can_be_filled_and_shared(items, processes, ring):
    catalog = ring(items, "train")
    batch = plan_run(TrainingConfig(), catalog, processes=processes).training.batch_size
    assert batch % processes == 0
    assert 2 <= batch <= 64
    assert 2 * batch <= items


def test_the_plan_is_told_in_words(ring):
    told = str(plan_run(TrainingConfig(), ring(300, "train"), held_out=30))
    assert told.startswith(f"300 items, 300 pairs: {steps_for(300, 300)} steps of 64 pairs\n")
    assert "30 queries are held out" in told
    assert "no pairs (noise views alone)" in str(plan_run(TrainingConfig(), ring(300)))
