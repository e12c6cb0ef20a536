"""Finding neighbours: embeddings on disk, exact top-k, and a store that can be changed.

From the disk upwards: `store` (LanceDB, durable), `mirror` (all vectors in memory, exact, always
the judge), `sidecar` (FAISS HNSW or IVF, approximate, measured against the mirror), `local` (the
three together). `qdrant` and `milvus` offer the same `VectorStore` on a cluster. Nothing here
imports torch.
"""
