"""Weights off the disk, without running anything that a file may contain.

`read` knows every tensor's size and place and takes no memory, so that the planner can decide before anything is
allocated; `StoredTensors.load` reads tensors into memory of our own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile, LargeZipFile, is_zipfile

import torch

from ...catalog.opening import Stamp, open_file, reason
from ...errors import ModelFileError
from . import ncnn_file, pickled_weights, safetensors_file
from .stored_tensors import DamagedError, StateDict, StoredTensors, UnsupportedError

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
DEPTH = 4  # dictionaries inside dictionaries

# What a spoilt pickle or zip makes their readers raise. OverflowError and UnicodeError are ValueErrors' like.
_SPOILT = (
    BadZipFile, LargeZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, LookupError,
    AttributeError, TypeError, ArithmeticError, AssertionError, NotImplementedError, RecursionError, MemoryError,
)  # fmt: skip


def read(path: Path) -> StoredTensors:
    """What a file holds, its tensors on torch's meta device. Raises ModelFileError."""
    suffix = path.suffix.lower()
    if suffix == ncnn_file.SUFFIX:
        return ncnn_file.read(path)
    if suffix not in SUFFIXES:
        Stamp.of(path)
        raise ModelFileError(
            f"{path.name} is not a model that can be loaded: {suffix or 'a file without an ending'} is unknown. "
            "Supported are .safetensors, .pth, .pt, .ckpt and .param with its .bin."
        )
    with open_file(path) as file:
        stamp = Stamp.of_open(file)
        try:
            if suffix == ".safetensors":
                tensors, starts, notes = safetensors_file.read_header(file, stamp.size)
                _check_scaled(tensors)
                return StoredTensors(path, stamp, tensors, starts, notes)
            return _pickled(file, path, stamp)
        except pickled_weights.RefusedError as error:
            if _is_pickle(file, str(error)):
                raise ModelFileError(
                    f"{path.name} contains Python code beside its weights and was not opened, because such a file "
                    "can run anything on this machine. Get it as .safetensors, or from a source that you trust "
                    "to have saved the weights alone."
                ) from error
            raise _damaged(path, stamp.size) from error
        except UnsupportedError as error:
            raise ModelFileError(f"{path.name} cannot be used: it {error}.") from error
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {reason(error)}.") from error
        except (DamagedError, *_SPOILT) as error:
            raise _damaged(path, stamp.size) from error


def shapes(path: Path) -> StateDict:
    """The file's tensors on torch's meta device: shapes and types, no data. Raises ModelFileError."""
    return read(path).content


def tensors(path: Path) -> StateDict:
    """The tensors of a file that nests none, on the CPU as they are stored. Raises ModelFileError."""
    file = read(path)
    plain = {name: value for name, value in file.content.items() if isinstance(value, torch.Tensor)}
    return file.load(plain, torch.device("cpu"))


def metadata(path: Path) -> dict[str, str]:
    """The text that a safetensors file carries beside its tensors; empty for other formats."""
    return dict(read(path).metadata) if path.suffix.lower() == ".safetensors" else {}


def _pickled(file: BinaryIO, path: Path, stamp: Stamp) -> StoredTensors:
    zipped = is_zipfile(file)
    file.seek(0)
    content, starts = (pickled_weights.read_archive if zipped else pickled_weights.read_legacy)(file, stamp.size)
    if not isinstance(content, dict):
        raise ModelFileError(
            f"{path.name} holds {type(content).__name__} instead of named weights. Save the model's "
            "state_dict and load that."
        )
    tensors = dict(_named(content, DEPTH))
    for name, value in tensors.items():
        pickled_weights.check_tensor(name, value, starts)
    _check_scaled(tensors)
    return StoredTensors(path, stamp, content, starts)


def _named(content: dict[Any, Any], depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            yield str(key), value
        elif isinstance(value, dict) and depth:
            yield from _named(value, depth - 1)


def _check_scaled(tensors: StateDict) -> None:
    """Eight bits are converted as they are; where each tensor has a scale besides, that would be wrong."""
    small = any(value.itemsize == 1 and value.is_floating_point() for value in tensors.values())
    scales = [name for name in tensors if name.endswith(("scale_weight", "weight_scale", "scaled_fp8"))]
    if small and scales:
        raise UnsupportedError(
            f"holds FP8 weights with scales beside them ({scales[0][:80]!r}), which is not supported; convert it to "
            "fp16"
        )


def _damaged(path: Path, size: int) -> ModelFileError:
    return ModelFileError(
        f"{path.name} ({size} bytes) is damaged or not a model file: its content cannot be read. A download "
        "that broke off, or a web page saved under the model's name, looks like this. Download it again."
    )


def _is_pickle(file: BinaryIO, refusal: str) -> bool:
    """Whether a file that was refused is a torch archive or a bare pickle, as opposed to text or noise."""
    file.seek(0)
    if is_zipfile(file):
        return "unsupported operand" not in refusal.lower()  # torch writes none of these: the archive is spoilt
    file.seek(0)
    return file.read(1) == pickled_weights.FIRST_BYTE
