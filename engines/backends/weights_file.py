"""Weights off the disk, without running anything that a file may contain.

Two readings: `shapes` knows every tensor's size and takes no memory, so that the planner can decide before
anything is allocated; `tensors` maps the file, so that weights used as they are stored cost no second copy.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import torch
from safetensors import SafetensorError, safe_open

from ...errors import ModelFileError
from . import ncnn_file

StateDict = dict[str, Any]

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


def shapes(path: Path) -> StateDict:
    """The file's tensors on torch's meta device: shapes and types, no data. Raises ModelFileError."""
    return _checked(path, _safetensors_shapes, "meta")


def tensors(path: Path) -> StateDict:
    """The file's tensors on the CPU, mapped from the file where its format allows. Raises ModelFileError."""
    return _checked(path, _safetensors_tensors, "cpu")


def metadata(path: Path) -> dict[str, str]:
    """The text that a safetensors file carries beside its tensors; empty for other formats."""
    if path.suffix.lower() != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _checked(path: Path, read_safetensors: Callable[[Path], StateDict], device: str) -> StateDict:
    if not path.is_file():
        raise ModelFileError(f"The model file {path} does not exist.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            return read_safetensors(path)
        if suffix == ncnn_file.SUFFIX:
            return {name: value.to(device) for name, value in ncnn_file.read(path).items()}
        if suffix in (".pth", ".pt", ".ckpt"):
            # Files written before torch 1.6 are no archives and cannot be mapped.
            return _only_tensors(
                torch.load(path, map_location=device, mmap=is_zipfile(path) or None, weights_only=True), path
            )
    except pickle.UnpicklingError as error:
        if "weights only load failed" in str(error).lower() and _is_pickle(path):
            raise ModelFileError(
                f"{path.name} contains Python code beside its weights and was not opened, because such a file "
                "can run anything on this machine. Get it as .safetensors, or from a source that you trust "
                "to have saved the weights alone."
            ) from error
        raise _damaged(path) from error
    except (SafetensorError, BadZipFile, EOFError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path) from error
    raise ModelFileError(
        f"{path.name} is not a model that can be loaded: {suffix or 'a file without an ending'} is unknown. "
        "Supported are .safetensors, .pth, .pt, .ckpt and .param with its .bin."
    )


def _damaged(path: Path) -> ModelFileError:
    size = path.stat().st_size
    return ModelFileError(
        f"{path.name} ({size} bytes) is damaged or not a model file: its content cannot be read. A download "
        "that broke off, or a web page saved under the model's name, looks like this. Download it again."
    )


def _is_pickle(path: Path) -> bool:
    """Whether a file is a torch archive or a bare pickle, as opposed to text or noise."""
    with path.open("rb") as file:
        return is_zipfile(path) or file.read(1) == pickle.PROTO


def _only_tensors(content: Any, path: Path) -> StateDict:
    if not isinstance(content, dict):
        raise ModelFileError(
            f"{path.name} holds {type(content).__name__} instead of named weights. Save the model's "
            "state_dict and load that."
        )
    return content


def _safetensors_shapes(path: Path) -> StateDict:
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return {
            name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
            for name, part in slices.items()
        }


def _safetensors_tensors(path: Path) -> StateDict:
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
