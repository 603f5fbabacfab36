"""The command line: the same pipeline with no host at all. Each command is a file in commands/."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .commands import distill, doctor, engine, export, models, models_get, restore, swap, video
from .errors import SlimFusionError
from .version import __version__

COMMANDS = {
    "restore": restore,
    "swap": swap,
    "video": video,
    "export": export,
    "engine": engine,
    "distill": distill,
    "doctor": doctor,
    "models": models,
    models_get.NAME: models_get,
}
NOTHING_DONE, STOPPED = 2, 130
PIPE_CLOSED = 141  # what a shell says of a program that SIGPIPE ended
LAST_STREAM = 2  # the number of stderr


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="slimfusion", description="Face restoration and fusion inside a memory budget."
    )
    parser.add_argument("--version", action="version", version=f"slimfusion {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS.values():
        command.add(commands)
    words = list(sys.argv[1:] if words is None else words)
    if tuple(words[:2]) == models_get.WORDS:  # a command of two words; a folder called so is ./get
        words[:2] = [models_get.NAME]
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors of ours are one line, without a traceback."""
    open_standard_streams()
    try:
        try:
            return status_of(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
        drop_output()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        drop_output()
        print(f"slimfusion: the output cannot be written ({error.strerror})", file=sys.stderr)
        return NOTHING_DONE


def shell() -> NoReturn:
    """`main` as a program of its own, which ends at once.

    Python would take the loaded libraries apart first, object by object: a second, two beside other work. What they
    have registered for the end is done.
    """
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


def status_of(words: Sequence[str] | None) -> int:
    args = arguments(words)
    try:
        return COMMANDS[args.command].run(args)
    except SlimFusionError as error:
        print(f"slimfusion: {error}", file=sys.stderr)
        return NOTHING_DONE
    except KeyboardInterrupt:
        print("\nslimfusion: stopped; what was finished is written", file=sys.stderr)
        return STOPPED


def open_standard_streams() -> None:
    """Streams that the shell closed become null devices, so that no file we open gets their numbers and with them what
    libraries print. A console that cannot show a file's name must not end the work.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= LAST_STREAM:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, open as long as the program
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_output() -> None:
    """What is still in stdout's buffer goes nowhere, instead of failing again when Python ends."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a number, as in tests
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, sys.stdout.fileno())
        os.close(number)
