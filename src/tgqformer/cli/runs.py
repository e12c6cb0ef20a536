"""What commands ask of a run's folder: where its model is, and whether vectors came from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgqformer.errors import ModelError, StorageError

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.evaluate import Precomputed
    from tgqformer.evaluation.metrics import Scorer
    from tgqformer.mllm import MLLMEmbedder
    from tgqformer.retrieval.scores import Rows

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


def load_embedder(run: Path, cache: Path | None = None) -> ItemEmbedder | MLLMEmbedder:
    """Load a run's model, whichever of the two kinds it is.

    Args:
        cache: where tower outputs are kept; an end-to-end MLLM has none.

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    folder = model_folder(run)
    if _is_mllm(folder):
        from tgqformer.mllm import MLLMEmbedder

        return MLLMEmbedder.from_pretrained(folder)
    from tgqformer.embedder import ItemEmbedder

    return ItemEmbedder.from_pretrained(folder, cache_dir=cache)


def load_item_embedder(run: Path, cache: Path | None, task: str) -> ItemEmbedder:
    """Load a run's model for what asks for towers, connector and backbone apart.

    Args:
        task: what asks for them, and what else to do, as the error tells it.

    Raises:
        ModelError: there is none, it cannot be loaded, or it is an end-to-end MLLM.
    """
    from tgqformer.embedder import ItemEmbedder

    folder = model_folder(run)
    if _is_mllm(folder):
        raise ModelError(
            f"{run} holds an end-to-end MLLM, and this needs a run of `tgqformer train`: {task}."
        )
    return ItemEmbedder.from_pretrained(folder, cache_dir=cache)


def _is_mllm(folder: Path) -> bool:
    from tgqformer.mllm.embedder import KIND

    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # the loader says what is wrong with it
    return isinstance(told, dict) and told.get("model_type") == KIND


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


def check_same_model(run: Path, made_by: str | None, source: Path | str, remedy: str) -> None:
    """Raise where vectors say that another model than the run's made them.

    Args:
        made_by: what they say, a model's digest; None or "" where they do not.
        source: where they are.
        remedy: what to do then, the end of the sentence.

    Raises:
        StorageError: they do.
        ModelError: the run holds no model.
    """
    own = model_digest(run)
    if made_by and made_by != own:
        raise StorageError(
            f"{source} was made by another model ({made_by}) than {run} holds ({own}); {remedy}."
        )


def run_cache(run: Path) -> Path | None:
    """Return the token cache inside a run's folder, None where it keeps none."""
    folder = run / "cache"
    return folder if folder.is_dir() else None


# -- references ------------------------------------------------------------------------------------
# The reference points beside a trained model: what no training reaches, and what a shop has.

TEXT_ONLY = "text only (frozen)"
CONCATENATION = "photo + text (frozen)"
FOLDERS = {
    TEXT_ONLY: "text-only",
    CONCATENATION: "frozen",
    "popularity": "popularity",
    "item-to-item cosine": "item-cosine",
    "EASE": "ease",
}
"""Where `evaluate --out` keeps the figures of each."""
UNASKED_EASE = 5_000  # items: more take minutes, and are only inverted where they are asked for
BATCH = 256  # items whose tower states are held at once where nothing is cached


def reference_points(embedder: ItemEmbedder, catalog: Catalog) -> list[Precomputed]:
    """Return the frozen towers' vectors as embedders: the text's alone, and photo beside text.

    Both use the towers of `embedder` without anything trained. An item without a photo or without
    metadata has zeros in that part and is compared by the other.
    """
    import numpy as np

    from tgqformer.evaluation.evaluate import Precomputed, concat_normalised

    ids = [item.item_id for item in catalog.items]
    starts = range(0, len(catalog), BATCH)
    parts = [embedder.features.globals(catalog.items[i : i + BATCH]) for i in starts]
    text = concat_normalised([np.concatenate([part.text for part in parts])])
    photo = concat_normalised([np.concatenate([part.image for part in parts])])
    both = concat_normalised([photo, text])
    return [Precomputed(TEXT_ONLY, ids, text), Precomputed(CONCATENATION, ids, both)]


def collaborative_points(
    catalog: Catalog,
    split: str,
    log_path: Path | None,
    *,
    user: str,
    item: str,
    time: str,
    wanted: bool | None,
) -> tuple[list[Scorer], Rows | None]:
    """Return popularity, item-to-item cosine and EASE, and how often each item was seen.

    Args:
        wanted: None takes them where the split has warm queries, and tells on stderr if EASE is
            left out for its size.

    Raises:
        CatalogError: there is nothing to learn from.
        ConfigError: EASE is asked for, and too many items were seen.
    """
    import numpy as np

    from tgqformer.cli.options import engagement_line, engagement_of
    from tgqformer.errors import ConfigError
    from tgqformer.evaluation.collaborative import REFERENCES
    from tgqformer.evaluation.evaluate import training_partners

    if split == "train":
        if wanted or log_path is not None:
            raise ConfigError(
                "split is 'train', but the collaborative references have learned its pairs; ask "
                "for val or test."
            )
        return [], None
    if wanted is None and log_path is None:
        queries = np.unique(catalog.pair_indices(split)[0])
        if not training_partners(catalog)[queries].any():
            return [], None
    engagement = engagement_of(catalog, log_path, user=user, item=item, time=time)
    click.echo(engagement_line(engagement, catalog, split), err=True)
    names, items = list(REFERENCES), int((engagement.counts > 0).sum())
    if wanted is None and items > UNASKED_EASE:
        names.remove("ease")
        click.echo(f"EASE of {items:,} items is left out; --collaborative asks for it", err=True)
    return [REFERENCES[name](engagement) for name in names], engagement.seen
