"""A worker's task that does what drivers do on bad days; for the worker's tests and its bench.

It doubles what it is given. Before that, once for every file named in `once` or always without one, it does `how`
while it runs, or while it loads when `while_loading` is set.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...engines.worker.child import RAM, Meter
from ...errors import ModelFileError

LONG = 1000  # seconds
PART = 16 << 20  # bytes
STUFFED = 256 << 20


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


def stuff() -> None:
    """Takes memory in one piece for a moment that is long enough to be seen."""
    held = ctypes.create_string_buffer(STUFFED)
    ctypes.memset(held, 1, STUFFED)
    time.sleep(0.3)


def fill_card(card: Path) -> None:
    """Takes more and more of a card, whose level stands in a file."""
    for level in range(0, LONG * PART, PART):
        part = card.with_suffix(".part")
        part.write_text(str(level))
        part.replace(card)
        time.sleep(0.01)


def find_no_memory() -> None:
    raise RuntimeError("Failed to allocate memory for requested buffer of size 1234")


def fail() -> None:
    raise RuntimeError("The device was removed.\nAnd more that nobody reads.")


def refuse() -> None:
    raise ModelFileError("This model is refused.")


def chatter() -> None:
    """Prints on all ways that there are to the standard output, and reads the standard input."""
    print("a line", flush=True)
    os.write(1, b'{"done": []}\n')
    assert sys.stdin.read() == ""


HOW: dict[str, Callable[[], None]] = {
    work.__name__: work
    for work in (
        crash, leave, hang, keep_python_from_running, eat, stuff, stuff_unseen, find_no_memory, fail, refuse, chatter,
    )
}  # fmt: skip


class Misbehaving:
    """A task that does what it is told to.

    settings: {"how": name in HOW or "fill_card", "once": path or absent, "while_loading": bool or absent, "card":
    absent where the RAM counts, else the file that says how much of a card is in use, or "" for a card that nobody
    reads}.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    @property
    def meter(self) -> Meter | None:
        card = self._settings.get("card")
        if card is None:
            return RAM
        return (lambda: int(Path(card).read_text() or 0)) if card else None

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
            how = self._settings["how"]
            if how == "fill_card":
                fill_card(Path(self._settings["card"]))
            else:
                HOW[how]()
