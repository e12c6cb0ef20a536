"""The model card of a saved embedder."""

from __future__ import annotations

import json
from typing import Any

from tgqformer.config import to_dict
from tgqformer.embedder.config import EmbedderConfig
from tgqformer.packaged import terms

_CARD = """---
library_name: tgqformer
pipeline_tag: feature-extraction
tags: [item-embeddings, e-commerce, multimodal, tgqformer]
---

# Item embeddings by TGQ-Former

Embeds products (photos, title, brand, category, attributes) so that neighbours are what shoppers
want next. Method: TGQ-Former, KDD 2026, arXiv 2605.17366.

| | |
|---|---|
| image tower (frozen, not in this folder) | {image} |
| text tower (frozen, not in this folder) | {text} |
| backbone ({train}) | {backbone} |
| connector | {connector}, {queries} |
| base | {base} |
| dimensions | {dims}{matryoshka} |
| trained weights | {count:,} |{terms}

```python
from tgqformer import ItemEmbedder

embedder = ItemEmbedder.from_pretrained("PATH")
vectors = embedder.encode(items)  # float32 [N, {dims}]
```

Or by sentence-transformers, which asks for `trust_remote_code` because the code is tgqformer's:

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH", trust_remote_code=True)
vectors = model.encode([{{"title": "Desk lamp", "image": "lamp.jpg"}}, "a title alone"])
```

## Figures

{facts}

## Configuration

```json
{config}
```
"""


def model_card(config: EmbedderConfig, facts: dict[str, Any], count: int) -> str:
    """Markdown with the architecture, the figures in `facts`, and the whole configuration."""
    c, language = config.connector, config.language
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    used = [config.image_tower.name, config.text_tower.name]
    used += [language.name] if config.has_backbone and language.kind == "hf" else []
    bound = [f"\n| bound by the terms of | {licence} |" for licence in terms(used)]
    return _CARD.format(
        image=f"{config.image_tower.kind} {config.image_tower.name}".strip(),
        text=f"{config.text_tower.kind} {config.text_tower.name}".strip(),
        train=language.train,
        backbone=language.name if language.kind == "hf" else language.kind,
        connector=c.kind,
        base=config.base,
        queries=f"{c.anchored} anchored and {c.exploratory} exploratory queries",
        dims=config.dims,
        matryoshka=f", also {', '.join(map(str, config.matryoshka))}" if config.matryoshka else "",
        count=count,
        terms="".join(bound),
        facts="\n".join(lines) or "None were recorded.",
        config=json.dumps(to_dict(config), indent=2),
    )
