"""What a run's options leave open is filled in by the catalog's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tgqformer.errors import ConfigError
from tgqformer.training.config import TrainingConfig
from tgqformer.training.plan import plan_run


@pytest.mark.parametrize(("steps", "aligned"), [(160, 60), (320, 120), (2, 1), (0, 30)])
def test_an_alignment_stage_of_minus_one_is_three_eighths_of_the_steps(shop, steps, aligned):
    config = TrainingConfig(steps=steps, alignment_steps=-1)
    planned = plan_run(config, shop).training
    assert planned.alignment_steps == aligned == round(3 / 8 * planned.steps)
    assert plan_run(replace(config, alignment_steps=0), shop).training.alignment_steps == 0


def test_an_alignment_stage_below_minus_one_is_refused():
    with pytest.raises(ConfigError, match=r"training\.alignment_steps \(-2\)"):
        TrainingConfig(alignment_steps=-2)
