"""Networks in ncnn's format as the files that users have: real weights for measurements, from a package.

A .param file lists layers as text; its .bin holds, in their order, each convolution's weight (a flag, then halves) and
bias (floats) and each PReLU's slopes. Known are RRDBNet and the compact network of Real-ESRGAN.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ..errors import ModelFileError

HALVES = 0x01306B47  # ncnn's flag for a weight in fp16
PER_BLOCK = 15  # convolutions of an RRDB

Layer = dict[str, torch.Tensor]


def as_safetensors(param: Path, folder: Path) -> Path:
    """The network of a .param file and the .bin beside it, as a file in `folder`. Raises ModelFileError."""
    layers = read_layers(param)
    convolutions = sum(each["weight"].ndim == 4 for each in layers)
    names = rrdb_names(len(layers)) if convolutions == len(layers) else [f"body.{i}" for i in range(len(layers))]
    named = zip(names, layers, strict=True)
    weights = {f"{name}.{key}": value for name, layer in named for key, value in layer.items()}
    path = folder / f"{param.stem}.safetensors"
    save_file(weights, path)
    return path


def read_layers(param: Path) -> list[Layer]:
    """The layers that have weights, float32, in their order."""
    content, place, layers = param.with_suffix(".bin").read_bytes(), 0, []

    def taken(count: int, kind: type) -> torch.Tensor:
        nonlocal place
        values = np.frombuffer(content, kind, count, place).astype(np.float32)
        place += -(-values.size * np.dtype(kind).itemsize // 4) * 4
        return torch.from_numpy(values)

    for line in param.read_text().splitlines()[2:]:
        kind, *words = line.split() or [""]
        sizes = dict(word.split("=") for word in words if "=" in word and not word.startswith("-"))
        if kind == "Convolution":
            (flag,) = struct.unpack_from("<I", content, place)
            if flag != HALVES:
                raise ModelFileError(f"{param.name} holds weights of another kind than fp16 (flag {flag:#x}).")
            place += 4
            channels, side = int(sizes["0"]), int(sizes["1"])
            weight = taken(int(sizes["6"]), np.float16).reshape(channels, -1, side, side)
            layers.append({"weight": weight, "bias": taken(channels, np.float32)})
        elif kind == "PReLU":
            layers.append({"weight": taken(int(sizes["0"]), np.float32)})
    if place != len(content):
        left = len(content) - place
        raise ModelFileError(f"{param.name} and its .bin do not belong together: {left} bytes are left.")
    return layers


def rrdb_names(count: int) -> list[str]:
    """What RRDBNet's convolutions are called, of which there are `count`."""
    blocks, parts, last = range((count - 6) // PER_BLOCK), range(1, 4), range(1, 6)
    body = [f"body.{block}.rdb{part}.conv{index}" for block in blocks for part in parts for index in last]
    return ["conv_first", *body, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
