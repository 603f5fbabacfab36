"""Pixels one by one and their sums: `integral`, `addWeighted`, `absdiff`, `calcHist`, colour spaces, contrast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import constants as cv
from .sampling import resize

# Of light in sRGB to XYZ of the same white. IEC 61966-2-1.
XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.950456, 1.0, 1.088754])
TO_XYZ = (XYZ / WHITE[:, None]).astype(np.float32)
DARK = 0.008856  # light below which lightness grows evenly
GREY = np.array([0.299, 0.587, 0.114])
TILES = 8  # a side, of which each has a histogram


def integral(picture: np.ndarray) -> np.ndarray:
    """(H + 1, W + 1, ...) int32: the sums of all pixels of a uint8 picture above and to the left."""
    height, width = picture.shape[:2]
    sums = np.zeros((height + 1, width + 1, *picture.shape[2:]), np.int32)
    for channel in np.ndindex(picture.shape[2:]):
        sums[(slice(1, None), slice(1, None), *channel)] = np.cumsum(
            picture[(slice(None), slice(None), *channel)], 1, np.int32
        )
    lines = sums.reshape(height + 1, -1)
    for row in range(1, height + 1):  # three times as quick as numpy's own sum along this axis
        lines[row] += lines[row - 1]
    return sums


def add_weighted(
    src1: np.ndarray, alpha: float, src2: np.ndarray, beta: float, gamma: float, dtype: int = cv.CV_8U
) -> np.ndarray:
    """src1 * alpha + src2 * beta + gamma as uint8: rounded and clipped; what is no number becomes 0."""
    values = src1 * np.float32(alpha)
    if beta:
        values += src2 * np.float32(beta)
    if gamma:
        values += np.float32(gamma)
    np.rint(values, values)
    np.fmin(np.fmax(values, 0, out=values), 255, out=values)  # of NaN and a number, these take the number
    return values.astype(np.uint8)


def absdiff(src1: np.ndarray, src2: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(src1 - src2))


def histogram(
    images: Sequence[np.ndarray], channels: Sequence[int], mask: None, bins: Sequence[int], ranges: Sequence[float]
) -> np.ndarray:
    """How many pixels of a uint8 picture have each colour, (bins, bins, bins) float32, of values 0..255."""
    image = images[0].reshape(-1, images[0].shape[-1]).astype(np.intp)
    index = np.zeros(len(image), np.intp)
    for channel, count in zip(channels, bins, strict=True):
        index = index * count + image[:, channel] * count // 256
    return np.bincount(index, minlength=int(np.prod(bins))).reshape(tuple(bins)).astype(np.float32)


def colours(picture: np.ndarray, code: int) -> np.ndarray:
    """A picture (H, W, 3) in another colour space: L*a*b* and back, grey, or its channels the other way round."""
    if code == cv.COLOR_BGR2RGB:
        return np.ascontiguousarray(picture[..., ::-1])
    if code == cv.COLOR_RGB2GRAY:
        grey = picture @ GREY
        return np.asarray(np.rint(grey) if picture.dtype == np.uint8 else grey, picture.dtype)
    to_lab = code == cv.COLOR_RGB2LAB
    if picture.dtype != np.uint8:
        return lab_of(picture) if to_lab else rgb_of(picture)
    if to_lab:
        lab = lab_of(picture.astype(np.float32) / 255) * [255 / 100, 1, 1] + [0, 128, 128]
        return np.rint(lab).clip(0, 255).astype(np.uint8)
    lab = (picture.astype(np.float32) - np.array([0, 128, 128], np.float32)) * np.array([100 / 255, 1, 1], np.float32)
    return np.rint(rgb_of(lab) * 255).clip(0, 255).astype(np.uint8)


def lab_of(picture: np.ndarray) -> np.ndarray:
    """CIE L*, a*, b* float32 of sRGB 0..1."""
    value = np.asarray(picture, np.float32).clip(0, 1)
    bright = ((value + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    light = np.where(value <= 0.04045, value / np.float32(12.92), bright)
    xyz = light @ TO_XYZ.T
    root = np.where(xyz > DARK, np.cbrt(xyz), np.float32(7.787) * xyz + np.float32(16 / 116))
    x, y, z = np.moveaxis(root, -1, 0)
    lightness = np.where(xyz[..., 1] > DARK, 116 * y - 16, np.float32(903.3) * xyz[..., 1])
    return np.stack([lightness, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """sRGB 0..1 float32 of CIE L*, a*, b*, clipped."""
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float32), -1, 0)
    dark = lightness <= DARK * 903.3
    y = np.where(dark, lightness / np.float32(903.3), ((lightness + 16) / 116) ** 3)
    root = np.where(dark, np.float32(7.787) * y + np.float32(16 / 116), (lightness + 16) / 116)
    x, z = (
        np.where(part <= 6 / 29, (part - np.float32(16 / 116)) / np.float32(7.787), part**3)
        for part in (root + a / 500, root - b / 200)
    )
    light = (np.stack([x, y, z], -1) @ np.linalg.inv(TO_XYZ).T).clip(0, 1)
    bright = np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(light <= 0.0031308, light * np.float32(12.92), bright).astype(np.float32)


class Contrast:
    """Raises contrast part by part. Zuiderveld: "Contrast Limited Adaptive Histogram Equalization", 1994."""

    def __init__(self, clipLimit: float) -> None:
        self._limit = clipLimit

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """picture: (H, W) uint8, whose sides are multiples of TILES."""
        height, width = (side // TILES for side in picture.shape)
        tiles = picture.reshape(TILES, height, TILES, width).swapaxes(1, 2).reshape(TILES * TILES, -1)
        curves = np.array([self._curve(tile) for tile in tiles], np.float32).reshape(TILES, TILES, 256)
        result = np.zeros(picture.shape, np.float32)
        shares = [self._shares(side) for side in picture.shape]
        for row in range(TILES):
            for column in range(TILES):
                share = np.outer(shares[0][row], shares[1][column])
                seen = share > 0
                result[seen] += share[seen] * curves[row, column][picture[seen]]
        return np.rint(result).clip(0, 255).astype(np.uint8)

    def _curve(self, tile: np.ndarray) -> np.ndarray:
        """(256,): what each grey of a tile becomes. What is above the limit is given to all greys alike."""
        counts = np.bincount(tile, minlength=256)
        limit = max(1, int(self._limit * tile.size / 256))
        excess = int((counts - limit).clip(0).sum())
        counts = counts.clip(0, limit) + excess // 256
        rest = excess % 256
        if rest:
            counts[:: max(256 // rest, 1)][:rest] += 1
        return np.asarray(np.rint(counts.cumsum() * (255 / tile.size)).clip(0, 255))

    @staticmethod
    def _shares(side: int) -> np.ndarray:
        """(TILES, side): how much each tile counts for each pixel, by how near its middle is."""
        return resize(np.eye(TILES, dtype=np.float32), (side, TILES), cv.INTER_LINEAR)
