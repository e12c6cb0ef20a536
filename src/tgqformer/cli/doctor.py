"""``tgqformer doctor``: what this machine has, and which presets it can run."""

from __future__ import annotations

from typing import Any

import click

from tgqformer.cli.output import facts, json_option, print_json, size, table


@click.command(short_help="Show what this machine has and which presets can run.")
@click.option("--network/--no-network", default=True, help="Ask whether the model hub answers.")
@json_option
def doctor(network: bool, as_json: bool) -> None:
    """Show this machine's CPU, memory, disk, GPUs and versions, and which presets it can run.

    A preset that cannot run comes with what is missing and the remedy; a model whose licence binds
    whoever uses it, with that licence.
    """
    from tgqformer.cli import machine
    from tgqformer.cli.readiness import lacks, licences
    from tgqformer.presets import load_preset, preset_names

    told = machine.facts()
    presets = {name: lacks(load_preset(name), network=network) for name in preset_names()}
    bound = {name: licences(load_preset(name).embedder) for name in presets}
    if as_json:
        ready = {
            name: {"runs": not lack, "lacks": lack, "licences": bound[name]}
            for name, lack in presets.items()
        }
        print_json({**told, "presets": ready})
        return
    facts("This machine", _rows(told))
    rows = [
        (name, not lack, "; ".join(entry.what for entry in lack), _remedies(lack))
        for name, lack in presets.items()
    ]
    table("Presets", ("preset", "runs here", "missing", "remedy"), rows)
    for name, found in bound.items():
        for licence in found:
            click.echo(f"preset {name}: {licence}")


def _rows(told: dict[str, Any]) -> list[tuple[str, object]]:
    cpu, memory, disk = told["cpu"], told["memory"], told["disk"]
    gpus = [f"{gpu['name']}, {size(gpu['memory'])}" for gpu in told["gpus"]]
    versions = [f"{name} {known or 'absent'}" for name, known in told["versions"].items()]
    return [
        ("system", told["system"]),
        ("Python", f"{told['python']} ({told['executable']})"),
        ("CPU", f"{cpu['name']}, {cpu['cores']} cores, {' '.join(cpu['flags']) or 'no AVX2'}"),
        ("memory", f"{size(memory['available'])} free of {size(memory['total'])}"),
        ("disk", f"{size(disk['here'])} free here, {size(disk['cache'])} for the token cache"),
        ("GPU", "; ".join(gpus) or "none; training runs on the CPU"),
        ("versions", ", ".join(versions)),
    ]


def _remedies(lack: list[Any]) -> str:
    return "; ".join(dict.fromkeys(entry.remedy for entry in lack))
