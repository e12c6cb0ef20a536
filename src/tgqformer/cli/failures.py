"""What a person sees when a command fails, and the exit code that a script sees."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import click

from tgqformer.errors import TGQFormerError, UnreadInputWarning

BUG, BAD_INPUT, INTERRUPTED = 1, 2, 130

_GOES_ON = "what is finished is kept, and the same command goes on from there"
AFTER_INTERRUPT = {
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
        _say(f"interrupted; {AFTER_INTERRUPT.get(command or '', left)}")
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
