"""What has been done to which clip by which settings: a folder beside the target, which outlives a killed process.

Every file in it is written whole and renamed. The manifest names a segment only after its file is closed, so that
whatever it names is good. One process at a time holds the folder's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock

from ..errors import OutputError, SlimFusionError
from ..faces.pictures.files import write_whole
from .read import Clip
from .write import Written, write_error

VERSION = 3
_EDGE = 1 << 20  # bytes of a file's beginning and end that tell it from others


@dataclass
class Manifest:
    """source, settings: fingerprints. memory: how much was planned with, so that whoever goes on plans the same.

    looked: finished segments of the first pass. done: those of the second, with their sums for the report.
    """

    source: str
    settings: str
    memory: dict[str, int] = field(default_factory=dict)
    looked: list[int] = field(default_factory=list)
    complete: bool = False
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = VERSION


def fingerprint_of_source(clip: Clip) -> str:
    """Changes with a file's content, as far as its size, times, beginning and end tell."""
    digest = hashlib.sha256()
    for path in clip.pictures or (clip.path,):
        state = path.stat()
        digest.update(f"{path.resolve()}:{state.st_size}:{state.st_mtime_ns};".encode(errors="surrogateescape"))
        if not clip.pictures:
            with path.open("rb") as file:
                digest.update(file.read(_EDGE))
                file.seek(max(0, state.st_size - _EDGE))
                digest.update(file.read(_EDGE))
    return digest.hexdigest()


def fingerprint(content: Any) -> str:
    """Of anything that JSON holds."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class WorkFolder:
    """The folder that belongs to a target while it is made.

    manifest: as it is on the disk. notes: why something is done anew.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f".{target.name}.slimfusion")
        self.notes: list[str] = []
        self.manifest = Manifest("", "")

    @contextlib.contextmanager
    def held(self) -> Iterator[WorkFolder]:
        """Makes the folder and keeps other processes out of it. Raises OutputError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        lock = filelock.FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            name = self.path.name[1 : -len(".slimfusion")]
            raise OutputError(
                f"Another process is making {self.path.with_name(name)}. Wait for it, or choose another target."
            ) from error
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            yield self
        finally:
            lock.release()

    def begin(self, source: str, settings: str, resume: bool) -> None:
        """Goes on with what is there, or clears it and says why."""
        result = self._read() if resume else None
        if result is not None and result.source != source:
            self.notes.append("the source has changed since the last try: everything is done anew")
            result = None
        elif result is not None and result.settings != settings:
            self.notes.append("the settings are not those of the last try: everything is done anew")
            result = None
        if result is None:
            self._clear()
            result = Manifest(source, settings)
        self.manifest = result
        result.looked = [index for index in result.looked if self.looked(index).is_file()]
        result.complete = result.complete and len(result.looked) == max(result.looked, default=-1) + 1
        result.done = {index: done for index, done in result.done.items() if self._is_good(int(index), done)}

    def _is_good(self, index: int, done: dict[str, Any]) -> bool:
        path = self.segment(index)
        return path.is_file() and path.stat().st_size == done.get("size")

    def _read(self) -> Manifest | None:
        try:
            content = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
            return Manifest(**content) if content.get("version") == VERSION else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def save(self) -> None:
        """Raises OutputError."""
        try:
            write_whole(self.path / "manifest.json", json.dumps(asdict(self.manifest)).encode())
        except SlimFusionError as error:
            raise write_error(self.path, error.__cause__ if isinstance(error.__cause__, OSError) else error) from error

    def looked(self, index: int) -> Path:
        """The file of a segment of the first pass."""
        return self.path / f"look-{index:05}.npz"

    def segment(self, index: int) -> Path:
        """The file of a finished segment."""
        return self.path / f"work-{index:05}.mkv"

    def finish(self, index: int, written: Written, sums: dict[str, Any]) -> None:
        self.manifest.done[str(index)] = {**asdict(written), **sums}
        self.save()

    def remove(self) -> None:
        """Takes the folder away; what other processes hold open stays behind."""
        self._clear()
        with contextlib.suppress(OSError):
            (self.path / "lock").unlink(missing_ok=True)
            self.path.rmdir()

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name != "lock":
                with contextlib.suppress(OSError):
                    os.unlink(path)
