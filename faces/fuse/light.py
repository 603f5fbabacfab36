"""Bringing a face into another's light: large shadows and strong lips are the frame's to say.

Pictures are numpy arrays (H, W, 3) float32 0..1 RGB of one size.
"""

from __future__ import annotations

import numpy as np

from ...opencv import cv2
from .. import warp

WIDE = 0.35  # of the distance between the eyes: shadows are wider, features narrower
DETAIL = 40.0  # px between the eyes at which light is looked at
ROLL = 5.0  # of L*, into which all that is brighter than the frame's skin is pressed
MOST = 40.0  # of L*, that light is changed by
LIPS_GAIN, LIPS_MORE = 1.25, 3.0  # so much of the frame's contrast of lips to skin, and so many of L*, a*, b* more


def relit(face: np.ndarray, here: np.ndarray, skin: np.ndarray, distance: float, amount: float) -> np.ndarray:
    """The face with its wide changes of L* replaced by those of `here`, as seen on skin (h, w) bool.

    distance: px between the eyes. amount: 0 leaves the face's own light.
    """
    if amount == 0 or not skin.any():
        return face
    height, width = skin.shape
    factor = max(1.0, distance / DETAIL)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (here, face, skin.astype(np.float32))]
    lights = [cv2.cvtColor(each, cv2.COLOR_RGB2Lab)[..., 0] for each in small[:2]]
    sigma = max(0.3, WIDE * distance / factor)
    weight = cv2.GaussianBlur(small[2], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    change = cv2.GaussianBlur((lights[0] - lights[1]) * small[2], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    change = (change / np.maximum(weight, 1e-3)).clip(-MOST, MOST) * np.float32(amount)
    lab = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2Lab), np.float32)
    # a* and b* follow L* + 16 in another light, so that lit shadows do not turn grey.
    change = np.asarray(cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    gain = ((lab[..., 0] + change + 16).clip(16, 116) / (lab[..., 0] + 16)).clip(0.5, 1.6)
    lab[..., 0] += change
    # Highlights as bright as the frame's: those of oily or dark skin are ghosts on another.
    top = float(np.percentile(lights[0][small[2] > 0.5], 98)) if (small[2] > 0.5).any() else 100.0
    over = np.maximum(lab[..., 0] - top, 0)
    lab[..., 0] -= np.float32(amount) * (over - np.minimum(over, ROLL * (1 - np.exp(-over / ROLL))))
    lab[..., 1:] *= gain[..., None]
    return cv2.cvtColor(lab, cv2.COLOR_Lab2RGB).clip(0, 1)


def plain_lips(face: np.ndarray, here: np.ndarray, wanted: np.ndarray, own_parts: np.ndarray) -> np.ndarray:
    """The face with lips that differ from the skin no more than is plausible beside those of `here`.

    wanted: the mesh of both. own_parts: (h, w) 0..1 of what is not looked at.
    """
    height, width = own_parts.shape
    lips = warp.polygon_mask(wanted[warp.LIPS], width, height)
    reach = 2 * max(1, round(0.15 * warp.eye_distance(wanted))) + 1
    around = cv2.dilate(lips, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) - lips
    inside, skin = (lips > 0) & (own_parts < 0.1), (around > 0) & (own_parts < 0.1)
    if not inside.any() or not skin.any():
        return face
    contrast = [_median_lab(each, inside) - _median_lab(each, skin) for each in (face, here)]
    less = np.zeros(3, np.float32)
    for part in (slice(0, 1), slice(1, 3)):  # lightness and colour, each for itself: a shadow is no lipstick
        theirs, ours = (float(np.linalg.norm(each[part])) for each in contrast)
        most = LIPS_GAIN * ours + LIPS_MORE
        less[part] = (1 - most / theirs) * contrast[0][part] if theirs > most else 0
    if not less.any():
        return face
    soft = cv2.GaussianBlur(lips.astype(np.float32), (0, 0), max(0.3, 0.03 * warp.eye_distance(wanted)))
    lab = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2Lab), np.float32)
    lab -= soft[..., None] * less
    return cv2.cvtColor(lab, cv2.COLOR_Lab2RGB).clip(0, 1)


def _median_lab(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.median(cv2.cvtColor(np.ascontiguousarray(picture[where][None]), cv2.COLOR_RGB2Lab)[0], 0)
