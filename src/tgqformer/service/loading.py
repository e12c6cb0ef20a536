"""Loading a model where its threads do not stay behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Loaded = TypeVar("_Loaded")


def in_passing(load: Callable[[], _Loaded]) -> _Loaded:
    """What `load` returns, called in a thread that then ends.

    OpenMP keeps helpers for every thread that ever computed in parallel. Those of the thread that
    loaded a model, beside those of the worker that runs it, are more than there are cores, and
    libgomp then lets all of them sleep at each barrier: on two cores a third of the embeddings.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load).result()
