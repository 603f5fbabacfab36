"""A function of this package, run in a child process that may crash or hang without taking us with it.

Started as a script this file is the child's side: it loads the package from its folder, whatever its name is in the
parent, calls the function and answers with JSON. What native libraries print cannot get into the answer.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "slimfusion"


@dataclass(frozen=True)
class Answer:
    """value: what the function returned, None where it failed. failure: why, "" where it did not. log: its stderr."""

    value: Any
    failure: str
    log: str


def command() -> list[str]:
    """What starts this file as a child; the request goes to its standard input."""
    return [sys.executable, str(Path(__file__).resolve())]


def request(function: str, argument: Any, seconds: float) -> bytes:
    """function: "engines.backends.probing:probe_here". The child looks for modules where this process does."""
    content = {"path": sys.path, "function": function, "argument": argument, "seconds": seconds}
    return json.dumps(content).encode()


def ask(function: str, argument: Any, seconds: float) -> Answer:
    """Calls `module:function` of this package with one JSON value in a child; it is ended after `seconds`."""
    if not sys.executable:
        return Answer(None, "this program cannot start a Python beside itself", "")
    try:
        done = subprocess.run(
            command(),
            input=request(function, argument, seconds),
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
    return f"ended with status {code}" if code < 1 << 31 else f"ended with error {code:#x}"  # Windows' own codes


def answer_here() -> None:
    """The child's whole life."""
    out = os.dup(1)
    os.dup2(2, 1)  # whoever prints from now on prints into the log
    content = json.loads(sys.stdin.buffer.read())
    # Should the parent die, nobody is left to end a child that hangs; this clock also runs while native code does.
    faulthandler.dump_traceback_later(content["seconds"] + 5.0, exit=True)
    sys.path[:] = content["path"]
    module, name = content["function"].split(":")
    try:
        _load_package()
        value = getattr(importlib.import_module(f"{NAME}.{module}"), name)(content["argument"])
        answer = {"value": value}
    except Exception as error:  # a failure of any kind is the answer
        answer = {"failure": f"{type(error).__name__}: {error}"}
    with os.fdopen(out, "wb") as file:
        file.write(json.dumps(answer).encode())
    os._exit(0)  # some providers crash while they are torn down, after the work is done


def _load_package() -> None:
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    answer_here()
