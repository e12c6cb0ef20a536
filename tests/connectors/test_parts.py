"""Gates, agreement, attention and memory by themselves; options; what the room imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from tgqformer.connectors import CONNECTORS, ConnectorConfig, ConnectorShape, build_connector
from tgqformer.connectors.blocks import Attention, Memory
from tgqformer.connectors.tgqformer import Agreement, ReliabilityGate, csigmoid, modulate
from tgqformer.errors import ConfigError
from tgqformer.towers.base import TowerBatch


def test_csigmoid_is_odd_and_bounded():
    x = torch.linspace(-12, 12, 481)
    y = csigmoid(x)
    torch.testing.assert_close(y, -csigmoid(-x))
    torch.testing.assert_close(y, torch.tanh(x / 2))
    assert bool((y.abs() < 1).all())
    assert csigmoid(torch.zeros(1)).item() == 0.0


def test_modulate_scales_every_token_of_a_stream_alike():
    states, gate = torch.randn(2, 3, 4), torch.randn(2, 4)
    expected = torch.stack([states[b, q] * (1 + gate[b]) for b in range(2) for q in range(3)])
    assert torch.equal(modulate(states, gate), expected.view(2, 3, 4))


def test_a_gate_opens_both_ways_once_it_learns():
    gate = ReliabilityGate([1, 6, 2], 5)
    inputs = [torch.randn(8, 1), torch.randn(8, 6) * 100, torch.ones(8, 2)]
    assert not bool(gate(inputs).any())
    with torch.no_grad():
        gate.last.weight.normal_()
    value = gate(inputs)
    assert bool((value > 0).any())
    assert bool((value < 0).any())


@pytest.mark.parametrize("shared", [True, False])
def test_agreement_is_a_cosine_and_zero_where_a_side_is_missing(shared, states):
    torch.manual_seed(0)
    shape = ConnectorShape(6, 6, 6, 6, 8, shared_space=shared)
    agreement = Agreement(ConnectorConfig(agreement_width=4), shape)
    image, text = torch.randn(4, 6), torch.randn(4, 6)
    presence = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    given = {**states(items=4), "image_global": image, "text_global": text, "presence": presence}
    cosine, projections = agreement(TowerBatch(**given))
    a, b = (image, text) if shared else (agreement.image(image), agreement.text(text))
    expected = F.cosine_similarity(a, b)[:, None] * torch.tensor([[1.0], [0], [0], [0]])
    torch.testing.assert_close(cosine, expected)
    assert set(projections) == (set() if shared else {"image", "text"})
    for x in projections.values():
        torch.testing.assert_close(x.norm(dim=-1), torch.ones(4))


def test_attention_agrees_with_torch():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2).eval(), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    bias = torch.cat([ours.query.bias, torch.zeros(8), ours.value.bias])
    with torch.no_grad():
        theirs.in_proj_weight.copy_(
            torch.cat([ours.query.weight, ours.key.weight, ours.value.weight])
        )
        theirs.in_proj_bias.copy_(bias)
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    queries, memory = torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    mask = torch.rand(3, 5) > 0.3
    mask[:, 0] = True
    expected, weights = theirs(queries, memory, memory, key_padding_mask=~mask)
    for told in (False, True):
        mixed, attention = ours(queries, memory, mask[:, None, None, :], weights=told)
        torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(attention, weights)


def test_memory_does_not_feel_the_scale_of_the_tower():
    torch.manual_seed(0)
    memory, mask = Memory(6, 8), torch.ones(2, 3, dtype=torch.bool)
    tokens = torch.randn(2, 3, 6)
    with torch.no_grad():
        (a, seen), (b, _) = memory(tokens, mask), memory(tokens * 50 + 3, mask)
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
    assert a.shape == (2, 4, 8)
    assert seen.shape == (2, 1, 1, 4)
    assert bool(seen[..., -1].all())


def test_heads_must_divide_width():
    with pytest.raises(ConfigError, match=r"heads \(7\) must divide connector.width \(384\)"):
        ConnectorConfig(width=384, heads=7)
    with pytest.raises(ConfigError, match="heads"):
        ConnectorConfig(width=384, heads=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("anchored", -1),
        ("width", 0),
        ("layers", 0),
        ("ffn", 0),
        ("dropout", 1.0),
        ("agreement_width", 0),
    ],
)
def test_a_wrong_option_is_named(option, value):
    with pytest.raises(ConfigError, match=rf"connector\.{option} \({value}\)"):
        ConnectorConfig(**{option: value})


def test_no_query_at_all_is_refused():
    with pytest.raises(ConfigError, match=r"anchored \(0\) and connector.exploratory \(0\)"):
        ConnectorConfig(anchored=0, exploratory=0)


def test_an_unknown_kind_names_the_known_ones():
    shape = ConnectorShape(4, 4, 4, 4, 4)
    with pytest.raises(ConfigError, match=f"'magic' is unknown.*{sorted(CONNECTORS)[-1]}"):
        build_connector(ConnectorConfig(kind="magic"), shape)


def test_every_kind_builds():
    shape = ConnectorShape(4, 4, 4, 4, 4)
    for kind in CONNECTORS:
        connector = build_connector(ConnectorConfig(kind=kind, width=8, heads=2), shape)
        assert connector.num_tokens in (0, connector.config.tokens)


def test_connectors_and_objectives_import_torch_only():
    heavy = ["transformers", "peft", "accelerate", "PIL", "polars", "pyarrow", "faiss"]
    code = (
        "import sys, tgqformer.connectors, tgqformer.objectives\n"
        f"found = [name for name in {heavy} if name in sys.modules]\n"
        "assert 'torch' in sys.modules and not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
