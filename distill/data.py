"""Training pictures in memory and the patches cut from them.

The folder holds `portraits/`, `one_person/` and `photos/`; the model card names their sources. Others,
above all `pairs/`, are never opened: they are held back for evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ImageError
from .degrade import SEVERITIES, Image, degrade, degraded_randomly

Pixels = NDArray[np.uint8]
HELD_OUT = 10  # portraits, the last by name
HEAD = (0.42, 0.5)  # middle of the head in a portrait, as shares of its height and width
MARGIN = 16  # px around a patch: its position in the JPEG grid and the resampling lattice then varies


@dataclass(frozen=True)
class Group:
    """Pictures of one kind and size; `chance` is the weight of drawing from it, `faces` tells portraits."""

    pictures: tuple[Pixels, ...]
    chance: float
    faces: bool


@dataclass(frozen=True)
class Pictures:
    """uint8 RGB pictures to train on, and the held-out 512 px portraits."""

    groups: tuple[Group, ...]
    held_out: tuple[Pixels, ...]


def read_picture(path: Path) -> Pixels:
    """(H, W, 3) uint8 RGB; raises `ImageError` for a file that is no picture."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ImageError(f"{path} cannot be read as a picture; remove it or put a whole copy there.")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8, copy=False)


def as_float(picture: Pixels) -> Image:
    """float32 0..1 of the same shape."""
    return np.asarray(picture, np.float32) / np.float32(255)


def resized(picture: Pixels, longest: int) -> Pixels:
    """`picture` shrunk by area averaging to a longer side of `longest` px; a smaller one stays as it is."""
    height, width = picture.shape[:2]
    ratio = longest / max(height, width)
    if ratio >= 1:
        return picture
    size = (round(width * ratio), round(height * ratio))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_folder(folder: Path) -> list[Pixels]:
    return [read_picture(path) for path in sorted(folder.glob("*.*")) if path.suffix in (".jpg", ".png")]


def read_pictures(data: Path) -> Pictures:
    """All training pictures under `data`, at the scales at which faces and frames are usually restored.

    Raises `ImageError` when there are not enough portraits to train on and to hold out.
    """
    portraits = read_folder(data / "portraits")
    if len(portraits) <= HELD_OUT:
        raise ImageError(
            f"{data / 'portraits'} holds {len(portraits)} pictures: put more than {HELD_OUT} there."
        )
    seen, held_out = portraits[:-HELD_OUT], portraits[-HELD_OUT:]
    photos = read_folder(data / "photos")
    others = [resized(picture, longest) for picture in photos for longest in (768, 2048)]
    others += read_folder(data / "one_person")
    groups = [
        Group(tuple(resized(p, longest) for p in seen), chance, faces=True)
        for longest, chance in ((256, 0.15), (384, 0.15), (512, 0.25), (768, 0.15), (1024, 0.10))
    ]
    if others:
        groups.append(Group(tuple(others), 0.20, faces=False))
    return Pictures(tuple(groups), tuple(resized(p, 512) for p in held_out))


def crop_corner(shape: tuple[int, ...], side: int, faces: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a crop: anywhere, or in portraits half of the time around the place where heads are."""
    free = [length - side for length in shape[:2]]
    if not faces or rng.random() < 0.5:
        return int(rng.integers(0, free[0] + 1)), int(rng.integers(0, free[1] + 1))
    middles = (rng.normal(place, 0.13) * length for place, length in zip(HEAD, shape[:2], strict=True))
    top, left = (int(np.clip(at - side / 2, 0, most)) for at, most in zip(middles, free, strict=True))
    return top, left


def random_crop(pictures: Pictures, side: int, rng: np.random.Generator) -> Image:
    """(side, side, 3) float32 0..1 crop, mirrored half of the time, sometimes darkened a little."""
    chances = np.array([group.chance for group in pictures.groups])
    group = pictures.groups[rng.choice(len(chances), p=chances / chances.sum())]
    picture = group.pictures[rng.integers(len(group.pictures))]
    top, left = crop_corner(picture.shape, side, group.faces, rng)
    crop = picture[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop * np.float32(rng.uniform(0.8, 1) / 255))


def patch_pair(pictures: Pictures, side: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """A degraded patch and its original, both (side, side, 3)."""
    crop = random_crop(pictures, side + MARGIN, rng)
    damaged = degraded_randomly(crop, rng)
    top, left = rng.integers(0, MARGIN + 1, 2)
    inner = (slice(top, top + side), slice(left, left + side))
    return damaged[inner], crop[inner]


def as_batch(images: list[Image]) -> Tensor:
    """(B, 3, H, W) float32, channels last in memory."""
    rows = torch.from_numpy(np.stack(images))
    return rows.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def batch(pictures: Pictures, side: int, size: int, seed: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """`size` degraded patches and their originals; the same for the same seed, whatever was drawn before."""
    rng = np.random.default_rng(seed)
    pairs = [patch_pair(pictures, side, rng) for _ in range(size)]
    return as_batch([damaged for damaged, _ in pairs]), as_batch([original for _, original in pairs])


def held_out_pairs(pictures: Pictures) -> dict[str, tuple[Tensor, Tensor]]:
    """For each preset severity the held-out portraits, degraded and original, cut to multiples of 32 px."""
    whole = [as_float(picture) for picture in pictures.held_out]
    originals = [picture[: picture.shape[0] // 32 * 32, : picture.shape[1] // 32 * 32] for picture in whole]
    return {
        name: (as_batch([degrade(p, preset, seed) for seed, p in enumerate(originals)]), as_batch(originals))
        for name, preset in SEVERITIES.items()
    }
