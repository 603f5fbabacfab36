"""The tensors of files that torch.save wrote, archives and the older form: their shapes and places, not their data.

The pickle is read by torch's own reader for weights alone, the one behind torch.load(weights_only=True), which makes
tensors and containers and runs nothing. It is called here without torch.load, because that reads all data of the older
form, and cannot map what lies under a name that is no UTF-8.
"""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zipfile
from typing import Any, BinaryIO

import torch
from torch._weights_only_unpickler import Unpickler, UnpicklingError

from .stored_tensors import DamagedError, Start, UnsupportedError, extent, identity

LARGEST_PICKLE = 64 << 20  # bytes that describe tensors: those of large models take one or two MiB

FIRST_BYTE = b"\x80"  # of a pickle: its protocol follows
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_QUANTISED = (torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4)
_LOCAL_HEADER = 30  # bytes of a zip entry's header before its name


class RefusedError(Exception):
    """The pickle asks for something that is no weights, or is none."""


class _Storages:
    """Storages without data, made as the pickle names them: bytes and first byte in the file by key."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def __call__(self, saved: Any) -> Any:
        if not isinstance(saved, tuple) or len(saved) not in (5, 6):
            raise DamagedError("it names a storage in an unknown way")
        _, kind, key, _, count = saved[:5]
        if len(saved) == 6 and saved[5] is not None:
            raise UnsupportedError("was written by a very old torch; load it with torch and save it again")
        dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
        if dtype in _QUANTISED:
            raise UnsupportedError("holds quantised weights, which are not run here; get the model as fp16 or fp32")
        if not isinstance(count, int) or not 0 <= count < 1 << 48:
            raise DamagedError(f"its storage {key!r} has {count!r} numbers")
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)
        if name not in self.made:
            storage = torch.UntypedStorage(count * dtype.itemsize, device="meta")
            self.made[name] = torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)
        return self.made[name]

    def nbytes(self, name: str) -> int:
        return int(self.made[name]._untyped_storage.nbytes())

    def start(self, name: str, position: int) -> tuple[int, Start]:
        storage = self.made[name]._untyped_storage
        return int(storage._cdata), Start(position, storage)


def read_archive(file: BinaryIO, size: int) -> tuple[Any, dict[int, Start]]:
    """What a zip archive of torch's holds. Raises DamagedError, UnsupportedError, and what a spoilt file provokes."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        described = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(described) != 1:
            raise DamagedError("it is a zip archive, but not one of torch's")
        folder = described[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries:
            raise UnsupportedError(
                "is a TorchScript program and was not opened, because such a file brings code of its own; get the "
                "model's weights instead"
            )
        if _small(archive, entries, f"{folder}byteorder") not in (b"", sys.byteorder.encode()):
            raise UnsupportedError("was written on a machine with another order of bytes; save it again on this one")
        storages = _Storages()
        content = _unpickled(io.BytesIO(_small(archive, entries, described[0])), storages)
        starts: dict[int, Start] = {}
        for name in storages.made:
            entry = entries.get(f"{folder}data/{name}")
            if entry is None or entry.file_size < storages.nbytes(name):
                raise DamagedError(f"the data of its storage {name[:80]!r} is not there")
            if entry.compress_type != zipfile.ZIP_STORED:
                raise UnsupportedError(
                    "was compressed after torch had written it, so that its weights cannot be read in parts; unpack "
                    "it and pack it without compression, or save it again with torch"
                )
            position = _data_position(file, entry)
            if position + storages.nbytes(name) > size:
                raise DamagedError(f"the data of its storage {name[:80]!r} ends behind the file")
            starts.update([storages.start(name, position)])
    return content, starts


def read_legacy(file: BinaryIO, size: int) -> tuple[Any, dict[int, Start]]:
    """What a file of before torch 1.6 holds: pickles, one after the other, then the data of every storage.

    Raises as `read_archive`.
    """
    storages = _Storages()
    head = io.BufferedReader(_Limited(file, LARGEST_PICKLE))
    if _unpickled(head, storages) != _LEGACY_MAGIC:
        raise DamagedError("it does not begin as torch's files do")
    for _ in range(2):  # the protocol, and the machine that wrote it
        _unpickled(head, storages)
    content = _unpickled(head, storages)
    keys = _unpickled(head, storages)
    position = head.tell()
    starts: dict[int, Start] = {}
    for key in keys if isinstance(keys, list) else [keys]:
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)
        if name not in storages.made:
            raise DamagedError(f"it has data of a storage {name[:80]!r} that it does not name")
        file.seek(position)
        (count,) = struct.unpack("<q", file.read(8))
        nbytes = count * storages.made[name].dtype.itemsize
        if nbytes != storages.nbytes(name) or position + 8 + nbytes > size:
            raise DamagedError(f"the data of its storage {name[:80]!r} is not all there")
        starts.update([storages.start(name, position + 8)])
        position += 8 + nbytes
    if len(starts) != len(storages.made):
        raise DamagedError("the data of some of its storages is not there")
    return content, starts


class _Limited(io.RawIOBase):
    """The first `limit` bytes of a file."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._limit = file, limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._limit - self._file.tell())]
        return int(self._file.readinto(view) or 0)  # type: ignore[attr-defined]


def check_tensor(name: str, value: torch.Tensor, starts: dict[int, Start]) -> None:
    """Raises UnsupportedError for tensors of another kind than plain ones, DamagedError for those without data."""
    if value.layout != torch.strided:
        raise UnsupportedError(f"holds {name[:80]!r} as a sparse tensor; save it again with dense ones (to_dense)")
    if value.is_complex():
        raise UnsupportedError(f"holds {name[:80]!r} as complex numbers, which no network here has")
    if value.device.type != "meta" or type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise UnsupportedError(f"holds {name[:80]!r} in a way that is not read here; save plain tensors")
    start = starts.get(identity(value))
    if start is None:
        raise UnsupportedError(f"holds {name[:80]!r} without its numbers (a meta tensor); save it with its data")
    # torch lets a tensor reach beyond its storage as long as it has no data.
    last = (value.storage_offset() + extent(value)) * value.itemsize
    if last > start.storage.nbytes() or value.numel() > max(1, extent(value)):
        raise DamagedError(f"its tensor {name[:80]!r} is larger than its data")


def _unpickled(file: Any, storages: _Storages) -> Any:
    unpickler = Unpickler(file, encoding="utf-8")
    unpickler.persistent_load = storages  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols that torch itself does not write
        try:
            return unpickler.load()
        except UnpicklingError as error:
            raise RefusedError(str(error)) from error


def _small(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    entry = entries.get(name)
    if entry is None:
        return b""
    if entry.file_size > LARGEST_PICKLE:
        raise DamagedError(f"its {name[:80]} has {entry.file_size} bytes")
    return archive.read(entry)


def _data_position(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """The first byte of an entry's data: behind its local header, whose extra field pads it to a full line."""
    file.seek(entry.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise DamagedError("its list of content does not fit its content")
    name, extra = struct.unpack("<HH", header[26:30])
    return entry.header_offset + _LOCAL_HEADER + int(name) + int(extra)
