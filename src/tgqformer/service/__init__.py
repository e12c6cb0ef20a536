"""The HTTP API over trained models and their stores: `app.create_app`, run by `tgqformer serve`.

From the wire inwards: `server` (connections), `observing` (logs, metrics), `keys` (who may, and
limits), `routes`, `schemas` (the shapes), `failures` (refusals), `incoming` (from JSON to items),
`batching` (one worker for each kind of work), `context` (what every route uses), `served` (a model
with its store), `explanation` (why, and the map). Nothing here imports torch: models come as
`Embedder`s, explanations as `Explainer`s.
"""
