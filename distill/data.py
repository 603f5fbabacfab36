"""Training pictures in memory and the patches cut from them.

The bundled network's folder holds `portraits/`, `one_person/` and `photos/`; the model card names their sources.
Others, above all `pairs/`, are never opened: they are held back for evaluation. Any other folder is searched through,
and every tenth of its pictures is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ImageError
from ..opencv import cv2
from .degrade import SEVERITIES, Image, degrade, degraded_randomly, random_look

Pixels = NDArray[np.uint8]
HELD_OUT = 10  # portraits, the last by name
HELD_BACK = "pairs"  # a folder's name: for evaluation alone
FEWEST = 4  # pictures of a folder of another layout: one is held out
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Longer side in px and chance; faces are restored at about the size that those of 512 to 768 px have.
PORTRAIT_SCALES = ((256, 0.08), (384, 0.12), (512, 0.25), (768, 0.25), (1024, 0.10))
SCALES = ((512, 0.5), (1024, 0.5))
LOOKED_AT = 0.35  # share of crops around an eye or the mouth, where a face's points are known
HEAD = (0.42, 0.5)  # middle of the head in a portrait, as shares of its height and width
MARGIN = 16  # px around a patch: its position in the JPEG grid and the resampling lattice then varies


@dataclass(frozen=True)
class Group:
    """Pictures of one kind and size; `chance` is the weight of drawing from it, `faces` tells portraits.

    points: (5, 2) of each picture's face, x and y in px; None where none was found.
    """

    pictures: tuple[Pixels, ...]
    chance: float
    faces: bool
    points: tuple[NDArray[np.float32] | None, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """uint8 RGB pictures to train on, the held-out ones of up to 512 px, and what was left out and why."""

    groups: tuple[Group, ...]
    held_out: tuple[Pixels, ...]
    skipped: tuple[str, ...] = ()


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


def picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder` and below, by name; what lies in a folder called pairs is never among them."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [path for path in files if HELD_BACK not in path.relative_to(folder).parts]


def read_folder(folder: Path, least: int, skipped: list[str]) -> list[Pixels]:
    """The pictures in `folder`; adds to `skipped` a sentence for each that is unreadable or under `least` px."""
    found = []
    for path in picture_files(folder):
        try:
            picture = read_picture(path)
        except ImageError as error:
            skipped.append(str(error))
            continue
        height, width = picture.shape[:2]
        if min(height, width) >= least:
            found.append(picture)
        else:
            skipped.append(f"{path} has {width} x {height} pixels, under {least} a side: it is left out.")
    return found


def read_pictures(data: Path, side: int = 128) -> Pictures:
    """All training pictures under `data`, at the scales at which faces and frames are usually restored.

    side: of the crops that will be asked for. Raises `ImageError` when there are not enough pictures to train on
    and to hold out.
    """
    least, skipped = side + MARGIN, list[str]()
    if (data / "portraits").is_dir():
        return bundled_pictures(data, least)
    pictures = read_folder(data, least, skipped) if data.is_dir() else []
    if len(pictures) < FEWEST:
        raise ImageError(f"{data} holds {len(pictures)} pictures that can be used: put {FEWEST} or more there.")
    held_out = pictures[::10]
    seen = [picture for index, picture in enumerate(pictures) if index % 10]
    return Pictures(groups_of(seen, SCALES, least, False), tuple(resized(p, 512) for p in held_out), tuple(skipped))


def bundled_pictures(data: Path, least: int) -> Pictures:
    """The bundled network's own training pictures; the last portraits by name are held out."""
    skipped = list[str]()
    portraits = read_folder(data / "portraits", least, skipped)
    if len(portraits) <= HELD_OUT:
        raise ImageError(f"{data / 'portraits'} holds {len(portraits)} pictures: put more than {HELD_OUT} there.")
    seen, held_out = portraits[:-HELD_OUT], portraits[-HELD_OUT:]
    photos = read_folder(data / "photos", least, skipped)
    others = [resized(picture, longest) for picture in photos for longest in (768, 2048)]
    others += read_folder(data / "one_person", least, skipped)
    groups = groups_of(seen, PORTRAIT_SCALES, least, True)
    if others:
        groups += (Group(tuple(others), 0.20, faces=False),)
    return Pictures(groups, tuple(resized(p, 512) for p in held_out), tuple(skipped))


def groups_of(
    pictures: list[Pixels], scales: Sequence[tuple[int, float]], least: int, faces: bool
) -> tuple[Group, ...]:
    """A group for each (longer side, chance), without pictures that would get too small for a crop."""
    groups = []
    for longest, chance in scales:
        small = [resized(picture, longest) for picture in pictures]
        enough = tuple(picture for picture in small if min(picture.shape[:2]) >= least)
        groups.append(Group(enough or tuple(pictures), chance, faces))
    return tuple(groups)


def crop_corner(shape: tuple[int, ...], side: int, faces: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a crop: anywhere, or in portraits half of the time around the place where heads are."""
    free = [length - side for length in shape[:2]]
    if not faces or rng.random() < 0.5:
        return int(rng.integers(0, free[0] + 1)), int(rng.integers(0, free[1] + 1))
    middles = (rng.normal(place, 0.13) * length for place, length in zip(HEAD, shape[:2], strict=True))
    top, left = (int(np.clip(at - side / 2, 0, most)) for at, most in zip(middles, free, strict=True))
    return top, left


def corner_around(
    points: NDArray[np.float32], shape: tuple[int, ...], side: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Top and left of a crop with an eye or the mouth in it, not always in its middle."""
    middle = (points[0], points[1], points[3:].mean(0))[rng.integers(3)] + rng.uniform(-side / 4, side / 4, 2)
    left, top = (int(np.clip(m - side / 2, 0, n - side)) for m, n in zip(middle, shape[1::-1], strict=True))
    return top, left


def random_crop(pictures: Pictures, side: int, rng: np.random.Generator) -> Image:
    """(side, side, 3) float32 0..1 crop, mirrored half of the time, sometimes darkened a little."""
    chances = np.array([group.chance for group in pictures.groups])
    group = pictures.groups[rng.choice(len(chances), p=chances / chances.sum())]
    index = int(rng.integers(len(group.pictures)))
    picture, points = group.pictures[index], group.points[index] if group.points else None
    if points is not None and rng.random() < LOOKED_AT:
        top, left = corner_around(points, picture.shape, side, rng)
    else:
        top, left = crop_corner(picture.shape, side, group.faces, rng)
    crop = picture[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop * np.float32(rng.uniform(0.8, 1) / 255))


def patch_pair(pictures: Pictures, side: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """A degraded patch and its original, both (side, side, 3)."""
    crop = random_look(random_crop(pictures, side + MARGIN, rng), rng)
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


def cut_patches(
    batches: tuple[Tensor, Tensor, Tensor], side: int, size: int, seed: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """`size` patches of `side` px at the same random places of three batches (B, 3, H, W), B by turns."""
    rng = np.random.default_rng((*seed, 2))
    count, _, height, width = batches[0].shape
    places = [
        (index % count, int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)))
        for index in range(size)
    ]
    one, two, three = (
        torch.stack([rows[index, :, top : top + side, left : left + side] for index, top, left in places])
        for rows in batches
    )
    return one, two, three


def held_out_pairs(pictures: Pictures) -> dict[str, tuple[Tensor, Tensor]]:
    """For each preset severity the held-out portraits, degraded and original, cut to multiples of 32 px."""
    whole = [as_float(picture) for picture in pictures.held_out]
    rows, columns = (min(picture.shape[axis] for picture in whole) // 32 * 32 for axis in (0, 1))
    originals = [picture[:rows, :columns] for picture in whole]  # of one size, the smallest's
    return {
        name: (as_batch([degrade(p, preset, seed) for seed, p in enumerate(originals)]), as_batch(originals))
        for name, preset in SEVERITIES.items()
    }
