"""Giving a picture the colours of another: mean and spread of L*, a*, b* within a mask.

After Reinhard et al., "Color Transfer between Images", 2001, in CIE L*a*b*.
"""

from __future__ import annotations

import numpy as np

from ...opencv import cv2
from ..fuse.colour import lab_of, rgb_of

SAMPLES = 256  # rows and columns that are looked at
LEAST_GAIN, MOST_GAIN = 0.5, 2.0  # of the spread: beyond, noise would be made out of a flat picture
BAND_PIXELS = 1 << 14


def with_colours(picture: np.ndarray, reference: np.ndarray, weights: np.ndarray, amount: float) -> np.ndarray:
    """The picture (h, w, 3) float32 0..1 with the mean and the spread that the reference has; a new array.

    reference: of the picture's size. weights: (S, S) 0..1, how much each part of the picture counts. amount: 0 leaves
    the picture's own colours. Where the weights are 0 everywhere the picture comes back as it is.
    """
    height, width = picture.shape[:2]
    step = max(1, height // SAMPLES), max(1, width // SAMPLES)
    sampled = picture[:: step[0], :: step[1]], reference[:: step[0], :: step[1]]
    share = cv2.resize(weights, sampled[0].shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    if amount == 0 or not (share > 0).any():
        return picture
    (mean, spread), (wanted, wanted_spread) = (moments(lab_of(part), share) for part in sampled)
    gain = ((wanted_spread + 1e-3) / (spread + 1e-3)).clip(LEAST_GAIN, MOST_GAIN)
    scale = (1 + amount * (gain - 1)).astype(np.float32)
    shift = (mean + amount * (wanted - mean) - scale * mean).astype(np.float32)
    result = np.empty((height, width, 3), np.float32)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        result[top : top + rows] = rgb_of(lab_of(picture[top : top + rows]) * scale + shift)
    return result


def moments(lab: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (3,) of L*, a*, b* (h, w, 3), by the share (h, w, 1) of each pixel."""
    total = float(share.sum(dtype=np.float64))
    mean = (lab * share).sum((0, 1), dtype=np.float64) / total
    return mean, np.sqrt(((lab - mean) ** 2 * share).sum((0, 1), dtype=np.float64) / total)
