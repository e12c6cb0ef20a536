"""A step of training: its batch of items, what is hidden of them, the negatives added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tgqformer.comparison.cell import OtherMetadata
from tgqformer.errors import ConfigError
from tgqformer.objectives import image_text_contrast
from tgqformer.training.data import StepDataset
from tgqformer.training.losses import batch_loss, per_item
from tgqformer.training.mining import NEIGHBOURS, SKIPPED, HardNegatives

SHOP_ALONE = {"noise.views": 0}


def test_a_step_knows_what_belongs_together(shop, config_of, embedder_of):
    config = config_of(**SHOP_ALONE)
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    query, target, _ = shop.pair_indices("train")
    pairs = set(zip(query.tolist(), target.tolist()))
    step, (q, t) = dataset[1], dataset.batches.batch(1)
    rows = [*q.tolist(), *t.tolist()]
    texts = [dataset.texts[0][r] for r in rows]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            told = bool(step.facts.known[i, j])
            assert told == (a == b or (a, b) in pairs or (b, a) in pairs)
            assert bool(step.facts.same_text[i, j]) == (texts[i] == texts[j])


def test_metadata_is_alike_where_the_connector_reads_it_so(shop, config_of, embedder_of):
    config = config_of(batch_size=16)
    kinds = {item.item_id: item.title.partition(" ")[0] for item in shop.items}
    embedder = OtherMetadata(embedder_of(config, shop), kinds, backbone=False)
    step = StepDataset(embedder, shop, config.training)[0]
    read = step.chunks[0].towers.text_global
    assert torch.equal(step.facts.same_text, (read[:, None] == read[None, :]).all(dim=-1))


def test_a_step_is_a_function_of_its_number(shop, config_of, embedder_of):
    config = config_of(**{"dropout.metadata": 0.3, "dropout.image": 0.3, "dropout.prompt": 0.3})
    embedder = embedder_of(config, shop)
    a, b = (StepDataset(embedder, shop, config.training) for _ in range(2))
    b[0], b[4]
    for x, y in zip(a[2].chunks, b[2].chunks, strict=True):
        assert torch.equal(x.towers.presence, y.towers.presence)
        assert torch.equal(x.prompt.input_ids, y.prompt.input_ids)
    with pytest.raises(IndexError):
        a[6]


@pytest.mark.parametrize(("part", "column"), [("image", 0), ("metadata", 1)])
def test_dropout_hides_a_part_and_nothing_else(shop, config_of, embedder_of, part, column):
    config = config_of(batch_size=16, **{f"dropout.{part}": 0.5})
    embedder = embedder_of(config, shop)
    hidden = StepDataset(embedder, shop, config.training)[0].chunks[0]
    plain_config = config_of(batch_size=16)
    shown = StepDataset(embedder, shop, plain_config.training)[0].chunks[0]
    before, after = shown.towers.presence, hidden.towers.presence
    assert torch.equal(before[:, 1 - column], after[:, 1 - column])
    lost = before[:, column] & ~after[:, column]
    assert 4 < int(lost.sum()) < 28
    assert not bool((after[:, column] & ~before[:, column]).any())


def test_prompt_dropout_leaves_the_connector_its_guide(shop, config_of, embedder_of):
    config = config_of(**{"dropout.prompt": 0.9})
    embedder = embedder_of(config, shop)
    hidden = StepDataset(embedder, shop, config.training)[0].chunks[0]
    shown = StepDataset(embedder, shop, config_of().training)[0].chunks[0]
    assert torch.equal(hidden.towers.text, shown.towers.text)
    assert hidden.prompt.attention_mask.sum() < shown.prompt.attention_mask.sum()


def test_swapped_metadata_is_another_items_and_no_positive_of_the_agreement(
    shop, config_of, embedder_of
):
    config = config_of(batch_size=16, **SHOP_ALONE, **{"dropout.swap": 0.5})
    embedder = embedder_of(config, shop)
    swapped = StepDataset(embedder, shop, config.training)[0]
    plain = StepDataset(embedder, shop, config_of(batch_size=16, **SHOP_ALONE).training)[0]
    own = swapped.facts.own_text
    assert 4 < int((~own).sum()) < 28
    assert bool(plain.facts.own_text.all())
    before, after = plain.chunks[0], swapped.chunks[0]
    assert torch.equal(before.towers.visual, after.towers.visual)
    assert torch.equal(before.towers.text_global[own], after.towers.text_global[own])
    assert not torch.equal(before.towers.text_global[~own], after.towers.text_global[~own])
    same = after.towers.text_global
    assert torch.equal(swapped.facts.same_text, (same[:, None] == same[None, :]).all(dim=-1))
    output = embedder.model(after)
    _, terms = batch_loss(
        per_item(output, config.training.loss), swapped.facts, config.training.loss
    )
    kept = image_text_contrast(
        output.connector.projections["image"],
        output.connector.projections["text"],
        output.scales["agreement"].mean(),
        (output.complete[:, 0] > 0) & own,
        swapped.facts.same_text,
    )
    torch.testing.assert_close(terms["agreement"], kept)


def test_swapped_metadata_is_that_of_training_items(shop, config_of, embedder_of):
    config = config_of(batch_size=16, **SHOP_ALONE, **{"dropout.swap": 0.9})
    dataset = StepDataset(embedder_of(config, shop), shop, config.training)
    rows = np.concatenate(dataset.batches.batch(0))
    query, target, _ = shop.pair_indices("train")
    told = [dataset._told(rows, np.random.default_rng(seed)) for seed in range(20)]
    assert set(np.concatenate(told).tolist()) == {*query.tolist(), *target.tolist()}


def test_two_processes_share_a_step(shop, config_of, embedder_of):
    config = config_of(chunk_size=3, **{"dropout.image": 0.3})
    embedder = embedder_of(config, shop)
    whole = StepDataset(embedder, shop, config.training)[0]
    halves = [
        StepDataset(embedder, shop, config.training, rank=r, processes=2)[0] for r in range(2)
    ]
    presence = torch.cat([c.towers.presence for h in halves for c in h.chunks])
    expected = torch.cat([c.towers.presence for c in whole.chunks])
    assert torch.equal(presence[halves[0].order], expected)
    assert torch.equal(halves[1].facts.known, whole.facts.known)


def test_a_batch_must_divide_among_the_processes(shop, config_of, embedder_of):
    config = config_of(batch_size=9)
    with pytest.raises(ConfigError, match=r"batch_size \(9\) must be a multiple .* \(2\)"):
        StepDataset(embedder_of(config, shop), shop, config.training, processes=2)


# -- hard negatives -------------------------------------------------------------------------------


def test_hard_negatives_are_unknown_and_new_to_the_batch(shop, config_of, embedder_of, monkeypatch):
    config = config_of(hard_negatives=2, mine_every=3, alignment_steps=1, **SHOP_ALONE)
    embedder = embedder_of(config, shop)
    dataset = StepDataset(embedder, shop, config.training)
    mining = HardNegatives(embedder, dataset, config.training)
    for step in (0, 1, 3):
        mining.before_step(step)
        assert dataset.hard is None
    mining.before_step(4)
    hard = dataset.hard
    assert hard.shape == (len(shop), NEIGHBOURS - SKIPPED)
    query, target, _ = shop.pair_indices("train")
    trained = set(np.concatenate([query, target]).tolist())
    for row in range(len(shop)):
        found = hard[row][hard[row] >= 0]
        assert bool(len(found)) == (row in trained)
        known = dataset.known.mask(np.concatenate([[row], found]))[0, 1:]
        assert not known.any()
        assert set(found.tolist()) <= trained
    ids: list[str] = []
    make = embedder.batch
    monkeypatch.setattr(
        embedder,
        "batch",
        lambda items, **k: (ids.extend(i.item_id for i in items), make(items, **k))[1],
    )
    assert dataset[0].facts.known.shape == (32, 32)  # 8 pairs and two negatives for each
    assert len(set(ids)) == 32
    again = dataset.hard.copy()
    mining.before_step(4)
    assert np.array_equal(dataset.hard, again)


def test_mined_tables_come_back(shop, config_of, embedder_of, tmp_path):
    config = config_of(hard_negatives=1, mine_every=2)
    embedder = embedder_of(config, shop)
    first, second = (StepDataset(embedder, shop, config.training) for _ in range(2))
    mining = HardNegatives(embedder, first, config.training)
    mining.before_step(2)
    mining.save(tmp_path)
    HardNegatives(embedder, second, config.training).load(tmp_path)
    assert np.array_equal(first.hard, second.hard)
