"""Arrays that two processes see without copying them through a pipe.

The memory has no name that could be left behind. On POSIX it is a file that is in no folder, whose descriptor the
child inherits; unlike /dev/shm, a container's limit on that folder does not bind it. On Windows it is a section that
the system drops with the last handle. Whoever is killed, nothing stays.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ModelFileError

# What may cross, by numpy's names: numbers only.
TYPES = frozenset(
    ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)

ALIGNMENT = 64  # bytes: a cache line, and what vector instructions like
STEP = 1 << 20  # bytes: the memory grows in such steps

# Where an array lies: {"type": numpy's name, "shape": list of int, "at": bytes from the start}.
Layout = dict[str, Any]


def placed(arrays: Sequence[np.ndarray], start: int = 0) -> tuple[list[Layout], int]:
    """Where each array would lie from `start` on, and where the last one ends.

    Raises ModelFileError for arrays that hold no numbers.
    """
    layouts = []
    for array in arrays:
        if array.dtype.name not in TYPES:
            raise ModelFileError(
                f"Values of type {array.dtype} cannot be passed to or from a worker process, only numbers. The model "
                "is not one that can be run here."
            )
        start = -(-start // ALIGNMENT) * ALIGNMENT
        layouts.append({"type": array.dtype.name, "shape": list(array.shape), "at": start})
        start += array.nbytes
    return layouts, start


class SharedFrames:
    """Memory that this process shares with its child or its parent; either may let it grow, in turn.

    `address` tells the other side where it is: made here by the parent, there by `SharedFrames(address)`.
    """

    def __init__(self, address: dict[str, Any] | None = None) -> None:
        self._where = _new_place() if address is None else address["where"]
        self._size = STEP if address is None else int(address["size"])
        if address is None:
            _set_size(self._where, STEP)
            self._closing = weakref.finalize(self, _close_place, self._where)  # the child's goes with the child
        self._memory: mmap.mmap | None = _mapped(self._where, self._size)

    @property
    def address(self) -> dict[str, Any]:
        return {"where": self._where, "size": self._size}

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that a child must be given."""
        return (self._where,) if isinstance(self._where, int) else ()

    def follow(self, address: dict[str, Any]) -> None:
        """Goes where the other side has gone."""
        if address != self.address:
            self._where, self._size = address["where"], int(address["size"])
            self._memory = _mapped(self._where, self._size)

    def reserve(self, nbytes: int) -> None:
        """Makes room for so many bytes; what was in it may be lost."""
        if nbytes > self._size:
            self._size = -(-nbytes // STEP) * STEP
            self._where = _grown(self._where, self._size)
            self._memory = _mapped(self._where, self._size)

    def view(self, layout: Layout) -> np.ndarray:
        """The array at a place, shared: it changes with the next one that is put there."""
        assert self._memory is not None and layout["type"] in TYPES
        return np.ndarray(layout["shape"], np.dtype(layout["type"]), self._memory, layout["at"])

    def put(self, arrays: Sequence[np.ndarray], layouts: Sequence[Layout]) -> None:
        for array, layout in zip(arrays, layouts, strict=True):
            self.view(layout)[...] = array

    def close(self) -> None:
        """The parent's part at the end; the memory goes with the last view of it."""
        self._memory = None
        self._closing()


# The two ways: a place is a descriptor on POSIX and a name on Windows.
if sys.platform == "win32":

    def _new_place() -> str:
        return f"slimfusion-{secrets.token_hex(16)}"

    def _set_size(place: str, size: int) -> None:
        """A section has its size when it is mapped."""

    def _grown(place: str, size: int) -> str:
        return _new_place()  # a section cannot grow

    def _mapped(place: str, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size, tagname=place)

    def _close_place(place: str) -> None:
        """A section goes with its last mapping."""

else:

    def _new_place() -> int:
        if hasattr(os, "memfd_create"):
            return os.memfd_create("slimfusion")
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())

    def _set_size(place: int, size: int) -> None:
        os.ftruncate(place, size)

    def _grown(place: int, size: int) -> int:
        os.ftruncate(place, size)
        return place

    def _mapped(place: int, size: int) -> mmap.mmap:
        return mmap.mmap(place, size)

    def _close_place(place: int) -> None:
        os.close(place)
