"""Putting a crop back into its frame, in place.

Frames (H, W, 3 or 4), crops and masks are numpy arrays of float32 0..1, RGB. Only the pixels where the mask
is above 0 are written: every other pixel and the alpha channel keep their bits. Cost and memory follow the
face, not the frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError
from ..opencv import cv2
from .align import corner_bounds, inverse, warped

Region = tuple[slice, slice]

BAND_PIXELS = 1 << 16  # warped at once: each call costs as much as thousands of pixels
BLEND_PIXELS = 1 << 13  # blended at once: what is computed on the way stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Canvas:
    """A frame that crops are pasted into.

    frame: (H, W, 3 or 4), changed in place, its results clipped to 0..1.
    user_mask: (H, W) 0..1, times every mask.
    painted: (H, W), takes the maximum of itself and how far each pixel was replaced.
    strength: 0..1, times every mask.
    """

    frame: np.ndarray
    user_mask: np.ndarray | None = None
    painted: np.ndarray | None = None
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Raises ImageError unless the masks have the frame's size."""
        for name, mask in (("mask", self.user_mask), ("painted mask", self.painted)):
            if mask is not None and mask.shape != self.frame.shape[:2]:
                raise ImageError(
                    f"The {name} is {mask.shape} but the image {self.frame.shape[:2]}: give one of the image's size."
                )

    def paste(self, crop: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> Region:
        """Blends an aligned crop (S, S, 3) in through its mask (S, S); returns the region touched.

        affine: (2, 3), frame pixels to crop pixels. Raises ImageError where crop and mask differ in size.
        """
        check_sizes(crop, mask)
        size = len(crop)
        low, high = corner_bounds(inverse(affine), -1, -1, size, size)
        x0, y0 = np.floor(low).astype(int)
        x1, y1 = np.ceil(high).astype(int) + 1
        region = visible_region(self.frame, x0, y0, x1, y1)
        rows, columns = region
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return region
        for band in bands(rows, columns):
            placed = inverse(affine)
            placed[:, 2] -= columns.start, band.start
            extent = columns.stop - columns.start, band.stop - band.start
            # Cubic, because a crop is mostly enlarged here and linear would blur it; a mask must not overshoot.
            picture = warped(crop, placed, extent, cv2.INTER_CUBIC)
            self.blend((band, columns), picture, warped(mask, placed, extent, zero=True))
        return region

    def paste_upright(self, crop: np.ndarray, x0: int, y0: int, mask: np.ndarray) -> Region:
        """Blends an upright crop (h, w, 3) in with its corner at pixel (x0, y0), pixel on pixel.

        Where the mask (h, w) is 1 the frame takes the crop's exact values. x0 and y0 may lie outside the frame.
        The rest is as in `paste`.
        """
        check_sizes(crop, mask)
        region = visible_region(self.frame, x0, y0, x0 + crop.shape[1], y0 + crop.shape[0])
        rows, columns = region
        for band in bands(rows, columns):
            inside = slice(band.start - y0, band.stop - y0), slice(columns.start - x0, columns.stop - x0)
            self.blend((band, columns), crop[inside], mask[inside])
        return region

    def blend(self, region: Region, picture: np.ndarray, mask: np.ndarray) -> None:
        """frame * (1 - mask) + picture * mask in a region, clipped to 0..1, where the mask is above 0."""
        weight = mask * np.float32(self.strength)
        if self.user_mask is not None:
            weight *= self.user_mask[region]
        target = self.frame[region][..., :3]
        band = max(1, BLEND_PIXELS // max(1, mask.shape[1]))
        for top in range(0, len(mask), band):
            rows = slice(top, top + band)
            part = weight[rows, :, None]
            # What is no number counts as black, as it did for the network, or it would show through the new face.
            mixed = np.nan_to_num(target[rows], posinf=1.0, neginf=0.0)
            mixed *= 1 - part
            mixed += picture[rows] * part
            np.copyto(target[rows], mixed.clip(0, 1, out=mixed), where=part > 0)
        if self.painted is not None:
            np.maximum(self.painted[region], weight, out=self.painted[region])


def bands(rows: slice, columns: slice) -> Iterator[slice]:
    """The rows in bands of about `BAND_PIXELS`, so that a face as large as the frame costs no more than a small one."""
    height = max(1, BAND_PIXELS // max(1, columns.stop - columns.start))
    for start in range(rows.start, rows.stop, height):
        yield slice(start, min(start + height, rows.stop))


def visible_region(frame: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> Region:
    """The rows and columns of the frame that a rectangle covers; empty when it lies outside."""
    left, right = (int(min(max(x, 0), frame.shape[1])) for x in (x0, x1))
    top, bottom = (int(min(max(y, 0), frame.shape[0])) for y in (y0, y1))
    return slice(top, bottom), slice(left, right)


def check_sizes(crop: np.ndarray, mask: np.ndarray) -> None:
    """Raises ImageError unless the crop has its mask's size."""
    if crop.shape[:2] != mask.shape:
        raise ImageError(f"The crop is {crop.shape[:2]} but its mask is {mask.shape}.")
