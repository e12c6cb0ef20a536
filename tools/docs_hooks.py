"""Hooks of mkdocs: pages from outside docs/, and links that work on the site as in the checkout.

LOG.md, CONTRIBUTING.md, CHANGELOG.md and the recipes' pages become pages of the site. A link to one
of them (`../LOG.md`), or from one of them to a page (`docs/results.md`), is turned; a link to any
other file of the checkout is shown as its path, since the site does not know where the code is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("LOG.md", "CONTRIBUTING.md", "CHANGELOG.md")
FOLDERS = ("recipes",)

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def outside() -> list[str]:
    """Paths, from the checkout, of the pages that docs/ does not hold."""
    found = [page for page in PAGES if (ROOT / page).exists()]
    for folder in FOLDERS:
        found += sorted(f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.md"))
    return found


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that live outside docs/."""
    for path in outside():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Turn the page's links between docs/ and the rest of the checkout."""
    source = page.file.src_uri
    place = source if source in outside() else f"docs/{source}"
    known = {file.src_uri for file in files}

    def turned(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        uri = path.removeprefix("docs/")
        if uri in known and (path.startswith("docs/") or path in outside()):
            start = posixpath.dirname(source) or "."
            return f"[{text}]({posixpath.relpath(uri, start)}{anchor})"
        if (ROOT / path).exists() and not path.startswith("docs/"):
            return f"{text} (`{path}`)" if path not in text else f"`{path}`"
        return match[0]  # mkdocs --strict tells what is wrong with it

    return LINK.sub(turned, markdown)
