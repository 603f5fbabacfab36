"""Neighbourhoods of pixels: blurring, growing, distances, connected parts, as OpenCV makes them.

Pictures are numpy arrays (H, W) or (H, W, C), uint8 or float32; masks (H, W).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from . import constants as cv
from .sampling import along, typed, weighted

FIVE = np.array([1, 4, 6, 4, 1], np.float64) / 16
FARTHEST = 1e9  # px, where no pixel is outside


def _convolved(picture: np.ndarray, kernel: np.ndarray, axis: int, border: int = cv.BORDER_REFLECT_101) -> np.ndarray:
    """float32: each pixel's neighbours along an axis times a kernel of odd length; beyond, its mirror or 0."""
    length, reach = picture.shape[axis], len(kernel) // 2
    beside = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
    weights = np.broadcast_to(kernel, beside.shape)
    if border == cv.BORDER_CONSTANT:
        weights = np.where((beside >= 0) & (beside < length), weights, 0)
    period = max(1, 2 * length - 2)
    beside = beside % period
    beside = np.minimum(beside, period - beside).clip(0, length - 1)
    rows = np.arange(length).repeat(len(kernel))
    return along(picture, weighted(weights.ravel(), rows, beside.ravel(), (length, length)), axis)


def gaussian_blur(
    picture: np.ndarray, ksize: tuple[int, int], sigmaX: float, borderType: int = cv.BORDER_REFLECT_101
) -> np.ndarray:
    """ksize: (0, 0) for as wide as sigma needs; (5, 5) without a sigma for binomial weights."""
    if sigmaX > 0:
        spreads = 3 if picture.dtype == np.uint8 else 4
        reach = ksize[0] // 2 or (round(sigmaX * spreads * 2 + 1) | 1) // 2
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigmaX) ** 2)
        kernel /= kernel.sum()
    else:
        kernel = FIVE
    values = np.asarray(picture, np.float32)
    for axis in (0, 1):
        values = _convolved(values, kernel, axis, borderType)
    return typed(values, picture.dtype)


def sobel(picture: np.ndarray, ddepth: int, dx: int, dy: int, ksize: int) -> np.ndarray:
    """The change of a float32 picture along x (dx = 1) or y (dy = 1) over 3 x 3 pixels."""
    values = _convolved(np.asarray(picture, np.float32), np.array([-1.0, 0, 1]), 1 if dx else 0)
    return _convolved(values, np.array([1.0, 2, 1]), 0 if dx else 1)


def pyr_down(picture: np.ndarray) -> np.ndarray:
    """Half the size, rounded up. Burt, Adelson: "The Laplacian Pyramid as a Compact Image Code", 1983."""
    values = np.asarray(picture, np.float32)
    rows = _convolved(values, FIVE, 0)[::2]
    return np.ascontiguousarray(_convolved(rows, FIVE, 1)[:, ::2])


def pyr_up(picture: np.ndarray, dstsize: tuple[int, int]) -> np.ndarray:
    """Twice the size, cut to dstsize (width, height)."""
    for axis, length in ((0, dstsize[1]), (1, dstsize[0])):
        picture = np.moveaxis(picture, axis, 0)
        before = np.concatenate([picture[1:2], picture[:-1]])
        after = np.concatenate([picture[1:], picture[-1:]])
        result = np.empty((2 * len(picture), *picture.shape[1:]), np.float32)
        result[::2] = (before + 6 * picture + after) / 8
        result[1::2] = (picture + after) / 2
        picture = np.moveaxis(result[:length], 0, axis)
    return np.ascontiguousarray(picture)


def structuring_element(shape: int, ksize: tuple[int, int]) -> np.ndarray:
    """The pixels of an ellipse in a rectangle of ksize (width, height): (height, width) uint8."""
    width, height = ksize
    across, down = width // 2, height // 2
    element = np.zeros((height, width), np.uint8)
    for row in range(height):
        reach = round(across * np.sqrt(max(0.0, 1 - ((row - down) / down) ** 2))) if down else across
        element[row, max(0, across - reach) : across + reach + 1] = 1
    return element


def dilate(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The largest value that the kernel sees around each pixel."""
    lowest = 0 if picture.dtype == np.uint8 else -np.inf
    footprint = np.asarray(kernel, bool)[::-1, ::-1]
    return np.asarray(ndimage.maximum_filter(picture, footprint=footprint, mode="constant", cval=lowest))


def erode(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The smallest value that the kernel sees around each pixel."""
    highest = 255 if picture.dtype == np.uint8 else np.inf
    footprint = np.asarray(kernel, bool)
    return np.asarray(ndimage.minimum_filter(picture, footprint=footprint, mode="constant", cval=highest))


def morphology(picture: np.ndarray, op: int, kernel: np.ndarray) -> np.ndarray:
    """Opening, which alone is used: what the kernel does not fit into goes."""
    return dilate(erode(picture, kernel), kernel)


def distance_transform(inside: np.ndarray, distanceType: int, maskSize: int) -> np.ndarray:
    """(H, W) float32: px from each pixel of a mask to the nearest that is 0; FARTHEST where there is none."""
    if np.all(inside):
        return np.full(inside.shape, FARTHEST, np.float32)
    return np.asarray(ndimage.distance_transform_edt(inside), np.float32)


def connected_components(mask: np.ndarray, connectivity: int) -> tuple[int, np.ndarray]:
    """How many connected parts there are, the rest counted as one, and the number of each pixel's part."""
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2))
    return int(count) + 1, labels
