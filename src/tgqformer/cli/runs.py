"""What commands ask of a run's folder: where its model is, and whether vectors came from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from tgqformer.errors import ModelError, StorageError

if TYPE_CHECKING:
    from tgqformer.retrieval.embeddings import Embeddings

MODEL = "model"


def model_folder(run: Path) -> Path:
    """Return the saved model of a run: its folder ``model``, or the folder itself; or a hub id's.

    Raises:
        ModelError: there is none.
    """
    for folder in (run / MODEL, run):
        if (folder / "config.json").is_file():
            return folder
    if not run.is_dir():
        from tgqformer.embedder.saving import resolve

        return resolve(str(run))
    raise ModelError(
        f"{run} holds no trained model; let `tgqformer train --out {run}` finish, or go on with "
        "--resume."
    )


def model_digest(run: Path) -> str:
    """Return the sha256 of a run's trained weights and configuration, 16 hex digits of it."""
    folder = model_folder(run)
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("config.json")]):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def check_same_model(run: Path, stored: Embeddings, source: Path) -> None:
    """Raise where embeddings say that another model than the run's made them.

    Raises:
        StorageError: they do.
        ModelError: the run holds no model.
    """
    made_by, own = stored.metadata.get("model"), model_digest(run)
    if made_by is not None and made_by != own:
        raise StorageError(
            f"{source} was made by another model ({made_by}) than {run} holds ({own}); run "
            f"`tgqformer embed {run} CATALOG --out {source}` again."
        )


def run_cache(run: Path) -> Path | None:
    """Return the token cache inside a run's folder, None where it keeps none."""
    folder = run / "cache"
    return folder if folder.is_dir() else None
