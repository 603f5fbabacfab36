"""Blending two pictures so that no seam is seen: wide transitions for their coarse parts, narrow ones for the fine.

Burt, Adelson: "A Multiresolution Spline With Application to Image Mosaics", 1983. Pictures are numpy arrays
(H, W, 3) float32.
"""

from __future__ import annotations

import numpy as np

from ...opencv import cv2

SMALLEST = 8  # px of the shorter side of the coarsest level


def blended(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """first * weight + second * (1 - weight), level by level; not clipped.

    weight: (H, W) float32 0..1. All have one size.
    """
    levels = max(0, int(np.log2(max(1, min(weight.shape) / SMALLEST))))
    shapes, parts = [], []
    for _ in range(levels):
        size = first.shape[1], first.shape[0]
        coarse, other = cv2.pyrDown(first), cv2.pyrDown(second)
        fine, other_fine = (first - cv2.pyrUp(coarse, dstsize=size), second - cv2.pyrUp(other, dstsize=size))
        parts.append(mixed(fine, other_fine, weight))
        shapes.append(size)
        first, second, weight = coarse, other, cv2.pyrDown(weight)
    result = mixed(first, second, weight)
    for part, size in zip(reversed(parts), reversed(shapes), strict=True):
        result = cv2.pyrUp(result, dstsize=size) + part
    return result


def mixed(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    result: np.ndarray = second + (first - second) * weight[..., None]
    return result
