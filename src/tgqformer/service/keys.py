"""API keys: who may read, and who may write too."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tgqformer.errors import ConfigError

Right = Literal["read", "write"]
MIN_CHARS = 16


@dataclass(frozen=True)
class Keys:
    """Known keys, as digests: a dump of this process's memory does not hold the keys themselves.

    Attributes:
        digests: sha256 of a key, and its right; none at all let everybody do everything.
    """

    digests: tuple[tuple[bytes, Right], ...] = ()

    @classmethod
    def parse(cls, lines: Iterable[str], source: str) -> Keys:
        """Read lines ``read KEY`` and ``write KEY``; empty ones and those with # do not count.

        Raises:
            ConfigError: a line is neither, a key is shorter than MIN_CHARS, or there is none. The
                message names the line, never the key.
        """
        found: list[tuple[bytes, Right]] = []
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or words[0] not in ("read", "write"):
                raise ConfigError(
                    f"line {number} of {source} is no key; write `read KEY` or `write KEY`."
                )
            if len(words[1]) < MIN_CHARS:
                raise ConfigError(
                    f"the key in line {number} of {source} has {len(words[1])} characters, but "
                    f"needs {MIN_CHARS}; make one with `openssl rand -hex 24`."
                )
            found.append((_digest(words[1]), "write" if words[0] == "write" else "read"))
        if not found:
            raise ConfigError(f"{source} holds no key; write `read KEY` or `write KEY` in it.")
        return cls(tuple(found))

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file of keys; ConfigError where it cannot be."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise ConfigError(f"the keys {path} cannot be read ({reason}).") from None
        return cls.parse(text.splitlines(), str(path))

    def __bool__(self) -> bool:
        return bool(self.digests)

    def right(self, authorization: str) -> Right | None:
        """The right that a header ``Bearer KEY`` gives; every key is compared, in constant time."""
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        right: Right | None = None
        for digest, its in self.digests:
            if hmac.compare_digest(given, digest):
                right = "write" if "write" in (its, right) else "read"
        return right if scheme.lower() == "bearer" else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
