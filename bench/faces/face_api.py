"""A second opinion on faces, for measuring: face-api's 68-point landmarks and dlib's 128-number recogniser.

npm fetches their package into the user's cache when it is not there. Pictures are (H, W, 3) float32 RGB, 0..1.
"""

from __future__ import annotations

import subprocess
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...distill.face_api import ARCHIVE, CHIP_SIZE, PACKAGE, chip_points, embeddings, normalised, weights
from ...environment import cache_folder
from ...errors import DependencyError
from ...faces.align import similarity, warped
from ...faces.face import Face

LANDMARK_SIZE = 112  # px
BOX_SCALES = (0.95, 1.0, 1.05)  # the landmarks are averaged over crops of the box at these sizes, and mirrored ones
# Where each of the 68 points is found in a mirrored picture.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
)  # fmt: skip

Image = NDArray[np.float32]


@cache
def fetch() -> None:
    """Brings the package into the cache once; raises `DependencyError`."""
    folder = cache_folder()
    if (folder / ARCHIVE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, capture_output=True, text=True, check=False)
        said = done.stderr[-300:]
    except OSError as error:
        said = str(error)
    if not (folder / ARCHIVE).exists():
        raise DependencyError(f"npm could not fetch {PACKAGE}: put {ARCHIVE} into {folder}. {said}")


def landmarks68(frame: Image, face: Face) -> NDArray[np.float32]:
    """The 68 points (68, 2) float32 x y of a face, in pixels of its frame."""
    fetch()
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
    fetch()
    chip = warped(frame[..., :3], similarity(face.landmarks, chip_points()), (CHIP_SIZE, CHIP_SIZE))
    with torch.inference_mode():
        return embeddings(_planes(chip)[None])[0].numpy()


def _planes(picture: Image) -> Tensor:
    """(3, H, W) of a picture."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's SAME padding, which puts the odd pixel right and below."""
    height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


@torch.inference_mode()
def _landmark_network(x: Tensor) -> Tensor:
    """(n, 3, 112, 112) -> (n, 136) x y in 0..1."""
    tensors, x = weights("face_landmark_68_model"), normalised(x)

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
