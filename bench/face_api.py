"""A second opinion on faces, for measuring only: face-api's 68-point landmarks and dlib's 128-number recogniser.

Neither is used by the package. The weights come out of the npm package @vladmandic/face-api 1.7.15 (MIT; the
recogniser's are dlib's, CC0), which npm fetches once into the user's cache and which is only read. Networks:
Muehler, "face-api.js", 2018; King, "dlib-models", 2017. Pictures are (H, W, 3) float32 RGB, 0..1.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DependencyError
from ..faces.align import similarity, warped
from ..faces.face import Face
from .metrics import cache_folder

PACKAGE = "@vladmandic/face-api@1.7.15"
ARCHIVE = "vladmandic-face-api-1.7.15.tgz"
SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
LANDMARK_SIZE, CHIP_SIZE = 112, 150  # px
CHIP_PADDING = 0.25  # of the chip inside it, on each side
MEAN = (122.782, 117.001, 104.298)
# dlib's face chip without its padding: the five points as fractions of its side.
CHIP_POINTS = np.array([[0.2255, 0.2160], [0.7547, 0.2160], [0.4901, 0.5156], [0.2541, 0.7802], [0.7261, 0.7802]])
BOX_SCALES = (0.95, 1.0, 1.05)  # the landmarks are averaged over crops of the box at these sizes, and mirrored ones
# Where each of the 68 points is found in a mirrored picture.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
)  # fmt: skip

Weights = dict[str, Tensor]
Image = NDArray[np.float32]


def fetched_archive(folder: Path) -> Path:
    """The package in `folder`, fetched with npm when it is not there; raises `DependencyError`."""
    archive = folder / ARCHIVE
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, capture_output=True, text=True, check=False)
            said = done.stderr[-300:]
        except OSError as error:
            said = str(error)
        if not archive.exists():
            raise DependencyError(f"npm could not fetch {PACKAGE}: put {ARCHIVE} into {folder}. {said}")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise DependencyError(f"{archive} is not the file expected: delete it and run again.")
    return archive


@lru_cache(maxsize=2)
def weights(name: str) -> Weights:
    """The tensors of one of the package's networks; 8-bit ones are value * scale + min."""
    with tarfile.open(fetched_archive(cache_folder())) as archive:
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


def landmarks68(frame: Image, face: Face) -> NDArray[np.float32]:
    """The 68 points (68, 2) float32 x y of a face, in pixels of its frame."""
    x0, y0, x1, y1 = (float(value) for value in face.box)
    middle, side = np.array([x0 + x1 - 1, y0 + y1 - 1]) / 2, max(x1 - x0, y1 - y0)
    crops, scales = [], [side * scale / LANDMARK_SIZE for scale in BOX_SCALES]
    for scale in scales:
        shift = (LANDMARK_SIZE - 1) / 2 - middle / scale
        affine = np.column_stack([np.eye(2) / scale, shift])
        crops.append(_planes(warped(frame[..., :3], affine, (LANDMARK_SIZE, LANDMARK_SIZE))))
    upright = torch.stack(crops)
    found = _landmark_network(torch.cat([upright, upright.flip(3)])).reshape(2, -1, 68, 2).numpy()
    found = found * LANDMARK_SIZE - LANDMARK_SIZE / 2  # from the crop's middle
    turned = found[1][:, MIRRORED] * (-1, 1)
    each = [points * scale + middle for points, scale in zip((found[0] + turned) / 2, scales, strict=True)]
    return np.mean(each, 0).astype(np.float32)


def embedding(frame: Image, face: Face) -> NDArray[np.float32]:
    """dlib's (128,) float32 of a face; people are told apart by a distance of about 0.5."""
    points = (CHIP_POINTS + CHIP_PADDING) / (1 + 2 * CHIP_PADDING) * CHIP_SIZE
    chip = warped(frame[..., :3], similarity(face.landmarks, points), (CHIP_SIZE, CHIP_SIZE))
    return _recogniser(_planes(chip)[None])[0].numpy()


def _planes(picture: Image) -> Tensor:
    """(3, H, W) in the range that both networks were trained with."""
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1) * 255
    return (planes - torch.tensor(MEAN).view(3, 1, 1)) / 255


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding, which puts the odd pixel right and below."""
    height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


@torch.inference_mode()
def _landmark_network(x: Tensor) -> Tensor:
    """(n, 3, 112, 112) -> (n, 136) x y in 0..1."""
    tensors = weights("face_landmark_68_model")

    def convolved(x: Tensor, name: str, stride: int) -> Tensor:
        if f"{name}/filters" in tensors:
            kernel = tensors[f"{name}/filters"].permute(3, 2, 0, 1)
            return F.conv2d(_same(x, 3, stride), kernel, tensors[f"{name}/bias"], stride)
        depthwise = tensors[f"{name}/depthwise_filter"].permute(2, 3, 0, 1)
        x = F.conv2d(_same(x, 3, stride), depthwise, None, stride, groups=x.shape[1])
        return F.conv2d(x, tensors[f"{name}/pointwise_filter"].permute(3, 2, 0, 1), tensors[f"{name}/bias"])

    for block in range(4):
        total = F.relu(convolved(x, f"dense{block}/conv0", 2))
        for layer in (1, 2, 3):
            total = total + convolved(F.relu(total) if layer > 1 else total, f"dense{block}/conv{layer}", 1)
        x = F.relu(total)
    x = F.avg_pool2d(x, 7, 2).permute(0, 2, 3, 1).flatten(1)
    return x @ tensors["fc/weights"] + tensors["fc/bias"]


@torch.inference_mode()
def _recogniser(x: Tensor) -> Tensor:
    """(n, 3, 150, 150) -> (n, 128)."""
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
