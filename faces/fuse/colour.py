"""Giving one face the colours of another.

Reinhard, Ashikhmin, Gooch, Shirley: "Color Transfer between Images", 2001, in CIE L*a*b*, on statistics that a few
odd pixels do not move. Pictures are numpy arrays (H, W, 3) float32 0..1 RGB (sRGB).
"""

from __future__ import annotations

import numpy as np

from ...opencv import cv2

SAMPLES = 1 << 15  # pixels that the statistics are taken from
TRIMMED = (5.0, 95.0)  # percentiles between which pixels count
LEAST_RATIO, GREATEST_RATIO = 0.65, 1.4  # of contrast: more would bring out noise
LEAST_SPREAD = 0.5  # of L*, a*, b*; below it a face has no contrast to be scaled


def matched_colour(picture: np.ndarray, reference: np.ndarray, mask: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """The picture with the mean and contrast that the reference has where the mask is 1; a new array, clipped.

    reference: of the picture's size. mask: (H, W), above 0.5 where the colours count. amount: 0 leaves the picture's
    own colours. Where the mask is empty the picture comes back as it is.
    """
    if amount == 0 or not (mask > 0.5).any():
        return picture
    step = max(1, int((mask > 0.5).sum() / SAMPLES))
    where = tuple(axis[::step] for axis in np.nonzero(mask > 0.5))
    mean, spread = statistics(picture[where])
    wanted_mean, wanted_spread = statistics(reference[where])
    ratio = (wanted_spread / spread).clip(LEAST_RATIO, GREATEST_RATIO)
    lab = cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2Lab)
    lab *= (1 + amount * (ratio - 1)).astype(np.float32)
    lab += (amount * (wanted_mean - mean * ratio)).astype(np.float32)
    return cv2.cvtColor(lab, cv2.COLOR_Lab2RGB).clip(0, 1)


def statistics(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (3,) of L*, a*, b* of pixels (N, 3), each of its own trimmed values."""
    lab = cv2.cvtColor(np.ascontiguousarray(pixels[None], np.float32), cv2.COLOR_RGB2Lab)[0]
    low, high = np.percentile(lab, TRIMMED, axis=0)
    kept = np.where((lab >= low) & (lab <= high), lab, np.nan)
    return np.nanmean(kept, 0), np.maximum(np.nanstd(kept, 0), LEAST_SPREAD)
