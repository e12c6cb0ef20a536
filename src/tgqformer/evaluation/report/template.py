"""From a template to a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tgqformer.files import write_text

_PACKAGE = "tgqformer.evaluation.report"


def write_page(
    path: str | os.PathLike[str], template: str, *, packages: tuple[str, ...] = (), **values: Any
) -> None:
    """Render `template` with `values`, every one of them escaped, and write it to `path`.

    Args:
        packages: more packages whose folder templates/ is searched, before this one's.

    Raises:
        StorageError: the file cannot be written.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, _PACKAGE)]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["format_count"] = "{:,}".format
    page = environment.get_template(template).render(**values)
    # A lone surrogate in a title has no UTF-8; it is shown as a question mark.
    write_text(Path(path), page.encode("utf-8", "replace").decode("utf-8"))
