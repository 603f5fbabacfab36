"""Pictures at other sizes and places, as OpenCV makes them: `resize`, `warpAffine`, `remap`, `copyMakeBorder`.

Pictures are numpy arrays (H, W) or (H, W, C), uint8 or float32. Pixel centres lie at whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse

from . import constants as cv


def _nearest(distance: np.ndarray) -> np.ndarray:
    return np.ones_like(distance)


def _linear(distance: np.ndarray) -> np.ndarray:
    return 1 - np.abs(distance)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys: "Cubic Convolution Interpolation for Digital Image Processing", 1981, with OpenCV's slope -0.75."""
    x, slope = np.abs(distance), -0.75
    near = ((slope + 2) * x - (slope + 3)) * x * x + 1
    far = ((slope * x - 5 * slope) * x + 8 * slope) * x - 4 * slope
    return np.where(x <= 1, near, far)


def _lanczos(distance: np.ndarray) -> np.ndarray:
    return np.asarray(np.sinc(distance) * np.sinc(distance / 4))


# How many pixels each output looks at, and how much each of them counts by its distance.
KERNELS: dict[int, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    cv.INTER_NEAREST: (1, _nearest),
    cv.INTER_LINEAR: (2, _linear),
    cv.INTER_CUBIC: (4, _cubic),
    cv.INTER_LANCZOS4: (8, _lanczos),
}


def resize(picture: np.ndarray, dsize: tuple[int, int], interpolation: int = cv.INTER_LINEAR) -> np.ndarray:
    """The picture at dsize (width, height): one side after the other, as sums of its pixels times weights."""
    sides, wanted = picture.shape[:2], dsize[::-1]
    averages = interpolation == cv.INTER_AREA and all(new <= old for new, old in zip(wanted, sides, strict=True))
    of = _area_weights if averages else _weights
    values = np.asarray(picture, np.float32)
    for axis in (0, 1):
        values = along(values, of(sides[axis], wanted[axis], interpolation), axis)
    return typed(values[..., 0] if values.shape[2:] == (1,) else values, picture.dtype)


def along(picture: np.ndarray, matrix: sparse.csr_matrix, axis: int) -> np.ndarray:
    """A float32 picture whose rows (axis 0) or columns (1) are sums of the old ones times a matrix's weights."""
    lines = np.ascontiguousarray(np.moveaxis(picture, axis, 0))
    result = np.asarray(matrix @ lines.reshape(len(lines), -1)).reshape(-1, *lines.shape[1:])
    return np.moveaxis(result, 0, axis)


def _area_weights(length: int, size: int, _: int) -> sparse.csr_matrix:
    """(size, length): how much of each output each pixel covers, where a side shrinks."""
    ends = np.arange(size + 1, dtype=np.float64) * length / size
    first, last = np.floor(ends[:-1] + 1e-9).astype(int), np.ceil(ends[1:] - 1e-9).astype(int)
    counts = last - first
    outputs = np.repeat(np.arange(size), counts)
    pixels = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[outputs]
    covered = np.minimum(pixels + 1, ends[outputs + 1]) - np.maximum(pixels, ends[outputs])
    return weighted(covered * size / length, outputs, pixels, (size, length))


def _weights(length: int, size: int, interpolation: int) -> sparse.csr_matrix:
    """(size, length) for the other ways; the picture's edge is carried on."""
    scale, outputs = length / size, np.arange(size)
    if interpolation == cv.INTER_NEAREST:
        places = np.floor(outputs * scale)
    elif interpolation == cv.INTER_AREA:  # enlarged: each pixel keeps its colour but at its edge
        begin = np.floor(outputs * scale)
        rest = outputs + 1 - (begin + 1) / scale
        places = begin + np.where(rest <= 0, 0, rest - np.floor(rest))
    else:
        places = (outputs + 0.5) * scale - 0.5
    taps, kernel = KERNELS[cv.INTER_LINEAR if interpolation == cv.INTER_AREA else interpolation]
    base = np.floor(places).astype(int) - (taps - 1) // 2
    pixels = base[:, None] + np.arange(taps)
    values = kernel(places[:, None] - pixels)
    values /= values.sum(1, keepdims=True)
    return weighted(values.ravel(), outputs.repeat(taps), pixels.clip(0, length - 1).ravel(), (size, length))


def weighted(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """(size, length): `values` at the places of `rows` and `columns`, added up where they meet."""
    return sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape)


def typed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a picture's own type: rounded and clipped where it is one of whole numbers."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return np.ascontiguousarray(values, dtype)


def warp_affine(
    picture: np.ndarray,
    matrix: np.ndarray,
    dsize: tuple[int, int],
    flags: int = cv.INTER_LINEAR,
    borderMode: int = cv.BORDER_CONSTANT,
) -> np.ndarray:
    """The picture that an affine (2, 3) makes, at dsize (width, height); beyond the picture 0, or its edge."""
    back = np.asarray(matrix, np.float64)
    if not flags & cv.WARP_INVERSE_MAP:
        linear = np.linalg.inv(back[:, :2])
        back = np.column_stack([linear, -linear @ back[:, 2]])
    width, height = dsize
    columns, rows = np.arange(width), np.arange(height)[:, None]
    x, y = (back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] for axis in (0, 1))
    return remap(picture, x, y, flags & ~cv.WARP_INVERSE_MAP, borderMode)


def remap(
    picture: np.ndarray,
    map1: np.ndarray,
    map2: np.ndarray,
    interpolation: int,
    borderMode: int = cv.BORDER_CONSTANT,
    borderValue: float = 0,
) -> np.ndarray:
    """The picture's values at the places x, y (h, w); beyond it borderValue, which is 0, or its edge."""
    height, width = picture.shape[:2]
    mode = {cv.INTER_NEAREST: "nearest", cv.INTER_LINEAR: "bilinear", cv.INTER_CUBIC: "bicubic"}[interpolation]
    padding = "border" if borderMode == cv.BORDER_REPLICATE else "zeros"
    # torch counts from -1 at the picture's first edge to 1 at its last.
    places = [(2 * np.asarray(axis) + 1) / side - 1 for axis, side in ((map1, width), (map2, height))]
    grid = torch.from_numpy(np.stack(places, -1).astype(np.float32))[None]
    values = np.asarray(picture, np.float32).reshape(height, width, -1)
    source = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    sampled = torch.nn.functional.grid_sample(source, grid, mode, padding, align_corners=False)
    result = sampled[0].permute(1, 2, 0).numpy()
    return typed(result if picture.ndim == 3 and result.shape[2] > 1 else result[..., 0], picture.dtype)


def copy_make_border(picture: np.ndarray, top: int, bottom: int, left: int, right: int, borderType: int) -> np.ndarray:
    """The picture with so many pixels more at each side: its edge carried on, or 0."""
    margins = [(top, bottom), (left, right), *[(0, 0)] * (picture.ndim - 2)]
    return np.pad(picture, margins, "edge" if borderType == cv.BORDER_REPLICATE else "constant")
