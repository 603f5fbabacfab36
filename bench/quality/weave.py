"""The weave: lines at the frequencies of a network's own grid, measured in the spectrum of rows and columns.

A network that packs pixels by 2 at each of its levels can draw a pattern with a period of 8 px and its parts, 4, 8/3
and 2 px. A picture's own spectrum is smooth there, so that power at those frequencies is compared with the power
beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...distill.degrade import Image

GRID = 8  # px
PERIODS = tuple(GRID / k for k in range(1, GRID // 2 + 1))  # 8, 4, 2.67 and 2 px
BESIDE = range(3, 9)  # bins away from a grid frequency, outside the main lobe of a Hann window
FLOOR = (0.05 / 255) ** 2  # variance of what no screen shows, added on both sides of a ratio


def line_power(picture: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean power spectrum of the rows and of the columns of (H, W, 3), brightness only, in a Hann window."""
    brightness = picture.mean(2, dtype=np.float64)
    found = []
    for lines in (brightness, brightness.T):
        window = np.hanning(lines.shape[1])
        spectrum = np.fft.rfft((lines - lines.mean(1, keepdims=True)) * window, axis=1)
        found.append(np.square(np.abs(spectrum)).mean(0) + FLOOR * np.square(window).sum())
    return found[0], found[1]


def grid_ratios(picture: Image) -> NDArray[np.float64]:
    """(2, 4): power at each of `PERIODS` over the mean beside it, of rows and of columns; 1 where nothing stands out.

    Both sides of the picture are multiples of `GRID`, at least 64 px.
    """
    ratios = []
    for power in line_power(picture):
        last = len(power) - 1
        bins = [2 * last * k // GRID for k in range(1, GRID // 2 + 1)]
        beside = [[i for d in BESIDE for i in (b - d, b + d) if i <= last] for b in bins]
        ratios.append([power[b] / power[near].mean() for b, near in zip(bins, beside, strict=True)])
    return np.array(ratios)


def mean_ratios(pictures: Sequence[Image]) -> NDArray[np.float64]:
    """(2, 4): the geometric mean over pictures, in which one lively picture does not rule."""
    return np.asarray(np.exp(np.mean([np.log(grid_ratios(picture)) for picture in pictures], 0)))


def worst_ratios(pictures: Sequence[Image]) -> NDArray[np.float64]:
    """(2, 4): the largest of any picture."""
    return np.asarray(np.max([grid_ratios(picture) for picture in pictures], 0))


def described(ratios: NDArray[np.float64]) -> str:
    """Each period with its ratio, of rows or of columns, whichever stands out more."""
    return ", ".join(f"{period:.3g} px: {value:.2f}" for period, value in zip(PERIODS, ratios.max(0), strict=True))
