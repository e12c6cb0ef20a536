"""``tgqformer presets``: the ready-made configurations and their options."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from tgqformer.cli.output import json_option, print_json, table


@click.command(short_help="List the presets, or every option of one.")
@click.argument("name", required=False)
@click.option("--options", is_flag=True, help="List every option with its default and meaning.")
@json_option
def presets(name: str | None, options: bool, as_json: bool) -> None:
    """List the presets; with NAME, show what it sets; with --options, every option there is.

    Any option is set with --set key=value where a command takes it:
    tgqformer train SHOP --set training.learning_rate=3e-4
    """
    if options:
        _options(name, as_json)
    elif name is not None:
        _one(name, as_json)
    else:
        _all(as_json)


def _all(as_json: bool) -> None:
    from tgqformer.cli.doctor import licences
    from tgqformer.presets import load_preset, preset_names

    rows = []
    for name in preset_names():
        embedder = load_preset(name).embedder
        image, text, language = embedder.image_tower, embedder.text_tower, embedder.language
        rows.append(
            {
                "preset": name,
                "image tower": _model(image),
                "text tower": _model(text),
                "connector": embedder.connector.kind,
                "backbone": _model(language),
                "dims": embedder.dims,
                "licence": "; ".join(licences(embedder)),
            }
        )
    if as_json:
        print_json(rows)
    else:
        table("Presets", list(rows[0]), [list(row.values()) for row in rows])


def _one(name: str, as_json: bool) -> None:
    import yaml

    from tgqformer.config import to_dict
    from tgqformer.presets import load_preset

    config = to_dict(load_preset(name))
    if as_json:
        print_json(config)
    else:
        click.echo(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), nl=False)


def _options(name: str | None, as_json: bool) -> None:
    from tgqformer.config import describe
    from tgqformer.presets import load_preset
    from tgqformer.training.config import RunConfig

    rows = []
    chosen = load_preset(name) if name is not None else RunConfig()
    for option in describe(RunConfig):
        value: object = chosen
        for part in option.key.split("."):
            value = getattr(value, part, option.default)
        default = None if value is dataclasses.MISSING else value
        rows.append(
            {"option": option.key, "type": option.type, "default": default, "meaning": option.doc}
        )
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            click.echo(f"{row['option']}: {row['type']} = {row['default']!r}")
            click.echo(click.wrap_text(str(row["meaning"]), 96, "    ", "    "))


def _model(options: Any) -> str:
    """Return the name of a tower's or backbone's model, its kind where it has none."""
    return str(options.kind if options.kind == "tiny" else options.name or options.kind)
