"""Soft masks that fade a crop into its frame: 1 inside, 0 at the border, a Hann fall between."""

from functools import lru_cache

import numpy as np

from ..errors import SettingError


def hann_window(length: int, fall: int) -> np.ndarray:
    """(length,) float64: 0 at both ends, 1 from `fall` pixels inwards; long falls meet in the middle."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1])
    reach = max(1, min(fall, (length - 1) // 2))
    return 0.5 - 0.5 * np.cos(np.pi * (distance / reach).clip(0, 1))


def region_mask(width: int, height: int, feather: float = 0.12) -> np.ndarray:
    """The mask (height, width) float32 0..1 of an upright rectangle.

    feather: width of the fall as a part of the shorter side, 0..0.5; the outermost pixels are exactly 0.
    Raises SettingError for another feather.
    """
    if not 0 <= feather <= 0.5:
        raise SettingError(f"The feather must be between 0 and 0.5 of the face's crop, not {feather}.")
    fall = round(feather * min(width, height))
    rows, columns = (hann_window(length, fall).astype(np.float32) for length in (height, width))
    return np.outer(rows, columns)


@lru_cache(maxsize=4)
def crop_mask(size: int, feather: float = 0.12) -> np.ndarray:
    """The mask (size, size) float32 0..1 of an aligned crop. Kept and shared, hence read-only."""
    mask = region_mask(size, size, feather)
    mask.setflags(write=False)
    return mask
