"""Randomness with an address: one stream for each (seed, purpose, item), whoever asks first.

Only `Generator.random` and `Generator.integers` over PCG64 are used, whose streams do not change
between NumPy versions, so that a seed gives the same shop everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def stream(seed: int, purpose: str, *address: int | str) -> np.random.Generator:
    """Return the generator for one purpose; other purposes and items are independent of it."""
    text = "/".join(str(part) for part in (seed, purpose, *address))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def shuffled(things: Sequence[T], rng: np.random.Generator) -> list[T]:
    """Return the things in random order (Fisher-Yates)."""
    result = list(things)
    for i in range(len(result) - 1, 0, -1):
        j = int(rng.integers(i + 1))
        result[i], result[j] = result[j], result[i]
    return result


def sample(things: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Return `count` different ones of the things, in random order."""
    return shuffled(things, rng)[:count]
