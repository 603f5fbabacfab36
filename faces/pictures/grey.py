"""Pictures without colour: a grey picture is restored in grey."""

from __future__ import annotations

import numpy as np

ROWS = 256  # looked at and changed at a time, so that a large picture takes little beside itself
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def is_grey(picture: np.ndarray) -> bool:
    """Whether the three channels of a picture (H, W, 3) are equal in every pixel."""
    for top in range(0, len(picture), ROWS):
        rows = picture[top : top + ROWS]
        if not (np.array_equal(rows[..., 0], rows[..., 1]) and np.array_equal(rows[..., 0], rows[..., 2])):
            return False
    return True


def without_colour(picture: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) float32 with its luma in all three channels."""
    grey = np.empty_like(picture)
    for top in range(0, len(picture), ROWS):
        grey[top : top + ROWS] = (picture[top : top + ROWS] @ LUMA)[..., None]
    return grey


def remove_colour(frame: np.ndarray, where: np.ndarray) -> None:
    """Replaces a frame's colours (H, W, 3 or 4) by their luma where (H, W) is true, in place."""
    frame[where, :3] = (frame[where, :3] @ LUMA)[:, None]
