"""Opening files that others may write: regular files alone, and known again by their stamp."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelFileError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does: its time in ns, its size in bytes, and its number on its disk."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Of the file that a path leads to. Raises ModelFileError unless it is a regular one."""
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise ModelFileError(f"The model file {path} does not exist.") from error
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{path} cannot be read: {reason(error)}.") from error
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path} is {kind_of(status.st_mode)} and no file, so it was not opened.")
        return cls._from(status)

    @classmethod
    def of_open(cls, file: BinaryIO) -> Stamp:
        return cls._from(os.fstat(file.fileno()))

    @classmethod
    def _from(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


def open_file(path: Path) -> BinaryIO:
    """A regular file, opened for reading: a pipe would be waited for without end. Raises ModelFileError."""
    Stamp.of(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {reason(error)}.") from error


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """Of files, in the order of their names. Raises ModelFileError."""
    return {path: Stamp.of(path) for path in sorted(paths)}


def check_unchanged(stamps_before: Mapping[Path, Stamp]) -> None:
    """Raises ModelFileError when one of the files is not what it was."""
    for path, stamp in stamps_before.items():
        if Stamp.of(path) != stamp:
            raise changed(path)


def changed(path: Path) -> ModelFileError:
    return ModelFileError(f"{path.name} was changed while it was in use. Load it again.")


def is_regular(path: Path) -> bool:
    """Whether a path leads to a regular file; links are followed, and those that lead nowhere are none."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def kind_of(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "something else")


def reason(error: OSError | ValueError) -> str:
    """What the system says, without the path, which the sentence has already."""
    return str(getattr(error, "strerror", None) or error)
