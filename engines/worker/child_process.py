"""A function of this package, called once in a child process that may crash or hang without taking us with it.

The child begins with worker_start, as a worker does: it finds the package whatever its name is here, and keeps what
native libraries print out of the answer, which is JSON.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

START = Path(__file__).with_name("bootstrap.py")
AFTER_TIME = 5.0  # seconds after which a child ends itself whose parent should have ended it


@dataclass(frozen=True)
class Answer:
    """value: what the function returned, None where it failed. failure: why, "" where it did not. log: its stderr."""

    value: Any
    failure: str
    log: str


def ask(function: str, argument: Any, seconds: float) -> Answer:
    """Calls a function of this package with one JSON value in a child, which is ended after `seconds`.

    function: module and name, such as "engines.ort.probe:probe_here".
    """
    if not sys.executable:
        return Answer(None, "this program does not say which Python it runs", "")
    start = {"path": [folder for folder in sys.path if folder], "serves": "engines.worker.child_process"}
    request = {"function": function, "argument": argument, "seconds": seconds}
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(START)],
            input=f"{json.dumps(start)}\n{json.dumps(request)}\n".encode(),
            capture_output=True,
            timeout=seconds,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would flash a console
        )
    except subprocess.TimeoutExpired as error:
        return Answer(None, f"no answer within {seconds:g} s", _text(error.stderr))
    except OSError as error:
        return Answer(None, f"no child process could be started ({error})", "")
    log = _text(done.stderr)
    if done.returncode or not done.stdout:
        return Answer(None, f"the child process {_ending(done.returncode)}", log)
    content = json.loads(done.stdout)
    return Answer(content.get("value"), content.get("failure", ""), log)


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with status {code if code < 1 << 31 else hex(code)}"  # Windows' own are large


def serve(reader: BinaryIO, writer: BinaryIO) -> None:
    """The child's side: one request, one answer, and the end."""
    request = json.loads(reader.readline())
    # Should the parent die, nobody is left to end a child that hangs; this clock also runs while native code does.
    faulthandler.dump_traceback_later(request["seconds"] + AFTER_TIME, exit=True)
    module, name = request["function"].split(":")
    try:
        function = getattr(importlib.import_module(f"...{module}", __package__), name)
        answer = {"value": function(request["argument"])}
    except Exception as error:  # a failure of any kind is the answer
        answer = {"failure": f"{type(error).__name__}: {error}"}
    with writer:
        writer.write(json.dumps(answer).encode())
    os._exit(0)  # some providers crash while they are torn down, after the work is done
