"""Tensors in a file: where each of them lies, and reading them into memory of our own.

Nothing is mapped: a mapped file that somebody makes shorter ends the process, and one that is written over changes
the weights of a network that is running.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ...catalog.opening import Stamp, changed, open_file, reason
from ...errors import ModelFileError

StateDict = dict[str, Any]

# Bytes that are read at a time where numbers are converted: what loading takes beside the weights themselves.
PART_BYTES = 4 << 20


class DamagedError(Exception):
    """A file's content is not what its format promises; the text says why, as the end of a sentence."""


class UnsupportedError(Exception):
    """A file is whole, but holds weights in a form that is not read; the text says which, and what to do."""


@dataclass(frozen=True)
class Start:
    """First byte of a storage in its file. storage: held so that its identity is not given to another one."""

    position: int
    storage: Any


@dataclass(frozen=True, eq=False)
class StoredTensors:
    """A file's content, as it is nested there, its tensors on torch's meta device: shapes and types, no data.

    starts: where each tensor's storage lies, by the storage's identity. metadata: text that the file carries besides.
    """

    path: Path
    stamp: Stamp
    content: StateDict
    starts: Mapping[int, Start]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def load(self, tensors: StateDict, device: torch.device, dtype: torch.dtype | None = None) -> StateDict:
        """These of its tensors with their data on a device, floating ones in a type; None: as they are stored.

        Takes PART_BYTES beside the result, and a tensor that is not stored in its order a copy of itself. Raises
        ModelFileError, also when the file is another one than it was.
        """
        with open_file(self.path) as file:
            if Stamp.of_open(file) != self.stamp:
                raise changed(self.path)
            try:
                loaded = {
                    name: self._loaded(
                        file, value, device, dtype if dtype and value.is_floating_point() else value.dtype
                    )
                    for name, value in tensors.items()
                }
            except OSError as error:
                raise ModelFileError(f"{self.path} cannot be read: {reason(error)}.") from error
            if Stamp.of_open(file) != self.stamp:
                raise changed(self.path)
        return loaded

    def _loaded(self, file: BinaryIO, value: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        first = self.starts[identity(value)].position + int(value.storage_offset()) * value.itemsize
        file.seek(first)
        if not value.is_contiguous():
            whole = torch.empty(extent(value), dtype=value.dtype)
            self._fill(file, whole)
            return whole.as_strided(value.shape, value.stride()).to(device, dtype)
        result = torch.empty(value.shape, dtype=dtype, device=device)
        if dtype == value.dtype and device.type == "cpu":
            self._fill(file, result)
        else:
            self._convert(file, result.view(-1), value.dtype)
        return result

    def _convert(self, file: BinaryIO, result: torch.Tensor, stored: torch.dtype) -> None:
        """Fills a flat tensor, whatever its type and device, from numbers of the stored type, part by part."""
        step = PART_BYTES // stored.itemsize
        part = torch.empty(min(step, result.numel()), dtype=stored)
        for begin in range(0, result.numel(), step):
            piece = part[: min(step, result.numel() - begin)]
            self._fill(file, piece)
            result[begin : begin + step].copy_(piece)

    def _fill(self, file: BinaryIO, result: torch.Tensor) -> None:
        """Reads a tensor's bytes straight into it."""
        if not result.numel():
            return
        view = memoryview(result.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
        while view:
            count = file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise changed(self.path)
            view = view[count:]


def identity(value: torch.Tensor) -> int:
    """The same for tensors that share their storage."""
    return int(value.untyped_storage()._cdata)


def extent(value: torch.Tensor) -> int:
    """Numbers from a tensor's first in its storage to its last."""
    if not value.numel():
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
