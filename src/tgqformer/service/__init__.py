"""The HTTP API over trained models and their stores: `app.create_app`, run by `tgqformer serve`.

From the wire inwards: `gate` (keys, limits), `observing` (logs, metrics), `routes`, `schemas` and
`answers` (the shapes), `pictures` and `incoming` (from JSON to items), `batching` (one worker for
each kind of work), `served` (a model with its store), `records` (what the store has no column for).
Nothing here imports torch: models come as `Embedder`s, explanations as `Explainer`s.
"""
