"""The header of a safetensors file: its tensors' types, shapes and places.

Read here and not by the safetensors package, which maps the file and cannot open every name that a disk allows.
Format: github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import torch

from .stored_tensors import DamagedError, Start, StateDict, UnsupportedError, identity

LONGEST_HEADER = 100_000_000  # bytes, the format's own limit

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


def read_header(file: BinaryIO, size: int) -> tuple[StateDict, dict[int, Start], dict[str, str]]:
    """Tensors on the meta device, their places, and the file's notes. Raises DamagedError, UnsupportedError."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise DamagedError("its header is longer than the file")
    try:
        header = json.loads(file.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError("its header is no JSON") from error
    if not isinstance(header, dict):
        raise DamagedError("its header is no list of tensors")
    notes = header.pop("__metadata__", None) or {}
    if not isinstance(notes, dict):
        raise DamagedError("its notes are no texts with names")
    tensors: StateDict = {}
    starts: dict[int, Start] = {}
    used = 0
    for name, entry in header.items():
        tensors[name], begin, end = _tensor(name, entry, size - 8 - length)
        starts[identity(tensors[name])] = Start(8 + length + begin, tensors[name].untyped_storage())
        used += end - begin
    if used != size - 8 - length:
        raise DamagedError(f"its tensors have {used} bytes and the file has {size - 8 - length} for them")
    return tensors, starts, {key: str(value) for key, value in notes.items()}


def _tensor(name: str, entry: Any, available: int) -> tuple[torch.Tensor, int, int]:
    """A tensor without its data, and the first and last byte of it behind the header."""
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"what it says of its tensor {name[:80]!r} is incomplete") from error
    numbers = [*shape, begin, end] if isinstance(shape, list) else [None]
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
        raise DamagedError(f"its tensor {name[:80]!r} has an impossible shape or place")
    if not isinstance(kind, str):
        raise DamagedError(f"its tensor {name[:80]!r} has no type")
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise UnsupportedError(f"holds {name[:80]!r} as {kind[:20]}, which is not supported; convert it to fp16")
    if end > available or end - begin != math.prod(shape) * dtype.itemsize or len(shape) > 32:
        raise DamagedError(f"its tensor {name[:80]!r} of shape {shape[:8]} does not fit its {end - begin} bytes")
    return torch.empty(shape, dtype=dtype, device="meta"), begin, end
