"""The command ``tgqformer``: its commands, imported when they are used, and how a failure is told.

A module of a command imports click and nothing heavier at its top, so that ``--help`` stays quick;
what a command needs is imported when it runs.
"""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from tgqformer import __version__
from tgqformer.errors import TGQFormerError, UnreadInputWarning

COMMANDS = {
    "demo": "tgqformer.cli.demo:demo",
    "storefront": "tgqformer.cli.storefront:storefront",
    "import": "tgqformer.cli.import_catalog:import_catalog",
    "download-images": "tgqformer.cli.import_catalog:download_images",
    "corrupt": "tgqformer.cli.storefront:corrupt",
    "validate": "tgqformer.cli.validate:validate",
    "pairs": "tgqformer.cli.pairs:pairs",
    "train": "tgqformer.cli.train:train",
    "evaluate": "tgqformer.cli.evaluate:evaluate",
    "compare": "tgqformer.cli.compare:compare",
    "embed": "tgqformer.cli.embed:embed",
    "similar": "tgqformer.cli.neighbors:similar",
    "neighbors": "tgqformer.cli.neighbors:neighbors",
    "blend": "tgqformer.cli.neighbors:blend",
    "semantic-ids": "tgqformer.cli.semantic_ids:semantic_ids",
    "index": "tgqformer.cli.index:index",
    "serve": "tgqformer.cli.serve:serve",
    "explain": "tgqformer.cli.inspection:explain",
    "pointing": "tgqformer.cli.inspection:pointing",
    "audit": "tgqformer.cli.inspection:audit",
    "flops": "tgqformer.cli.flops:flops",
    "presets": "tgqformer.cli.doctor:presets",
    "doctor": "tgqformer.cli.doctor:doctor",
}
BUG, BAD_INPUT, INTERRUPTED = 1, 2, 130
_GOES_ON = "what is finished is kept, and the same command goes on from there"
_AFTER_INTERRUPT = {
    "demo": _GOES_ON,
    "storefront": _GOES_ON,
    "download-images": _GOES_ON,
    "corrupt": _GOES_ON,
    "train": "its checkpoints are kept, and the same command with --resume goes on from the last",
    "compare": _GOES_ON,
    "embed": "whole shards of a folder are kept, and the same command goes on from there; a "
    ".parquet file is made from the start",
    "neighbors": _GOES_ON,
    "index": "the store is whole, and the same command can be repeated",
}
"""What a person is told who stopped a command; a command that is not here starts anew."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="tgqformer")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def tgqformer(debug: bool) -> None:
    """Product embeddings whose neighbours hold up under noisy photos.

    A catalog of products with photos, metadata and co-engagement goes in; embeddings come out.
    Start with "tgqformer demo", or "tgqformer doctor" to see what this machine can run.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done; 1 the answer is no (``validate`` found bad rows) or a bug; 2 bad input or
    usage, in one sentence; 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        tell_warnings()
        try:
            code = tgqformer.main(list(arguments), prog_name="tgqformer", standalone_mode=False)
        except BaseException as error:
            command = next((word for word in arguments if word in COMMANDS), None)
            code = report(error, debug="--debug" in arguments, command=command)
    # a command's return value is an exit code where it is an int, and nothing otherwise
    sys.exit(code if isinstance(code, int) else 0)


def report(error: BaseException, *, debug: bool, command: str | None = None) -> int:
    """Write `error` to stderr as a person can use it and return the exit code.

    Args:
        error: what stopped the command.
        debug: print the traceback, too.
        command: its name, for what an interruption leaves behind.

    ``SystemExit`` and click's ``Exit`` pass through with their codes.
    """
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        left = "nothing was finished, and the same command starts anew"
        _say(f"interrupted; {_AFTER_INTERRUPT.get(command or '', left)}")
        return INTERRUPTED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, TGQFormerError):
        _say(f"error: {_one_line(str(error))}")
        return BAD_INPUT
    if isinstance(error, BrokenPipeError):
        return BUG  # the reader of our output has gone; there is nobody to tell
    if isinstance(error, OSError) and error.strerror:
        name = f" ({error.filename})" if error.filename else ""
        _say(f"error: the system refused: {error.strerror}{name}")
        return BAD_INPUT
    if isinstance(error, MemoryError):
        _say("error: out of memory; use a smaller batch or fewer items")
        return BAD_INPUT
    _bug(error, debug)
    return BUG


def tell_warnings() -> None:
    """From now on a warning about the input is told as an error is: a sentence, and no code."""
    shown = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, UnreadInputWarning):
            _say(_one_line(str(message)))
        else:
            shown(message, category, *where, **options)

    warnings.simplefilter("always", UnreadInputWarning)
    warnings.showwarning = show


def _bug(error: BaseException, debug: bool) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    _say(f"bug: {type(error).__name__}{where}: {_one_line(str(error))[:500]}")
    _say("this is a fault of tgqformer and not of your input; please report it on its issue")
    more = "the traceback above" if debug else "the output of the same command with --debug"
    _say(f'tracker with {more} (tgqformer --debug ...) and of "tgqformer doctor --json"')


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(text: str) -> None:
    # surrogates may stand in an id or a path; they must not turn an error into another one
    safe = f"tgqformer: {text}".encode("utf-8", "backslashreplace").decode("utf-8")
    click.echo(safe, file=sys.stderr)
