"""Finding neighbours: exact top-k, embeddings on disk, and smaller vectors.

The durable store and the approximate index will live here too; neither may import torch.
"""
