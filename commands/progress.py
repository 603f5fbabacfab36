"""How far a command is, on a terminal."""

from __future__ import annotations

import sys

BAR_WIDTH = 24


class ProgressBar:
    """One line on a terminal that says which file and how far; silent when nobody watches."""

    def __init__(self, files: int) -> None:
        self._files = files
        self._number = 0
        self._name = ""
        self._watched = sys.stderr.isatty()

    def begin(self, name: str) -> None:
        self._number += 1
        self._name = name

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._watched:
            filled = BAR_WIDTH * done // max(1, total)
            bar = "#" * filled + "." * (BAR_WIDTH - filled)
            line = f"\r[{bar}] {self._number}/{self._files} {stage} {self._name}"
            print(f"{line:<79.79}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._watched:
            print("\r" + " " * 79, end="\r", file=sys.stderr, flush=True)
