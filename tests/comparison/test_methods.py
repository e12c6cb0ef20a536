"""Laws of the methods: rivals as published, and those that differ by their connector alone."""

from __future__ import annotations

import pytest

from tgqformer.comparison.methods import ABLATIONS, EXTRA, METHODS, find_methods
from tgqformer.config import override
from tgqformer.presets import load_preset


@pytest.mark.parametrize("name", [*METHODS, *EXTRA, *ABLATIONS])
def test_every_method_is_a_configuration_of_the_preset_at_its_budget(name: str) -> None:
    base = load_preset("paper")
    method = find_methods([name])[name]
    config = method.configure(base)
    assert config.training.steps == base.training.steps
    assert config.training.batch_size == base.training.batch_size
    if not name.startswith("queries_"):
        assert config.embedder.connector.tokens == base.embedder.connector.tokens


RIVALS = {n: m for n, m in (METHODS | EXTRA).items() if m.group in ("rival", "simple")}
OURS_ALONE = ("training.noise.views=2", "embedder.connector.grounding=all", "training.popularity=1")


@pytest.mark.parametrize("preset", ["offline", "tiny", "paper"])
def test_rivals_are_as_published_whatever_of_ours_the_preset_has(preset: str) -> None:
    base = override(load_preset(preset), OURS_ALONE)
    for name, method in RIVALS.items():
        if name.endswith("_full"):
            continue
        config = method.configure(base)
        embedder, training = config.embedder, config.training
        assert (embedder.base, embedder.reliability) == ("none", False), name
        assert (training.noise.views, training.popularity) == (0, 0), name
        assert embedder.connector.steered == "none", name
        assert embedder.fusion == ("late" if name == "notellm2" else "none"), name
        assert embedder.has_backbone == (name != "clip_sum"), name
        assert (training.alignment_steps == -1) == embedder.has_backbone, name
    assert METHODS["tgqformer"].configure(base) == base


@pytest.mark.parametrize("preset", ["offline", "tiny", "paper"])
def test_a_rival_with_everything_differs_from_ours_by_its_connector_alone(preset: str) -> None:
    base = override(load_preset(preset), OURS_ALONE)
    for name, method in RIVALS.items():
        if not name.endswith("_full"):
            continue
        config = method.configure(base)
        looks = METHODS.get(name.removesuffix("_full")) or EXTRA[name.removesuffix("_full")]
        steered = "none" if name in ("clip_sum_full", "cabstractor_full") else "all"
        assert config.embedder.connector.steered == steered, name
        assert config.embedder.connector.kind == looks.configure(base).embedder.connector.kind
        as_ours = ["kind=tgqformer", "cross_every=2", "grounding=all"]
        again = override(config, [f"embedder.connector.{option}" for option in as_ours])
        assert again == base, name


@pytest.mark.parametrize("preset", ["offline", "paper"])
def test_the_papers_own_has_nothing_of_ours(preset: str) -> None:
    config = ABLATIONS["tgqformer_paper"].configure(load_preset(preset))
    assert config.embedder.has_backbone
    connector, loss = config.embedder.connector, config.training.loss
    assert (config.embedder.base, connector.steered, connector.positions) == ("none", "none", False)
    gates = connector.anchored_gate, connector.exploratory_gate, connector.agreement_input
    assert all(gates)
    assert (loss.visual, loss.exploratory, loss.redundancy) == (0, 0, 0.1)
    assert (config.training.noise.views, config.training.alignment_steps) == (0, 0)
