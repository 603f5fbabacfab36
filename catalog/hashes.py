"""SHA-256 of model files, computed once: a file of the same path, length and time keeps its hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

HASH_FILE = "model_hashes.json"
HASH_FORMAT = 1
CHUNK = 4 << 20  # bytes read at a time


def nothing() -> None:
    """What is called between two chunks where nobody can interrupt."""


class HashCache:
    """Hashes by path, length and time, kept in the host's state folder; None keeps them in memory alone.

    A file that is damaged or somebody else's is written anew.
    """

    def __init__(self, folder: Path | None, check: Callable[[], None] = nothing) -> None:
        """check: called between chunks; it may raise to stop."""
        self._file = None if folder is None else folder / HASH_FILE
        self._check = check
        self._known: dict[str, tuple[int, int, str]] = {}
        self._changed = False
        self._read()

    def sha256(self, path: Path) -> str:
        """The hash of a regular file in hexadecimal. Raises OSError."""
        stat = path.stat()
        key = os.path.realpath(path)
        size, time, digest = self._known.get(key, (-1, -1, ""))
        if (size, time) != (stat.st_size, stat.st_mtime_ns):
            digest = self._computed(path)
            self._known[key] = stat.st_size, stat.st_mtime_ns, digest
            self._changed = True
        return digest

    def save(self) -> None:
        """Writes what is new. A folder that cannot be written costs time at the next start, nothing else."""
        if self._file is None or not self._changed:
            return
        temporary = self._file.with_name(f"{HASH_FILE}.{os.getpid()}")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps({"format": HASH_FORMAT, "hashes": self._known}), encoding="utf-8")
            temporary.replace(self._file)
            self._changed = False

    def _computed(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._check()
                digest.update(chunk)
        return digest.hexdigest()

    def _read(self) -> None:
        if self._file is None:
            return
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            if content["format"] == HASH_FORMAT:
                entries = content["hashes"].items()
                self._known = {str(path): (int(size), int(time), str(hash_)) for path, (size, time, hash_) in entries}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._known = {}
