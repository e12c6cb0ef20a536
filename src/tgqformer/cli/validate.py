"""``tgqformer validate``: what is in a catalog, what was left out of it, and what leaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgqformer.cli.shared import (
    facts,
    json_option,
    print_json,
    print_quarantine,
    quarantine_option,
    quiet_option,
)

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.items import Item
    from tgqformer.catalog.photos import Placeholder
    from tgqformer.catalog.splits import Leak, Promise

PRESET = "offline"


@click.command(short_help="Check a catalog: bad rows, unreadable photos, leaks.")
@click.argument("catalog_path", metavar="CATALOG", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Stop at the first bad row, as an error.")
@click.option("--images/--no-images", default=True, help="Decode every photo.")
@quarantine_option
@click.option(
    "--promise",
    type=click.Choice(["warm", "query", "cold"]),
    default="query",
    show_default=True,
    help="What the splits promise: warm, no pair in two of them; query, no query; cold, no val or "
    "test query in any earlier pair.",
)
@click.option("--workers", type=click.IntRange(1), help="Threads; by default one for each core.")
@quiet_option
@json_option
def validate(
    catalog_path: Path,
    strict: bool,
    images: bool,
    table_path: Path | None,
    promise: Promise,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Read CATALOG, decode its photos, and tell what breaks a rule or leaks between the splits.

    Where the offline preset's text model is installed it also tells how many texts are longer than
    that reads; this is no fault, and "long_texts" of --json is null where it is not installed. No
    fault are columns that nothing reads, either, which are named with what each likely means.
    Where items have several photos it tells how many of them that preset reads.

    Exit code 0: all is well. 1: something was quarantined or leaks; the rest of the catalog is fit
    for use, as every command leaves out what is quarantined. 2: the catalog cannot be read, or,
    with --strict, a row breaks a rule.
    """
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.catalog.photos import find_placeholders
    from tgqformer.catalog.splits import check_leaks

    catalog = Catalog.load(
        catalog_path,
        strict=strict,
        check_images=images,
        workers=workers,
        progress=not quiet,
    )
    catalog.require_items()
    placeholders = find_placeholders(catalog.items, workers=workers)
    leaks = check_leaks(catalog, promise=promise, progress=not quiet)
    if table_path is not None:
        catalog.quarantine.save(table_path)
    long = _long_texts(catalog.items)
    read = _photos_read(catalog.items)
    if as_json:
        rejected = catalog.quarantine.frame().to_dicts()
        print_json(
            {
                **catalog.describe(),
                "rejections": rejected,
                "leaks": leaks,
                "long_texts": long,
                "photos_read": read,
                "unread_columns": catalog.unread,
                "placeholders": placeholders,
            }
        )
    else:
        _print(catalog, leaks, long, read, placeholders)
    return 1 if len(catalog.quarantine) or leaks else 0


def _photos_read(items: Sequence[Item]) -> dict[str, int]:
    """How many photos of how many items the preset's model reads."""
    from tgqformer.catalog.photos import photos_read
    from tgqformer.presets import load_preset

    return photos_read(items, load_preset(PRESET).embedder.max_images)


def _long_texts(items: Sequence[Item]) -> dict[str, Any] | None:
    """How many items' texts the preset's text tower does not read whole, by its own tokenizer.

    No weight is loaded; None where the tokenizer is not installed.
    """
    from tgqformer.packaged import packaged_folder
    from tgqformer.presets import load_preset

    tower = load_preset(PRESET).embedder.text_tower
    folder = packaged_folder(tower.name)
    if folder is None:
        return None
    from tokenizers import Tokenizer

    from tgqformer.catalog.text import TextLimit, is_cut

    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    limit = TextLimit(
        lambda text: len(tokenizer.encode(text, add_special_tokens=False)),
        tower.max_tokens - tokenizer.num_special_tokens_to_add(False),
    )
    cut = sum(is_cut(item, [limit]) for item in items)
    return {"count": cut, "preset": PRESET, "max_tokens": tower.max_tokens}


def _print(
    catalog: Catalog,
    leaks: list[Leak],
    long: dict[str, Any] | None,
    read: dict[str, int],
    placeholders: list[Placeholder],
) -> None:
    from tgqformer.catalog.photos import tell_photos

    counts = catalog.describe()
    rows: list[tuple[str, object]] = []
    for name, value in counts.items():
        if name == "quarantine":
            continue
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{split} {count:,}" for split, count in value.items())
        rows.append((name, shown))
    facts(f"{catalog.root}", rows)
    print_quarantine(catalog.quarantine)
    if catalog.unread:
        told = ", ".join(map(str, catalog.unread))
        click.echo(
            f"Columns that nothing reads: {told}. Rename what is meant, or map it by `tgqformer "
            "import table`."
        )
    for placeholder in placeholders:
        click.echo(f"{placeholder}: a placeholder, which tells nothing of any one of them.")
    if long is not None and long["count"]:
        click.echo(
            f"{long['count']:,} of {len(catalog):,} texts have more than the {long['max_tokens']} "
            f"tokens that the preset '{long['preset']}' reads: it shortens their fields."
        )
    if sentence := tell_photos(read):
        click.echo(f"With the preset '{PRESET}' {sentence}")
    for leak in leaks:
        click.echo(f"Leak: {leak}")
    if not len(catalog.quarantine) and not leaks:
        click.echo("Nothing is quarantined and nothing leaks.")
