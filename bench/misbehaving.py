"""A worker's script whose task does what drivers do on bad days; for the worker's tests and its bench.

As a task it doubles what it is given. Before that, once for every file named in `once` or always without one, it
does `how` while it runs, or while it loads when `while_loading` is set.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LONG = 1000  # seconds
PART = 16 << 20  # bytes
STUFFED = 256 << 20


def start_module() -> Any:
    """The shipped script, whose work this one does too."""
    path = Path(__file__).resolve().parents[1] / "engines" / "worker" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location("worker_start", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crash() -> None:
    os.abort()


def leave() -> None:
    os._exit(7)


def hang() -> None:
    time.sleep(LONG)


def keep_python_from_running() -> None:
    """As native code that hangs without having let the interpreter go."""
    ctypes.PyDLL(None).sleep(LONG)


def eat() -> None:
    held = []
    while True:
        held.append(b"x" * PART)
        time.sleep(0.002)


def stuff_unseen() -> None:
    """Takes memory in one piece while Python cannot look."""
    held = ctypes.create_string_buffer(STUFFED)
    ctypes.PyDLL(None).memset(held, 1, STUFFED)
    keep_python_from_running()


def find_no_memory() -> None:
    raise RuntimeError("Failed to allocate memory for requested buffer of size 1234")


def fail() -> None:
    raise RuntimeError("The device was removed.\nAnd more that nobody reads.")


def refuse() -> None:
    raise child.ModelFileError("This model is refused.")


def chatter() -> None:
    """Prints on all ways that there are to the standard output, and reads the standard input."""
    print("a line", flush=True)
    os.write(1, b'{"done": []}\n')
    assert sys.stdin.read() == ""


HOW: dict[str, Callable[[], None]] = {
    work.__name__: work
    for work in (
        crash, leave, hang, keep_python_from_running, eat, stuff_unseen, find_no_memory, fail, refuse, chatter,
    )
}  # fmt: skip


class Misbehaving:
    """settings: {"how": name in HOW, "once": path or absent, "while_loading": bool or absent}."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def load(self) -> dict[str, Any]:
        if self._settings.get("while_loading"):
            self._misbehave()
        return {"modules": sorted(sys.modules)}

    def run(self, inputs: list[Any]) -> list[Any]:
        if not self._settings.get("while_loading"):
            self._misbehave()
        return [value if value.dtype == bool else value * 2 for value in inputs]

    def _misbehave(self) -> None:
        once = self._settings.get("once")
        if once is None or os.path.exists(once):
            if once is not None:
                os.unlink(once)
            HOW[self._settings["how"]]()


if __name__ == "__main__":
    child, reader, writer = start_module().ready()
    child.serve(reader, writer, {**child.TASKS, "misbehaving": Misbehaving})
