"""Stages of a long command: what is done is remembered, with what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tgqformer.cli.output import plain


class Stages:
    """The record of finished stages in a folder's ``stages.json``.

    A stage counts as done when it was finished with the same inputs and its outputs still stand.
    Its digest is an input of the stages that follow, so that a change is carried on to them.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stages.json"
        self._record: dict[str, dict[str, Any]] = {}
        # none yet, or none that can be read: everything is done anew
        with contextlib.suppress(OSError, ValueError):
            self._record = json.loads(self.path.read_text(encoding="utf-8"))

    def done(self, name: str, inputs: Mapping[str, Any], *outputs: Path) -> bool:
        """Tell whether a stage was finished with these inputs and its outputs exist."""
        entry = self._record.get(name, {})
        return entry.get("digest") == digest(inputs) and all(path.exists() for path in outputs)

    def finish(self, name: str, inputs: Mapping[str, Any], **facts: Any) -> None:
        """Record a stage as done, with facts about it, by temporary file and rename."""
        from tgqformer.files import write_text

        entry = {"digest": digest(inputs), "inputs": plain(inputs), **plain(facts)}
        self._record[name] = entry
        write_text(self.path, json.dumps(self._record, indent=2))

    def facts(self, name: str) -> dict[str, Any]:
        """Return what was recorded of a stage; empty where nothing was."""
        return self._record.get(name, {})


def digest(inputs: Mapping[str, Any]) -> str:
    """Return the sha256 of plain data, 16 hex digits of it."""
    text = json.dumps(plain(inputs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
