"""The command ``tgqformer``: a group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from tgqformer import __version__
from tgqformer.cli.commands import COMMANDS
from tgqformer.cli.failures import report, tell_warnings


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
