"""Options of a download."""

from __future__ import annotations

from dataclasses import dataclass

from tgqformer.catalog.images import MAX_PIXELS
from tgqformer.errors import ConfigError


@dataclass(frozen=True)
class DownloadConfig:
    """Options of a download.

    Attributes:
        workers: photos fetched at the same time.
        rate: requests a second to one host, at most.
        retries: further tries after a fault that may pass: no answer, 429, 5xx, a body cut short.
        timeout: seconds for one answer, from the connection to the last byte.
        backoff: seconds before the first further try, doubled for each one after it, up to a
            minute, less a random part.
        max_bytes: larger photos are refused.
        max_pixels: photos of more pixels are refused before they are decoded.
        max_side: larger photos are scaled down to so many pixels on the longer side and kept as
            JPEG; None keeps every photo as it came.
        retry_failed: try those again that failed in an earlier run.
        allow_private: also fetch from private and local addresses, as of a shop's own network.
    """

    workers: int = 16
    rate: float = 50.0
    retries: int = 4
    timeout: float = 30.0
    backoff: float = 1.0
    max_bytes: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    max_side: int | None = None
    retry_failed: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "max_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be 1 or more.")
        for name in ("rate", "timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} ({getattr(self, name)}) must be a number above 0.")
        for name in ("retries", "backoff"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} ({getattr(self, name)}) must not be negative.")
        if self.max_side is not None and self.max_side < 32:
            raise ConfigError(f"max_side ({self.max_side}) must be 32 pixels or more, or none.")
