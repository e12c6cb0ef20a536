"""Each ablation switch removes exactly its part, and leaves the rest as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tgqformer.towers.base import TowerBatch

PAPER = {"grounding": "none"}  # grounding, which is ours, has its laws in test_grounding.py
GATES_OFF = {"anchored_gate": False, "exploratory_gate": False}


def run(connector, states):
    with torch.no_grad():
        return connector(TowerBatch(**states), return_attention=True)


def names(connector) -> set[str]:
    return {name for name, _ in connector.named_parameters()}


def copy_weights(source, target) -> None:
    """Give `target` the weights that both have."""
    own = target.state_dict()
    taken = source.state_dict()
    fits = {n: x for n, x in taken.items() if n in own and own[n].shape == x.shape}
    target.load_state_dict(fits, strict=False)


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)  # other shapes round otherwise


def test_gates_start_as_nothing(build, states):
    gated, bare = build(stirred=False), build(stirred=False, **GATES_OFF)
    copy_weights(gated, bare)
    a, b = run(gated, states()), run(bare, states())
    assert torch.equal(a.tokens, b.tokens)
    assert all(torch.equal(a.streams[name], b.streams[name]) for name in b.streams)
    assert all(not bool(gate.any()) for gate in a.gates.values())


@pytest.mark.parametrize(
    ("switch", "gone", "gates"),
    [
        ({"anchored_gate": False}, ("anchored_gate.", "agreement."), {"exploratory"}),
        ({"exploratory_gate": False}, ("exploratory_gate.",), {"anchored"}),
        ({"agreement_input": False}, ("agreement.",), {"anchored", "exploratory"}),
        (GATES_OFF, ("anchored_gate.", "exploratory_gate.", "agreement."), set()),
        ({"exploratory": 0}, ("exploratory.", "exploratory_gate."), {"anchored"}),
        ({"anchored": 0}, ("anchored.", "anchored_gate.", "agreement."), {"exploratory"}),
        ({"mixing": True}, (), {"anchored", "exploratory"}),
    ],
)
def test_a_switch_takes_its_own_weights_and_outputs(build, states, switch, gone, gates):
    full, cut = build(**PAPER), build(**PAPER, **switch)
    left_out = {n for n in names(full) if n.startswith(gone)} if gone else set()
    assert bool(left_out) == bool(gone)
    # the gate of the anchored stream has inputs of its own number, so its norms are counted anew
    here = {n for n in names(cut) if not n.startswith("anchored_gate.")}
    assert here == {n for n in names(full) - left_out if not n.startswith("anchored_gate.")}
    kept = [s for s in ("anchored", "exploratory") if switch.get(s, 1)]
    out = run(cut, states())
    assert list(out.streams) == list(cut.stream_names) == kept
    assert set(out.gates) == gates
    assert set(out.attention) == set(kept)
    assert bool(out.projections) == ("agreement." not in gone)
    assert out.tokens.shape[1] == cut.num_tokens


@pytest.mark.parametrize("switch", [{"anchored_gate": False}, {"agreement_input": False}])
def test_without_the_anchored_gate_the_exploratory_stream_is_as_before(build, states, switch):
    full, cut = build(), build(**switch)
    copy_weights(full, cut)
    a, b = run(full, states()), run(cut, states())
    assert torch.equal(a.tokens[:, 3:], b.tokens[:, 3:])
    assert torch.equal(a.gates["exploratory"], b.gates["exploratory"])
    assert not torch.allclose(a.tokens[:, :3], b.tokens[:, :3])


def test_without_the_exploratory_gate_the_anchored_stream_is_as_before(build, states):
    full, cut = build(), build(exploratory_gate=False)
    copy_weights(full, cut)
    a, b = run(full, states()), run(cut, states())
    assert torch.equal(a.tokens[:, :3], b.tokens[:, :3])
    assert not torch.allclose(a.tokens[:, 3:], b.tokens[:, 3:])


@pytest.mark.parametrize(
    ("removed", "rest"), [("exploratory", slice(0, 3)), ("anchored", slice(3, 5))]
)
def test_a_stream_does_not_need_the_other(build, states, removed, rest):
    full, cut = build(**GATES_OFF), build(**GATES_OFF, **{removed: 0})
    copy_weights(full, cut)
    a, b = run(full, states()), run(cut, states())
    assert_close(a.tokens[:, rest], b.tokens)
    for name in b.attention:
        assert_close(a.attention[name], b.attention[name])


@pytest.mark.parametrize("mixing", [False, True])
def test_streams_stay_apart_unless_mixed(build, states, mixing):
    connector = build(mixing=mixing, **PAPER)
    given = states()
    told = dict(given, text=states(seed=1)["text"], text_global=-given["text_global"])
    a, b = run(connector, given), run(connector, told)
    assert not torch.allclose(a.tokens[:, :3], b.tokens[:, :3])
    same = torch.equal(a.tokens[:, 3:], b.tokens[:, 3:])
    assert same is not mixing
    with torch.no_grad():
        connector.anchored.slots.mul_(-1.5)
    c = run(connector, given)
    assert torch.equal(a.tokens[:, 3:], c.tokens[:, 3:]) is not mixing


def test_the_anchored_gate_weighs_the_agreement(build, states, shared):
    connector, given = build(shape=shared, **PAPER), states(shape=shared)
    agreeing = dict(given, text_global=given["image_global"].clone())
    a, b = run(connector, given), run(connector, agreeing)
    assert not torch.allclose(a.gates["anchored"], b.gates["anchored"])
    assert torch.equal(a.gates["exploratory"], b.gates["exploratory"])
    assert a.projections == {}  # towers that share a space need no learned one
    blind = build(shape=shared, agreement_input=False, **PAPER)
    c, d = run(blind, given), run(blind, agreeing)
    assert torch.equal(c.gates["anchored"], d.gates["anchored"])


def test_grounding_tells_the_agreement_to_who_inspects_and_not_to_the_gate(build, states):
    shown, blind = build(grounding="all"), build(grounding="all", agreement_input=False)
    copy_weights(shown, blind)
    a, b = run(shown, states()), run(blind, states())
    assert torch.equal(a.agreement, b.agreement)
    assert set(a.projections) == set(b.projections) == {"image", "text"}  # trained all the same
    widths = [one.anchored_gate.hidden.in_features for one in (shown, blind)]
    assert widths[0] - widths[1] == 1
