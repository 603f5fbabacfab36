"""The tensors of an ONNX file: where they lie, and reading them one by one.

They are copied and not mapped: a file that others write over must not change a network that is running.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np
import torch

from ...catalog.opening import changed, is_regular, open_file, reason
from ...errors import ModelFileError
from . import protobuf
from .protobuf import BYTES

# TensorProto.DataType
TYPE_NAMES = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "double", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
}  # fmt: skip
DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32,
    7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64,
    16: torch.bfloat16,
}  # fmt: skip

# TensorProto's fields for data: raw bytes, or one of these lists. int32_data holds all small types, fp16 as bits.
_RAW = 9
_LISTS = {4: "float_data", 5: "int32_data", 7: "int64_data", 10: "double_data", 11: "uint64_data"}
_LIST_OF = {1: 4, 7: 7, 11: 10, 12: 11, 13: 11}

Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class OnnxTensor:
    """A tensor in a file. kind: TensorProto.DataType. places: (field, wire type, start, end) of its data."""

    name: str
    kind: int
    shape: tuple[int, ...]
    file: Path
    places: tuple[Place, ...]

    @property
    def dtype(self) -> torch.dtype | None:
        """None for types that torch cannot hold or that are not read here: text, complex, 4 and 8 bit floats."""
        return DTYPES.get(self.kind)

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * (self.dtype.itemsize if self.dtype else 1)

    def checked(self) -> OnnxTensor:
        """Itself, once its bytes are as many as its shape wants. Raises DamagedError."""
        if self.dtype is None:
            return self
        raw = [end - start for field, _, start, end in self.places if field == _RAW]
        stored = sum(end - start for _, _, start, end in self.places)
        if raw and raw[-1] != self.nbytes:
            raise protobuf.DamagedError(
                f"its tensor {self.name!r} of shape {list(self.shape)} has {raw[-1]} bytes instead of {self.nbytes}"
            )
        if not raw and stored < self.numel:  # in a list, a number takes at least one byte
            raise protobuf.DamagedError(f"its tensor {self.name!r} of shape {list(self.shape)} has too few numbers")
        return self

    def load(self) -> torch.Tensor:
        """A copy on the CPU, in the type it is stored in. Raises ModelFileError."""
        if self.dtype is None:
            kind = TYPE_NAMES.get(self.kind, str(self.kind))
            raise ModelFileError(f"{self.file.name} holds {self.name!r} as {kind}, which is not supported.")
        try:
            with open_file(self.file) as file:
                return self._read(file)
        except protobuf.DamagedError as error:
            raise ModelFileError(f"{self.file.name} is damaged: {error}. Download it again.") from error
        except OSError as error:
            raise ModelFileError(f"{self.file} cannot be read: {reason(error)}.") from error

    def _read(self, file: BinaryIO) -> torch.Tensor:
        raw = [(start, end) for field, _, start, end in self.places if field == _RAW]
        if not raw:
            return self._from_lists(file)
        content = bytearray(self.nbytes)
        file.seek(raw[-1][0])
        if file.readinto(content) != self.nbytes:  # type: ignore[attr-defined]
            raise changed(self.file)
        return self._shaped(torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0))

    def _shaped(self, flat: torch.Tensor) -> torch.Tensor:
        assert self.dtype is not None
        if not self.nbytes:
            return torch.empty(self.shape, dtype=self.dtype)
        return flat.view(self.dtype).reshape(self.shape)

    def _from_lists(self, file: BinaryIO) -> torch.Tensor:
        """From float_data and its like. Of 2-byte types they hold the bits."""
        assert self.dtype is not None
        wanted = _LIST_OF.get(self.kind, 5)
        parts = []
        for number, wire, start, end in self.places:
            if number == wanted:
                file.seek(start)
                parts.append(_numbers(number, wire, file.read(end - start)))
        numbers = np.concatenate(parts) if parts else np.empty(0, np.int64)
        if numbers.size != self.numel:
            raise protobuf.DamagedError(
                f"its tensor {self.name!r} of shape {list(self.shape)} has {numbers.size} numbers in {_LISTS[wanted]}"
            )
        if self.kind in (10, 16):
            return self._shaped(torch.from_numpy(numbers.astype(np.uint16)).view(torch.uint8))
        return torch.from_numpy(numbers.astype(str(self.dtype).removeprefix("torch."))).reshape(self.shape)


def _numbers(number: int, wire: int, content: bytes) -> np.ndarray:
    """The numbers in a field of a list."""
    if number in (4, 10):
        width = 4 if number == 4 else 8
        single = {protobuf.FIXED32: 4, protobuf.FIXED64: 8}.get(wire, 0)
        if (wire != BYTES and single != width) or len(content) % width:
            raise protobuf.DamagedError("a list of numbers is stored in another way than ONNX stores it")
        return np.frombuffer(content, f"<f{width}")
    if wire in (BYTES, protobuf.VARINT):
        return _varints(np.frombuffer(content, np.uint8))
    raise protobuf.DamagedError("a list of numbers is stored in another way than ONNX stores it")


def _varints(content: np.ndarray) -> np.ndarray:
    """All numbers of a packed list, int64, at numpy's speed: a list may hold millions."""
    if content.size == 0:
        return np.empty(0, np.int64)
    ends = np.flatnonzero(content < 0x80)
    if ends.size == 0 or ends[-1] != content.size - 1:
        raise protobuf.DamagedError("a list of numbers ends in the middle of one")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise protobuf.DamagedError("a list of numbers holds one that is too long")
    shifts = (np.arange(content.size) - np.repeat(starts, lengths)).astype(np.uint64) * np.uint64(7)
    groups = (content & 0x7F).astype(np.uint64) << shifts
    return np.add.reduceat(groups, starts).astype(np.int64)


@dataclass(frozen=True)
class External:
    """A file beside a model that holds its tensors' data."""

    path: Path
    size: int

    @classmethod
    def beside(cls, model: Path, location: str) -> External:
        """The file that a model names, in the model's folder or in the one that a link to the model leads to.

        Raises ModelFileError where it is missing or lies in neither.
        """
        ways = PurePosixPath(location), PureWindowsPath(location)
        leads_out = any(way.root or way.drive or ".." in way.parts for way in ways)
        if not location or "\0" in location or leads_out:
            raise ModelFileError(_outside(model, location))
        try:
            # A cache of Hugging Face's has both as links into one folder of files without names.
            homes = [model.parent.resolve(), model.resolve().parent]
            named = [home / PureWindowsPath(location).as_posix() for home in homes]
            path = next((place for place in named if is_regular(place)), named[0])
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            raise ModelFileError(_outside(model, location)) from error
        if not any(real.is_relative_to(home) for home in homes):
            raise ModelFileError(_outside(model, location))
        if not is_regular(path):
            raise ModelFileError(
                f"{model.name} keeps its weights in the file {location!r}, which is not in {homes[0]}. "
                "Download that file too and put it beside the model, under exactly this name."
            )
        return cls(path, path.stat().st_size)


def external_place(
    external: External, model: Path, name: str, dtype: torch.dtype, dims: list[int], entries: dict[str, str]
) -> Place:
    """Where a tensor lies in an external file, once it is known to lie inside. Raises ModelFileError."""
    wanted = math.prod(dims) * dtype.itemsize
    offset, length = entries.get("offset", "0"), entries.get("length", str(wanted))
    numbers = all(text.isascii() and text.isdigit() and len(text) < 20 for text in (offset, length))
    if not numbers or int(length) != wanted or int(offset) + wanted > external.size:
        raise ModelFileError(
            f"{external.path.name}, the weights of {model.name}, does not fit it: {name!r} wants {wanted} bytes at "
            f"{offset[:20]}, the file has {external.size}. One of the two is damaged or of another version; download "
            "both."
        )
    return _RAW, BYTES, int(offset), int(offset) + wanted


def _outside(model: Path, location: str) -> str:
    return (
        f"{model.name} names {location[:200]!r} as the file of its weights, which is not a file in the model's own "
        "folder. It was not opened. Put both files themselves into one folder, or export the model as one file."
    )
