"""Bringing a face into another's light: large shadows and the colour of lips are the frame's to say.

All that is looked at are arrays (H, W, 3) float32 of L*, a*, b*, of one size.
"""

from __future__ import annotations

import numpy as np

from ...opencv import cv2
from .. import warp
from .colour import OFFSET

WIDE = 0.35  # of the distance between the eyes: shadows are wider, features narrower
DETAIL = 40.0  # px between the eyes at which light is looked at
MOST = 40.0  # of L*, that light is changed by
LIPS_OFF = 6.0  # of L*, and of a* and b*, that lips may be from the frame's lips


def relit(lab: np.ndarray, here: np.ndarray, skin: np.ndarray, distance: float, amount: float) -> np.ndarray:
    """The face with its wide changes of L* replaced by those of `here`, as seen on skin (h, w) bool; in place.

    distance: px between the eyes. amount: 0 leaves the face's own light. Of a light from one side that the frame does
    not have, 0.1 to 0.5 stops are left of 0.9 to 1.5 between the cheeks.
    """
    if amount == 0 or not skin.any():
        return lab
    height, width = skin.shape
    factor = max(1.0, distance / DETAIL)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    light, wanted, seen = (
        np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(here[..., 0]), skin.astype(np.float32))
    )
    sigma = max(0.3, WIDE * distance / factor)
    weight = cv2.GaussianBlur(seen, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    change = cv2.GaussianBlur((wanted - light) * seen, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    change = (change / np.maximum(weight, 1e-3)).clip(-MOST, MOST) * np.float32(amount)
    change = np.asarray(cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    # a* and b* follow L* + 16 in another light, so that lit shadows do not turn grey.
    gain = ((lab[..., 0] + change + OFFSET).clip(16, 116) / (lab[..., 0] + OFFSET)).clip(0.5, 1.6)
    lab[..., 1:] *= gain[..., None]
    lab[..., 0] += change
    return lab


def like_lips(
    lab: np.ndarray, here: np.ndarray, wanted: np.ndarray, own_parts: np.ndarray, amount: float
) -> np.ndarray:
    """The face with lips of a colour that is plausible beside that of `here`, in place: its skin is that one's already.

    wanted: the mesh of both. own_parts: (h, w) 0..1 of what is not looked at.
    """
    height, width = own_parts.shape
    lips = warp.polygon_mask(wanted[warp.LIPS], width, height)
    seen = (lips > 0) & (own_parts < 0.1)
    if amount == 0 or not seen.any():
        return lab
    off = np.median(lab[seen], 0) - np.median(here[seen], 0)
    for part in (slice(0, 1), slice(1, 3)):  # lightness and colour, each for itself: a shadow is no lipstick
        off[part] *= max(0.0, 1 - LIPS_OFF / max(float(np.linalg.norm(off[part])), 1e-6))
    soft = cv2.GaussianBlur(lips.astype(np.float32), (0, 0), max(0.3, 0.03 * warp.eye_distance(wanted)))
    lab -= (soft * np.float32(amount))[..., None] * off
    return lab
