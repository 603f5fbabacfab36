"""What came back for a crop, less what was cut: the change, which alone is added to the frame.

Where nothing was changed the change is 0 and the frame keeps its bits, however the crop was turned and scaled. A crop
that is smaller than its face in the frame knows nothing of the finest detail there, and neither does its change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...opencv import cv2
from .. import align
from ..paste import BLEND_PIXELS, Region, bands, visible_region, without_nan
from .colour import with_colours
from .cut import make_finite


@dataclass(frozen=True, eq=False)
class Change:
    """difference: (h, w, 3) float32, None where nothing was changed.

    to_difference: (2, 3), frame pixels to those of the difference.
    weights: (S, S) float32 0..1, how much of it the frame takes. to_weights: (2, 3), frame pixels to those of the crop.
    """

    difference: np.ndarray | None
    to_difference: np.ndarray
    weights: np.ndarray
    to_weights: np.ndarray

    def region(self, frame: np.ndarray) -> Region:
        """The rows and columns of a frame that its weights reach."""
        rows, columns = np.flatnonzero(self.weights.any(1)), np.flatnonzero(self.weights.any(0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        edges = columns[0] - 1, rows[0] - 1, columns[-1] + 1, rows[-1] + 1
        low, high = align.corner_bounds(align.inverse(self.to_weights), *map(float, edges))
        x0, y0 = np.floor(low).astype(int)
        x1, y1 = np.ceil(high).astype(int) + 1
        return visible_region(frame, x0, y0, x1, y1)

    def add_to(self, frame: np.ndarray, painted: np.ndarray) -> None:
        """Adds the change to a frame (H, W, 3 or 4) in place; `painted` (H, W) takes the maximum of itself and the
        weights. Pixels where those are 0, and where nothing was changed, keep their bits."""
        rows, columns = self.region(frame)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        for band in bands(rows, columns):
            extent = columns.stop - columns.start, band.stop - band.start
            weight = align.warped(self.weights, _from(self.to_weights, columns, band), extent, zero=True)
            target = painted[band, columns]
            np.maximum(target, weight, out=target)
            # A face is round and often turned: a fourth of the region has no weight.
            used = np.flatnonzero(weight.any(0))
            if self.difference is None or not len(used):
                continue
            seen = slice(columns.start + int(used[0]), columns.start + int(used[-1]) + 1)
            extent = seen.stop - seen.start, extent[1]
            # A change is mostly enlarged here, and linear would blur it.
            change = align.warped(self.difference, _from(self.to_difference, seen, band), extent, cv2.INTER_CUBIC)
            add(frame[band, seen, :3], change, weight[:, used[0] : used[-1] + 1])


def _from(to_crop: np.ndarray, columns: slice, rows: slice) -> np.ndarray:
    """The affine from pixels of a crop to those of a region of the frame."""
    placed = align.inverse(to_crop)
    placed[:, 2] -= columns.start, rows.start
    return placed


def add(target: np.ndarray, change: np.ndarray, weight: np.ndarray) -> None:
    """target + change * weight in place, clipped to 0..1, where that is another value; change is overwritten."""
    height = max(1, BLEND_PIXELS // max(1, weight.shape[1]))
    for top in range(0, len(weight), height):
        rows = slice(top, top + height)
        part = change[rows]
        part *= weight[rows, :, None]
        where = part != 0
        if where.any():
            frame = target[rows]
            # What is no number counts as black, as it did in the crop.
            part += frame if np.isfinite(frame).all() else without_nan(frame)
            np.copyto(target[rows], part.clip(0, 1, out=part), where=where)


def as_returned(before: np.ndarray, height: int, width: int, dtype: torch.dtype) -> np.ndarray:
    """What was cut, (S, S, 3), as it would have come back: (height, width, 3), after a type of half precision."""
    if dtype in (torch.float16, torch.bfloat16):
        before = torch.from_numpy(before).to(dtype).to(torch.float32).numpy()
    if (height, width) != before.shape[:2]:
        method = cv2.INTER_CUBIC if height > len(before) else cv2.INTER_AREA
        before = cv2.resize(before, (width, height), interpolation=method)
        before = before.clip(0, 1, out=before)
    return before


def difference_of(returned: np.ndarray, before: np.ndarray, colour: float, weights: np.ndarray) -> np.ndarray | None:
    """What came back (h, w, 3 or 4) less what was cut (h, w, 3), None where nothing was changed; `before` is lost.

    colour: 0..1, how far what came back takes the colours of what was cut, by the weights (S, S).
    """
    returned = returned[..., :3]
    if np.array_equal(returned, before):
        return None
    if colour > 0:
        returned = with_colours(returned, before, weights, colour)
    difference: np.ndarray = np.subtract(returned, before, out=before)
    make_finite(difference, -1.0)
    return difference
