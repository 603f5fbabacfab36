"""Pictures without colour: a grey picture is restored in grey."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PIXELS = 1 << 18  # looked at and changed at a time, so that a large picture takes little beside itself
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def is_grey(picture: np.ndarray) -> bool:
    """Whether the three channels of a picture (H, W, 3) are equal in every pixel."""
    for band in _bands(picture):
        rows = picture[band]
        if not (np.array_equal(rows[..., 0], rows[..., 1]) and np.array_equal(rows[..., 0], rows[..., 2])):
            return False
    return True


def without_colour(picture: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) float32 with its luma in all three channels."""
    grey = picture.copy()
    remove_colour(grey)
    return grey


def remove_colour(frame: np.ndarray, where: np.ndarray | None = None) -> None:
    """Replaces a frame's colours (H, W, 3 or 4) by their luma, in place: where (H, W) is above 0, None for all."""
    for band in _bands(frame):
        rows = frame[band][..., :3]
        luma = (rows @ LUMA)[..., None]
        np.copyto(rows, luma, where=True if where is None else where[band][..., None] > 0)


def _bands(picture: np.ndarray) -> Iterator[slice]:
    """The rows of a picture, so many at a time."""
    rows = max(1, PIXELS // max(1, picture.shape[1]))
    return (slice(top, top + rows) for top in range(0, len(picture), rows))
