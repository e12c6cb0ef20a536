"""What every item may count on: masks hold, order and neighbours do not matter, nothing is NaN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tgqformer.connectors import ConnectorOutput
from tgqformer.towers.base import TowerBatch


def run(connector, states, **options) -> ConnectorOutput:
    with torch.no_grad():
        return connector(TowerBatch(**states), **options)


def every_tensor(out: ConnectorOutput) -> list[Tensor]:
    groups = (out.streams, out.gates, out.attention, out.projections)
    return [out.tokens, *(x for group in groups for x in group.values())]


def assert_close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_shapes_and_names(build, states):
    out = run(build(), states(items=5, visual=7), return_attention=True)
    assert out.tokens.shape == (5, 3 + 2, 20)
    assert {name: tuple(x.shape) for name, x in out.streams.items()} == {
        "anchored": (5, 16),
        "exploratory": (5, 16),
    }
    assert {name: tuple(x.shape) for name, x in out.gates.items()} == {
        "anchored": (5, 16),
        "exploratory": (5, 16),
    }
    assert {name: tuple(x.shape) for name, x in out.attention.items()} == {
        "anchored": (5, 3, 7),
        "exploratory": (5, 2, 7),
    }
    assert all(bool((g.abs() < 1).all()) for g in out.gates.values())
    assert all(len(set(g[0].tolist())) > 1 for g in out.gates.values())  # a gate for each channel


def test_attention_is_filled_only_on_request_and_changes_nothing(build, states):
    connector, given = build(), states()
    plain, told = run(connector, given), run(connector, given, return_attention=True)
    assert plain.attention == {}
    assert_close(plain.tokens, told.tokens)


def test_attention_rows_leave_the_rest_to_the_null_token(build, states):
    out = run(build(), states(), return_attention=True)
    for attention in out.attention.values():
        assert bool((attention >= 0).all())
        total = attention.sum(dim=-1)
        assert bool((total < 1).all())
        assert bool((total > 0).all())


def test_masked_visual_tokens_have_no_influence(build, states):
    connector, given = build(), states(visual=7)
    given["visual_mask"][:, 4:] = False
    other = dict(given, visual=given["visual"].clone())
    other["visual"][:, 4:] = 1e4
    a, b = (run(connector, s, return_attention=True) for s in (given, other))
    for x, y in zip(every_tensor(a), every_tensor(b), strict=True):
        assert torch.equal(x, y)
    assert all(not bool(x[..., 4:].any()) for x in a.attention.values())


def test_masked_text_tokens_have_no_influence(build, states):
    connector, given = build(), states(text=6)
    given["text_mask"][:, 3:] = False
    other = dict(given, text=given["text"].clone())
    other["text"][:, 3:] = 1e4
    assert torch.equal(run(connector, given).tokens, run(connector, other).tokens)


def test_padding_changes_nothing(build, states):
    connector, given = build(), states(visual=7, text=6)
    padded = dict(given)
    for name, mask in (("visual", "visual_mask"), ("text", "text_mask")):
        junk = torch.full_like(given[name][:, :3], 7.0)
        padded[name] = torch.cat([given[name], junk], dim=1)
        padded[mask] = torch.nn.functional.pad(given[mask], (0, 3), value=False)
    assert_close(run(connector, given).tokens, run(connector, padded).tokens)


def test_an_item_does_not_see_its_batch(build, states):
    connector, given = build(), states(items=5)
    together = run(connector, given)
    for i in range(5):
        alone = run(connector, {name: x[i : i + 1] for name, x in given.items()})
        for x, y in zip(every_tensor(together), every_tensor(alone), strict=True):
            assert_close(x[i : i + 1], y)


def test_order_of_visual_tokens_moves_attention_and_nothing_else(build, states):
    connector, given = build(), states(visual=7)
    given["visual_mask"][0, 5:] = False
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    moved = dict(
        given, visual=given["visual"][:, order], visual_mask=given["visual_mask"][:, order]
    )
    a, b = (run(connector, s, return_attention=True) for s in (given, moved))
    assert_close(a.tokens, b.tokens)
    for name, attention in a.attention.items():
        assert_close(attention[..., order], b.attention[name])


@pytest.mark.parametrize("missing", ["image", "text", "both"])
@pytest.mark.parametrize("space", ["learned", "shared"])
def test_an_item_without_image_or_text_is_finite(build, states, shared, missing, space):
    options = {"shape": shared} if space == "shared" else {}
    connector = build(**options).train()
    given = states(**options)
    sides = {"image": [0], "text": [1], "both": [0, 1]}[missing]
    names = [("visual", "image_global"), ("text", "text_global")]
    for side in sides:
        tokens, pooled = names[side]
        given[tokens][0], given[pooled][0] = 0, 0
        given[f"{tokens}_mask"][0] = False
        given["presence"][0, side] = False
    leaves = {n: x.requires_grad_() if x.is_floating_point() else x for n, x in given.items()}
    out = connector(TowerBatch(**leaves), return_attention=True)
    assert all(bool(x.isfinite().all()) for x in every_tensor(out))
    loss = sum(x.square().sum() for x in every_tensor(out) if x.requires_grad)
    loss.backward()
    for name, weight in connector.named_parameters():
        assert weight.grad is None or bool(weight.grad.isfinite().all()), name
    for name, x in leaves.items():
        assert x.grad is None or bool(x.grad.isfinite().all()), name


def test_presence_flags_reach_the_gates(build, states):
    connector, given = build(), states()
    told = dict(given, presence=given["presence"].clone())
    told["presence"][0, 0] = False
    a, b = run(connector, given), run(connector, told)
    for name in ("anchored", "exploratory"):
        assert not torch.equal(a.gates[name][0], b.gates[name][0])
        assert torch.equal(a.gates[name][1:], b.gates[name][1:])


def test_every_weight_gets_a_gradient(build, states):
    connector = build(agreement_width=32).train()  # cosines that saturate nothing
    out = connector(TowerBatch(**states()))
    sum(x.square().sum() for x in every_tensor(out)).backward()
    idle = [n for n, w in connector.named_parameters() if w.grad is None or not w.grad.any()]
    # unit projections have a constant square; their own loss is tested with the objectives
    assert [n for n in idle if not n.startswith("agreement.")] == []
