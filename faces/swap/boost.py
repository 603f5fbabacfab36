"""Pixel boost: one face at k times a network's resolution, as k x k samples that each see every k-th pixel of it.

The samples differ by less than a pixel of the network's own, so they are independent pictures of the same face, and go
through it as one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engines.checks import check_numbers
from ...errors import SettingError

LARGEST = 1024  # px


def factor_for(size: int, wanted: int) -> int:
    """k for a network of `size` px and a face of `wanted` px, rounded down; 0 wants the network's own size.

    Raises SettingError outside 0..1024 px.
    """
    check_numbers(boost=wanted)
    if not 0 <= wanted <= LARGEST or wanted != int(wanted):
        raise SettingError(f"The pixel boost must be between 0 and {LARGEST} px, not {wanted}.")
    return max(1, wanted // size)


def boosted(affine: np.ndarray, factor: int) -> np.ndarray:
    """The affine (2, 3) to a crop of `factor` times the pixels, in which the samples' mean lies where one pixel did."""
    larger = affine * factor
    larger[:, 2] += (factor - 1) / 2
    return larger


def samples(crop: np.ndarray, factor: int) -> list[np.ndarray]:
    """The k x k samples (S, S, C) of a crop (k S, k S, C), row by row."""
    return [crop[row::factor, column::factor] for row in range(factor) for column in range(factor)]


def joined(parts: Sequence[np.ndarray], factor: int) -> np.ndarray:
    """The crop (k S, k S, C) of its k x k samples (S, S, C)."""
    height, width, channels = parts[0].shape
    grid = np.stack(parts).reshape(factor, factor, height, width, channels)
    return grid.transpose(2, 0, 3, 1, 4).reshape(height * factor, width * factor, channels)
