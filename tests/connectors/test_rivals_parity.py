"""Given the same weights, a rival's stack gives the output of its reference implementation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tgqformer.connectors.blocks import Attention
from tgqformer.connectors.config import ConnectorConfig
from tgqformer.connectors.perceiver import PerceiverLayer, PerceiverStack
from tgqformer.connectors.qformer import PostNormStack

WIDTH, HEADS, QUERIES, TEXT, MEMORY = 16, 4, 3, 5, 7
SIZES = {
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 4,
    "intermediate_size": 4 * WIDTH,
    "encoder_hidden_size": WIDTH,
    "cross_attention_frequency": 2,
    "attn_implementation": "eager",
}
CONFIG = ConnectorConfig(width=WIDTH, heads=HEADS, ffn=4, cross_every=2)


def stirred(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return module.eval()


def copy(ours: nn.Linear | nn.LayerNorm, theirs: nn.Linear | nn.LayerNorm) -> None:
    ours.load_state_dict(theirs.state_dict())


def copy_attention(ours: Attention, out_norm: nn.LayerNorm, theirs) -> None:
    copy(ours.query, theirs.attention.query)
    ours.key.weight.data.copy_(theirs.attention.key.weight)  # a key bias cancels in the softmax
    copy(ours.value, theirs.attention.value)
    copy(ours.out, theirs.output.dense)
    copy(out_norm, theirs.output.LayerNorm)


def copy_stack(ours: PostNormStack, input_norm: nn.LayerNorm, theirs) -> None:
    copy(ours.input_norm, input_norm)
    for mine, its in zip(ours.layers, theirs.encoder.layer, strict=True):
        copy_attention(mine.self_attention, mine.self_norm, its.attention)
        assert (mine.cross_attention is not None) == its.has_cross_attention
        if its.has_cross_attention:
            copy_attention(mine.cross_attention, mine.cross_norm, its.crossattention)
        copy(mine.ffn[0], its.intermediate_query.dense)
        copy(mine.ffn[2], its.output_query.dense)
        copy(mine.ffn_norm, its.output_query.LayerNorm)
        if mine.text_ffn is not None:
            copy(mine.text_ffn[0], its.intermediate.dense)
            copy(mine.text_ffn[2], its.output.dense)
            copy(mine.text_norm, its.output.LayerNorm)


@pytest.fixture
def memory() -> tuple[Tensor, Tensor]:
    """[2, M, D] and a mask that hides the end of the second item's."""
    torch.manual_seed(1)
    mask = torch.ones(2, MEMORY, dtype=torch.bool)
    mask[1, 4:] = False
    return torch.randn(2, MEMORY, WIDTH), mask


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


def test_q_former_is_blip_2s(memory):
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    theirs = stirred(Blip2QFormerModel(Blip2QFormerConfig(**SIZES)))
    ours = PostNormStack(CONFIG, 4).eval()
    copy_stack(ours, theirs.layernorm, theirs)
    queries, (states, mask) = torch.randn(2, QUERIES, WIDTH), memory
    with torch.no_grad():
        expected = theirs(
            query_embeds=queries,
            encoder_hidden_states=states,
            encoder_attention_mask=mask.long(),
            output_attentions=True,
        )
        found, attention = ours(queries, QUERIES, states, mask[:, None, None, :], weights=True)
    close(found, expected.last_hidden_state)
    maps = [a for a in expected.cross_attentions if a is not None]
    assert len(maps) == 2
    close(attention, torch.stack(maps).mean(dim=(0, 2)))


def test_text_conditioned_q_former_is_instruct_blips(memory):
    from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

    settings = InstructBlipQFormerConfig(**SIZES, vocab_size=30, max_position_embeddings=16)
    theirs = stirred(InstructBlipQFormerModel(settings))
    ours = PostNormStack(CONFIG, 4, text=True).eval()
    copy_stack(ours, theirs.embeddings.layernorm, theirs)
    queries, (states, mask) = torch.randn(2, QUERIES, WIDTH), memory
    ids, text_mask = torch.randint(1, 30, (2, TEXT)), torch.ones(2, TEXT, dtype=torch.long)
    text_mask[0, 3:] = 0
    seen = torch.cat([torch.ones(2, QUERIES, dtype=torch.long), text_mask], dim=1)
    with torch.no_grad():
        expected = theirs(
            input_ids=ids,
            attention_mask=seen,
            query_embeds=queries,
            encoder_hidden_states=states,
            encoder_attention_mask=mask.long(),
        )
        text = theirs.embeddings.word_embeddings(ids)
        text = text + theirs.embeddings.position_embeddings(torch.arange(TEXT))
        found, _ = ours(
            torch.cat([queries, text], dim=1),
            QUERIES,
            states,
            mask[:, None, None, :],
            seen.bool()[:, None, None, :],
        )
    close(found, expected.last_hidden_state[:, :QUERIES])


def test_perceiver_is_idefics(memory):
    from transformers import IdeficsConfig
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    settings = IdeficsConfig(
        vision_config={"embed_dim": WIDTH}, perceiver_config={"qk_layer_norms_perceiver": False}
    )
    theirs = stirred(IdeficsPerceiverResampler(settings, WIDTH, 3, HEADS, WIDTH // HEADS, QUERIES))
    layers = []
    for attention, mlp in theirs.blocks:
        ffn = nn.Sequential(mlp.ln, mlp.fc, nn.ReLU(), mlp.c_proj)
        layer = PerceiverLayer(WIDTH, HEADS, ffn)
        copy(layer.memory_norm, attention.context_layer_norm)
        copy(layer.latent_norm, attention.latents_layer_norm)
        pairs = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "output_proj"}
        for mine, its in pairs.items():
            linear = getattr(layer.attention, mine)
            linear.weight.data.copy_(getattr(attention, its).weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        layers.append(layer)
    ours = PerceiverStack(QUERIES, WIDTH, layers).eval()
    ours.latents.data.copy_(theirs.latents)
    copy(ours.norm, theirs.layer_norm)
    states, _ = memory
    everything = torch.ones(2, 1, 1, MEMORY, dtype=torch.bool)  # the reference knows no mask
    with torch.no_grad():
        expected = theirs(states)
        found, _ = ours(states, everything)
        shown, _ = ours(states, everything, weights=True)
    close(found, expected)
    close(shown, expected)
