"""The command line: the same pipeline with no host at all. Each command is a file in commands/."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from . import __version__
from .commands import distill, doctor, engine, export, models, restore
from .errors import SlimFusionError

COMMANDS = {
    "restore": restore,
    "export": export,
    "engine": engine,
    "distill": distill,
    "doctor": doctor,
    "models": models,
}
NOTHING_DONE, STOPPED = 2, 130


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="slimfusion", description="Face restoration inside a memory budget.")
    parser.add_argument("--version", action="version", version=f"slimfusion {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS.values():
        command.add(commands)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors of ours are one line, without a traceback."""
    args = arguments(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that cannot show a file's name must not end the work
            stream.reconfigure(errors="replace")
    try:
        return COMMANDS[args.command].run(args)
    except SlimFusionError as error:
        print(f"slimfusion: {error}", file=sys.stderr)
        return NOTHING_DONE
    except KeyboardInterrupt:
        print("\nslimfusion: stopped; what was finished is written", file=sys.stderr)
        return STOPPED
