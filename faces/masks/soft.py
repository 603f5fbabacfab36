"""Soft masks in a face's crop: 1 inside, 0 outside and at the border, a Hann fall between.

Falls lie inside and are given as parts of the crop's side, so that they are as wide, for the face, in every frame,
and what lies outside is left alone to the bit. Crops are squares of S px; points are (x, y) with pixel centres at
whole numbers.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ...engines.checks import check_numbers
from ...errors import FacesError, SettingError
from ...opencv import cv2

# The points of a face's areas among its 68 (iBUG 300-W); an area is the hull of its points.
AREAS: dict[str, tuple[int, ...]] = {
    "upper": (*range(0, 3), *range(14, 27), *range(31, 36)),
    "lower": (*range(3, 14), *range(31, 36)),
    "mouth": tuple(range(48, 68)),
}

# The classes that face parsers of 19 classes tell.
REGIONS: dict[str, tuple[int, ...]] = {
    "skin": (1,),
    "brows": (2, 3),
    "eyes": (4, 5),
    "glasses": (6,),
    "ears": (7, 8, 9),
    "nose": (10,),
    "mouth": (11,),
    "lips": (12, 13),
    "neck": (14,),
    "hair": (17,),
    "hat": (18,),
}

# A part of a pixel by which hulls are drawn more exactly, in OpenCV's fixed point.
_FRACTION_BITS = 8


def hann_window(length: int, fall: int) -> np.ndarray:
    """(length,) float64: 0 at both ends, 1 from `fall` pixels inwards; long falls meet in the middle."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1])
    reach = max(1, min(fall, (length - 1) // 2))
    return 0.5 - 0.5 * np.cos(np.pi * (distance / reach).clip(0, 1))


def depth_inside(polygon: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) float32: px from each pixel to the edge of a convex polygon (N, 2), 0 outside.

    Exact to fractions of a pixel, and wherever the polygon lies: the picture's edge is no end of it.
    """
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    polygon = cv2.convexHull(np.asarray(polygon, np.float32))[:, 0].astype(np.float64)
    depth = np.full((height, width), np.inf, np.float32)
    for start, edge in zip(polygon, np.roll(polygon, -1, 0) - polygon, strict=True):
        length = float(np.hypot(*edge))
        if length > 0:
            x, y = np.array([-edge[1], edge[0]]) / length
            x, y = (x, y) if (polygon.mean(0) - start) @ (x, y) >= 0 else (-x, -y)
            np.minimum(depth, np.float32(x) * columns + (np.float32(y) * rows - np.float32(start @ (x, y))), out=depth)
    return np.maximum(depth, 0, out=depth)


def hann_ramp(depth: np.ndarray, width: float) -> np.ndarray:
    """(h, w) float32: 0 at depth 0, 1 from `width` px on, a Hann rise between."""
    return (0.5 - 0.5 * np.cos(np.pi * (depth / max(width, 1.0)).clip(0, 1))).astype(np.float32)


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


def box_mask(size: int, padding: tuple[float, float, float, float], feather: float) -> np.ndarray:
    """The mask (size, size) float32 of a crop without its margins.

    padding: top, right, bottom and left margin as parts of the side, which may not meet. Raises SettingError.
    """
    check_numbers(feather=feather)
    for margin in padding:
        check_numbers(padding=margin)
        if not 0 <= margin <= 1:
            raise SettingError(
                f"A padding must be 0 or more and below 1, as a fraction of the face's crop, not {margin}."
            )
    top, right, bottom, left = (round(share * size) for share in padding)
    height, width = size - top - bottom, size - left - right
    if min(height, width) < 3:
        raise SettingError(f"The paddings {padding} leave nothing of the face: two opposite ones must be below 1.")
    if not 0 <= feather <= 0.5:
        raise SettingError(f"The feather must be between 0 and 0.5 of the face's crop, not {feather}.")
    mask = np.zeros((size, size), np.float32)
    rows, columns = (hann_window(length, round(feather * size)) for length in (height, width))
    mask[top : size - bottom, left : size - right] = np.outer(rows, columns)
    return mask


def area_inside(points: np.ndarray, areas: Iterable[str], size: int) -> np.ndarray:
    """(size, size) uint8: 1 in the named areas of a face whose 68 points (68, 2) lie in the crop's pixels.

    Points may lie outside the crop. Raises SettingError for an unknown area, FacesError for points that are none.
    """
    if np.shape(points) != (68, 2) or not np.isfinite(points).all():
        raise FacesError("A face's areas are made from 68 points that are numbers; this face has none.")
    inside = np.zeros((size, size), np.uint8)
    for area in areas:
        if area not in AREAS:
            raise SettingError(f"There is no face area {area!r}. Choose one of {', '.join(AREAS)}.")
        hull = cv2.convexHull(np.asarray(points, np.float32)[list(AREAS[area])])
        # Points far outside would overflow OpenCV's fixed point.
        fixed = np.round(hull.clip(-4 * size, 5 * size) * (1 << _FRACTION_BITS)).astype(np.int32)
        cv2.fillConvexPoly(inside, fixed, 1, shift=_FRACTION_BITS)
    return inside


def region_inside(classes: np.ndarray, regions: Iterable[str]) -> np.ndarray:
    """(S, S) uint8: 1 where a parser's classes (S, S) belong to the named regions. Raises SettingError."""
    wanted: list[int] = []
    for region in regions:
        if region not in REGIONS:
            raise SettingError(f"There is no face region {region!r}. Choose one of {', '.join(REGIONS)}.")
        wanted += REGIONS[region]
    return np.isin(classes, wanted).astype(np.uint8)


def feathered(inside: np.ndarray, feather: float) -> np.ndarray:
    """The mask (S, S) float32 of what is inside (S, S) uint8: 0 outside, 1 from `feather` times S px inwards.

    Where nothing is that deep, as in lips, the deepest is 1. The crop's own border is no end: there the face goes on.
    """
    if not 0 <= feather <= 0.5:
        raise SettingError(f"The feather must be between 0 and 0.5 of the face's crop, not {feather}.")
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rise = (depth / max(1.0, min(feather * len(inside), float(depth.max())))).clip(0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * rise), np.float32)
