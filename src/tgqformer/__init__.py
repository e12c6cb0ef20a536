"""TGQ-Former: item embeddings whose neighbours hold up under noisy product photos."""

__version__ = "0.1.0"
