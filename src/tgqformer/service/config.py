"""How the service runs: its limits, and how a model is loaded for it.

Every limit is a rule that a request is told when it breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from tgqformer.errors import ConfigError

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True)
class ServiceConfig:
    """Options of the service; sizes in bytes, times in seconds.

    Attributes:
        max_body: of one request.
        max_bodies: of all requests under way together.
        max_requests: under way together; more are refused with 429.
        max_pixels: of one photo, before it is decoded.
        max_images: photos of one item.
        max_batch: items or inputs of one request.
        max_k: neighbours asked for.
        max_queued: items that wait to be embedded.
        max_searches: searches that wait.
        max_writes: items that wait to be stored.
        batch: items embedded together.
        batch_wait: how long the first of a batch waits for others.
        timeout: from a complete request to its answer.
        body_timeout: from the first to the last byte of a body.
        header_timeout: from a connection to the last header; an idle one is closed after it too.
        shutdown_timeout: for what is under way when the service is asked to stop.
        image_hosts: hosts that photos may be fetched from, "host" or "host:port"; none by default.
        image_timeout: of one such fetch.
        max_image_bytes: of one photo so fetched.
        map_items: items on the map, drawn where there are more.
    """

    max_body: int = 16 * 2**20
    max_bodies: int = 256 * 2**20
    max_requests: int = 256
    max_pixels: int = 24_000_000
    max_images: int = 8
    max_batch: int = 256
    max_k: int = 1000
    max_queued: int = 512
    max_searches: int = 1024
    max_writes: int = 4096
    batch: int = 32
    batch_wait: float = 0.003
    timeout: float = 30.0
    body_timeout: float = 20.0
    header_timeout: float = 10.0
    shutdown_timeout: float = 30.0
    image_hosts: tuple[str, ...] = ()
    image_timeout: float = 5.0
    max_image_bytes: int = 12 * 2**20
    map_items: int = 4000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "image_hosts" or (name == "batch_wait" and value == 0):
                continue
            if not 0 < value < float("inf"):
                raise ConfigError(f"service option {name} ({value}) must be a number above 0.")


def in_passing(load: Callable[[], _Loaded]) -> _Loaded:
    """What `load` returns, called in a thread that then ends.

    OpenMP keeps helpers for every thread that ever computed in parallel. Those of the thread that
    loaded a model, beside those of the worker that runs it, are more than there are cores, and
    libgomp then lets all of them sleep at each barrier: on two cores a third of the embeddings.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(load).result()
