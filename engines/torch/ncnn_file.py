"""Networks in ncnn's format: a .param file lists layers as text, the .bin beside it holds their weights.

Each convolution has a flag, its weight in fp16 filled up to four bytes, and its bias in fp32; each PReLU its slopes in
fp32. Known are RRDBNet (ESRGAN) and the compact network of Real-ESRGAN, which get the names that torch's files have.
"""

from __future__ import annotations

import io
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ...catalog.opening import Stamp, open_file
from ...errors import ModelFileError
from .stored_tensors import Start, StoredTensors, identity

SUFFIX = ".param"
HALVES = 0x01306B47  # ncnn's flag for a weight in fp16
PER_BLOCK = 15  # convolutions of a residual-in-residual block: three dense blocks of five
BESIDE_BLOCKS = 6


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the .bin. offset: of its first byte."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def read(param: Path) -> StoredTensors:
    """What the .bin beside a .param file holds, its tensors on torch's meta device. Raises ModelFileError."""
    weights = param.with_suffix(".bin")
    try:
        text = param.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{param.name} is not a text file, as ncnn's {SUFFIX} files are.") from error
    except OSError as error:
        raise ModelFileError(f"{param} cannot be read ({error.strerror}).") from error
    if not weights.exists():
        raise ModelFileError(f"{weights} does not exist; {SUFFIX} and .bin belong together.")
    tensors, starts = {}, {}
    with open_file(weights) as file:
        for name, place in layout(text, file, param.name).items():
            tensors[name] = torch.empty(place.shape, dtype=place.dtype, device="meta")
            starts[identity(tensors[name])] = Start(place.offset, tensors[name].untyped_storage())
        return StoredTensors(weights, Stamp.of_open(file), tensors, starts)


def named_tensors(text: str, content: bytes, name: str) -> dict[str, torch.Tensor]:
    """text, content: of the two files. name: of the first, for sentences. Raises ModelFileError."""
    tensors = {}
    for tensor, place in layout(text, io.BytesIO(content), name).items():
        kind = np.float16 if place.dtype == torch.float16 else np.float32
        values = np.frombuffer(content, kind, math.prod(place.shape), place.offset)
        tensors[tensor] = torch.from_numpy(values.astype(np.float32).reshape(place.shape))
    return tensors


def layout(text: str, weights: BinaryIO, name: str) -> dict[str, Place]:
    """Where each tensor lies in the .bin, by its name. Raises ModelFileError."""
    try:
        layers = _layers(text, weights, name)
    except (KeyError, ValueError, struct.error) as error:
        raise ModelFileError(f"{name} or its .bin is damaged, or of a kind that is not supported ({error}).") from error
    convolutions = sum(len(layer["weight"].shape) == 4 for layer in layers)
    names = _rrdb_names(len(layers)) if convolutions == len(layers) else [f"body.{i}" for i in range(len(layers))]
    if len(names) != len(layers):
        raise ModelFileError(f"{name} has {len(layers)} convolutions, which no supported upscaler has.")
    named = zip(names, layers, strict=True)
    return {f"{layer_name}.{key}": place for layer_name, layer in named for key, place in layer.items()}


def _layers(text: str, weights: BinaryIO, name: str) -> list[dict[str, Place]]:
    """The layers that have weights, in their order."""
    offset, layers = 0, []
    end = weights.seek(0, os.SEEK_END)

    def take(count: int, shape: tuple[int, ...], dtype: torch.dtype) -> Place:
        nonlocal offset
        size = -(-count * dtype.itemsize // 4) * 4
        if count < 1 or count != math.prod(shape) or offset + size > end:
            raise ValueError(f"a layer of {count} values at byte {offset} of {end}")
        place = Place(offset, shape, dtype)
        offset += size
        return place

    for line in text.splitlines()[2:]:
        kind, *words = line.split() or [""]
        sizes = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
        if kind == "Convolution":
            weights.seek(offset)
            (flag,) = struct.unpack("<I", weights.read(4))
            if flag != HALVES:
                raise ModelFileError(f"{name} holds weights of another type than fp16 (flag {flag:#x}).")
            offset += 4
            outputs, side, count = (int(sizes[key]) for key in ("0", "1", "6"))
            inputs = count // max(1, outputs * side**2)
            weight = take(count, (outputs, inputs, side, side), torch.float16)
            layers.append({"weight": weight, "bias": take(outputs, (outputs,), torch.float32)})
        elif kind == "PReLU":
            slopes = int(sizes["0"])
            layers.append({"weight": take(slopes, (slopes,), torch.float32)})
    if offset != end:
        raise ModelFileError(f"{name} and its .bin do not belong together: {end - offset} bytes are left.")
    return layers


def _rrdb_names(count: int) -> list[str]:
    """What RRDBNet's convolutions are called, of which there are `count`."""
    blocks, parts, last = range((count - BESIDE_BLOCKS) // PER_BLOCK), range(1, 4), range(1, 6)
    body = [f"body.{block}.rdb{part}.conv{index}" for block in blocks for part in parts for index in last]
    return ["conv_first", *body, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
