"""Putting a crop back into its frame, in place.

Frames (H, W, 3 or 4), crops and masks are numpy arrays of float32 0..1, RGB. Only the pixels where the mask
is above 0 are written: every other pixel and the alpha channel keep their bits. Cost and memory follow the
face, not the frame.
"""

from collections.abc import Iterator

import numpy as np

from ..errors import ImageError
from ..opencv import cv2
from .align import corner_bounds, inverse, warped

Region = tuple[slice, slice]

BAND_PIXELS = 1 << 16  # warped at once: each call costs as much as thousands of pixels
BLEND_PIXELS = 1 << 13  # blended at once: what is computed on the way stays in the processor's cache


def paste(
    frame: np.ndarray,
    crop: np.ndarray,
    affine: np.ndarray,
    mask: np.ndarray,
    strength: float = 1.0,
    user_mask: np.ndarray | None = None,
    painted: np.ndarray | None = None,
) -> Region:
    """Blends an aligned crop (S, S, 3) into the frame through its mask (S, S); returns the region touched.

    affine: (2, 3), frame pixels to crop pixels. strength: 0..1, times the mask. user_mask: (H, W) 0..1, times
    the mask. painted: (H, W), takes the maximum of itself and what was blended here. The result is clipped to
    0..1. Raises ImageError when sizes do not fit.
    """
    check_shapes(frame, crop, mask, user_mask, painted)
    size = len(crop)
    low, high = corner_bounds(inverse(affine), -1, -1, size, size)
    x0, y0 = np.floor(low).astype(int)
    x1, y1 = np.ceil(high).astype(int) + 1
    region = visible_region(frame, x0, y0, x1, y1)
    rows, columns = region
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return region
    for band in bands(rows, columns):
        there = inverse(affine)
        there[:, 2] -= columns.start, band.start
        extent = columns.stop - columns.start, band.stop - band.start
        # Cubic, because a crop is mostly enlarged here and linear would blur it; a mask must not overshoot.
        picture = warped(crop, there, extent, cv2.INTER_CUBIC)
        weight = warped(mask, there, extent, zero=True)
        blend(frame, (band, columns), picture, weight, strength, user_mask, painted)
    return region


def paste_region(
    frame: np.ndarray,
    crop: np.ndarray,
    x0: int,
    y0: int,
    mask: np.ndarray,
    strength: float = 1.0,
    user_mask: np.ndarray | None = None,
    painted: np.ndarray | None = None,
) -> Region:
    """Blends an upright crop (h, w, 3) into the frame with its corner at pixel (x0, y0), pixel on pixel.

    Where the mask (h, w) is 1 the frame takes the crop's exact values. x0 and y0 may lie outside the frame.
    The rest is as in `paste`.
    """
    check_shapes(frame, crop, mask, user_mask, painted)
    region = visible_region(frame, x0, y0, x0 + crop.shape[1], y0 + crop.shape[0])
    rows, columns = region
    for band in bands(rows, columns):
        inside = slice(band.start - y0, band.stop - y0), slice(columns.start - x0, columns.stop - x0)
        blend(frame, (band, columns), crop[inside], mask[inside], strength, user_mask, painted)
    return region


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


def blend(
    frame: np.ndarray,
    region: Region,
    picture: np.ndarray,
    mask: np.ndarray,
    strength: float,
    user_mask: np.ndarray | None,
    painted: np.ndarray | None,
) -> None:
    """frame * (1 - mask) + picture * mask in a region, clipped to 0..1, where the mask is above 0."""
    weight = mask * np.float32(strength)
    if user_mask is not None:
        weight *= user_mask[region]
    target = frame[region][..., :3]
    band = max(1, BLEND_PIXELS // max(1, mask.shape[1]))
    for top in range(0, len(mask), band):
        rows = slice(top, top + band)
        part = weight[rows, :, None]
        # What is no number counts as black, as it did for the network, or it would show through the new face.
        mixed = np.nan_to_num(target[rows], posinf=1.0, neginf=0.0)
        mixed *= 1 - part
        mixed += picture[rows] * part
        np.copyto(target[rows], mixed.clip(0, 1, out=mixed), where=part > 0)
    if painted is not None:
        np.maximum(painted[region], weight, out=painted[region])


def check_shapes(
    frame: np.ndarray,
    crop: np.ndarray,
    mask: np.ndarray,
    user_mask: np.ndarray | None,
    painted: np.ndarray | None,
) -> None:
    """Raises ImageError unless the crop fits its mask, and the frame the masks of its size."""
    if crop.shape[:2] != mask.shape:
        raise ImageError(f"The crop is {crop.shape[:2]} but its mask is {mask.shape}.")
    for name, canvas in (("mask", user_mask), ("painted mask", painted)):
        if canvas is not None and canvas.shape != frame.shape[:2]:
            raise ImageError(
                f"The {name} is {canvas.shape} but the image {frame.shape[:2]}: give one of the image's size."
            )
