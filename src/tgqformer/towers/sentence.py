"""A frozen sentence encoder as the text tower: any Hugging Face AutoModel that encodes text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tgqformer.hub import load, load_network, tokenizer_digest
from tgqformer.towers.base import TextTower, TowerOutput
from tgqformer.towers.hashing import count_special, count_tokens, token_spans
from tgqformer.towers.load import TextTowerConfig
from tgqformer.towers.vision import hidden_layer, probe


class SentenceTower(TextTower):
    """Tokens: one layer's hidden states. Global: their mean over real tokens, L2-normalised.

    The pooling is always that of the last layer, as sentence encoders are trained.
    """

    num_tokens = None

    def __init__(self, config: TextTowerConfig) -> None:
        from transformers import AutoModel, AutoTokenizer

        module = load_network(
            AutoModel, config.name, config.revision, random_weights=config.random_weights
        )
        if isinstance(getattr(module, "pooler", None), torch.nn.Module):
            module.pooler = None  # not used, and random where a checkpoint lacks it
        self.tokenizer: Any
        if config.random_weights:
            from tgqformer.towers.hashing import HashTokenizer

            self.tokenizer = HashTokenizer.for_settings(module.config)
        else:
            self.tokenizer = load(AutoTokenizer, config.name, config.revision)
        self._tokenizer_digest = tokenizer_digest(self.tokenizer)
        self.layer = config.layer
        positions = int(getattr(module.config, "max_position_embeddings", None) or 512)
        self.max_tokens = min(config.max_tokens, positions)
        self.special_tokens = count_special(self.tokenizer)
        super().__init__(module, dtype=config.dtype)
        probe(self)

    def spec(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "max_tokens": self.max_tokens,
            "tokenizer": self._tokenizer_digest,
        }

    def count(self, text: str) -> int:
        return count_tokens(self.tokenizer, text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return token_spans(self.tokenizer, text, self.max_tokens)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TowerOutput:
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            padding_side="right",
            return_tensors="pt",
        )
        batch = {name: x.to(self.device) for name, x in batch.items()}
        mask = batch["attention_mask"].bool()
        out = self.module(**batch, output_hidden_states=self.layer is not None, return_dict=True)
        last = out.last_hidden_state
        tokens = last
        if self.layer is not None:
            tokens = hidden_layer(out.hidden_states, self.layer, "the text tower")
        weights = mask.unsqueeze(-1).to(last.dtype)
        pooled = (last * weights).sum(1) / weights.sum(1).clamp(min=1)
        return TowerOutput(tokens, mask, torch.nn.functional.normalize(pooled.float(), dim=-1))
