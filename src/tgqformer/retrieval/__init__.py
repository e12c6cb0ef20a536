"""Finding neighbours: embeddings on disk, exact top-k, and a store that can be changed.

From the disk upwards: `store` (SQLite, durable), `flat` (all vectors in memory, exact, always the
judge), `ann` (FAISS HNSW or IVF, approximate, measured against the flat index), `search` (the three
together). `qdrant` offers the same `VectorStore` on a cluster. Nothing here imports torch.
"""
