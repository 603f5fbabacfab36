"""Geometry between a frame and a face's crop.

An affine is (2, 3) float64 and takes (x, y, 1) in frame pixels to crop pixels; pixel centres lie at whole
numbers in both. Frames and crops are numpy arrays (H, W, C) float32 0..1 RGB. Nothing here works on more of a
frame than the face covers.
"""

import numpy as np

from ..catalog.templates import WARP_TEMPLATES
from ..errors import FacesError, SettingError
from ..opencv import cv2
from .face import Face

BAND_PIXELS = 1 << 16  # averaged at once


def similarity(landmarks: np.ndarray, template: np.ndarray) -> np.ndarray:
    """The least-squares similarity without reflection that takes landmarks (..., 5, 2) to template (5, 2).

    Returns affines (..., 2, 3) float64. In closed form: Umeyama, "Least-Squares Estimation of Transformation
    Parameters Between Two Point Patterns", 1991, for two dimensions, where no decomposition is needed. All
    points count, so the crop is steady from frame to frame; robust estimators drop points and jump. Raises
    FacesError when a face's points are not finite or coincide.
    """
    points, target = np.asarray(landmarks, np.float64), np.asarray(template, np.float64)
    if points.shape[-2:] != target.shape:
        raise FacesError(f"A face has points of shape {points.shape[-2:]} instead of {target.shape}: detect it anew.")
    middle, target_middle = points.mean(-2, keepdims=True), target.mean(-2)
    x, y = np.moveaxis(points - middle, -1, 0)
    u, v = np.moveaxis(target - target_middle, -1, 0)
    spread = (x * x + y * y).sum(-1)
    if not np.isfinite(points).all() or not (spread > 0).all():
        raise FacesError("A face's five points coincide or are not numbers, so the face cannot be aligned.")
    cosine, sine = (x * u + y * v).sum(-1) / spread, (x * v - y * u).sum(-1) / spread
    linear = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    shift = target_middle - (linear @ middle[..., 0, :, None])[..., 0]
    return np.concatenate([linear, shift[..., None]], -1)


def can_align(landmarks: np.ndarray) -> bool:
    """Whether five points (5, 2) are numbers that lie a pixel apart or more, so that `similarity` makes sense."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        return False
    return bool(np.isfinite(points).all() and np.ptp(points, 0).max() >= 1)


def inverse(affine: np.ndarray) -> np.ndarray:
    """The affines (..., 2, 3) that lead back."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], -1)


def chained(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """The affine (2, 3) that does one after the other."""
    linear = then[:, :2] @ first[:, :2]
    return np.column_stack([linear, then[:, :2] @ first[:, 2] + then[:, 2]])


def enlargement(affine: np.ndarray) -> float:
    """How many frame pixels stand for one pixel of a crop, along a side. affine: (2, 3), frame to crop."""
    return float(1 / np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def template_points(template: str, size: int) -> np.ndarray:
    """The named template (5, 2) in pixels of a crop of side `size`; SettingError for an unknown name."""
    if template not in WARP_TEMPLATES:
        raise SettingError(f"There is no warp template {template!r}. Choose one of {', '.join(WARP_TEMPLATES)}.")
    return np.array(WARP_TEMPLATES[template]) * size


def affine_for(landmarks: np.ndarray, template: str, size: int) -> np.ndarray:
    """The affine (..., 2, 3) from frame pixels to a crop of side `size` in the named template."""
    return similarity(landmarks, template_points(template, size))


def crop_face(frame: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """The aligned crop (size, size, 3) float32 of a frame (H, W, 3 or 4), its edge carried on outside."""
    return np.ascontiguousarray(warped(frame, affine, (size, size))[..., :3])


def warped(
    source: np.ndarray,
    affine: np.ndarray,
    size: tuple[int, int],
    method: int | None = None,
    zero: bool = False,
) -> np.ndarray:
    """The picture that `affine` makes of a source (H, W, C) or (H, W); size is its (width, height).

    Only the part of the source that is seen is touched. When it must shrink by two or more, it is first
    averaged over whole pixels, so that nothing aliases. method: OpenCV's interpolation, None for linear. Beyond
    the source its edge is carried on, or all is zero.
    """
    back = inverse(affine)
    factor = averaged_pixels(affine)
    x0, y0, x1, y1 = seen_rectangle(back, size, 3 * factor, source.shape[:2])
    # Whole squares, where the source goes on: they need no copy with a border.
    x1, y1 = (
        min(stop - (stop - start) % -factor, end)
        for start, stop, end in ((x0, x1, source.shape[1]), (y0, y1, len(source)))
    )
    part = source[y0:y1, x0:x1]
    border = cv2.BORDER_CONSTANT if zero else cv2.BORDER_REPLICATE
    if factor > 1:
        part = averaged(part, factor, border)
    origin = np.array([x0, y0]) + (factor - 1) / 2  # where the part's first pixel centre lies in the source
    from_part = np.column_stack([affine[:, :2] * factor, affine[:, :2] @ origin + affine[:, 2]])
    flags = cv2.INTER_LINEAR if method is None else method
    return cv2.warpAffine(part, from_part, size, flags=flags, borderMode=border)


def averaged_pixels(affine: np.ndarray) -> int:
    """The side of the squares of the source that are averaged before `affine` shrinks them; 1 where none are."""
    return max(1, int(enlargement(affine)))


def averaged(picture: np.ndarray, factor: int, border: int) -> np.ndarray:
    """The means of squares of `factor` px of a picture (H, W, ...), in bands, so that it takes little beside them.

    border: OpenCV's, of what the last squares lack.
    """
    height, width = (-(-length // factor) for length in picture.shape[:2])
    small = np.empty((height, width, *picture.shape[2:]), picture.dtype)
    step = max(1, BAND_PIXELS // (width * factor**2))
    for top in range(0, height, step):
        band = picture[top * factor : (top + step) * factor]
        missing = -band.shape[0] % factor, -band.shape[1] % factor
        if any(missing):
            band = cv2.copyMakeBorder(band, 0, missing[0], 0, missing[1], border)
        small[top : top + step] = cv2.resize(band, (width, len(band) // factor), interpolation=cv2.INTER_AREA)
    return small


def seen_rectangle(
    back: np.ndarray, size: tuple[int, int], margin: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of the source pixels, at least one, that an output of `size` (width, height) sees.

    back: the affine from output to source pixels. shape: the source's height and width.
    """
    low, high = corner_bounds(back, 0, 0, size[0] - 1, size[1] - 1)
    limits = np.array([shape[1], shape[0]])
    start = (np.floor(low).astype(int) - margin).clip(0, limits - 1)
    stop = np.minimum(np.maximum(np.ceil(high).astype(int) + margin + 1, start + 1), limits)
    return int(start[0]), int(start[1]), int(stop[0]), int(stop[1])


def corner_bounds(affine: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> tuple[np.ndarray, np.ndarray]:
    """The least and greatest (x, y) of a rectangle's corners after `affine`."""
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) @ affine[:, :2].T + affine[:, 2]
    return corners.min(0), corners.max(0)


def upright_region(face: Face, template: str, multiple: int) -> tuple[int, int, int]:
    """x0, y0 and side of the upright square of whole frame pixels that stands for the template's square.

    For networks that need no alignment. It has the centre and, rounded up to a multiple of `multiple`, the
    side of the aligned square, but is not turned with the face. It may stick out of the frame, so that a face
    at the edge stays in its middle, where masks are 1.
    """
    crop = 512.0
    back = inverse(affine_for(face.landmarks, template, int(crop)))
    exact = crop * np.sqrt(np.linalg.det(back[:, :2]))
    side = int(np.ceil(exact / multiple)) * multiple
    middle = back @ [(crop - 1) / 2, (crop - 1) / 2, 1.0]
    x0, y0 = np.round(middle + 0.5 - side / 2).astype(int)
    return int(x0), int(y0), side


def crop_region(frame: np.ndarray, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """A copy (height, width, 3) of pixels of a frame (H, W, 3 or 4), its edge carried on outside."""
    left, right = edge_split(x0, width, frame.shape[1])
    top, bottom = edge_split(y0, height, frame.shape[0])
    column, row = min(max(x0, 0), frame.shape[1] - 1), min(max(y0, 0), frame.shape[0] - 1)
    part = frame[row : row + height - top - bottom, column : column + width - left - right, :3]
    return cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REPLICATE)


def edge_split(start: int, length: int, limit: int) -> tuple[int, int]:
    """How many of `length` pixels from `start` lie before 0 and from `limit` on; one at least is left."""
    before = min(max(-start, 0), length - 1)
    return before, min(max(start + length - limit, 0), length - 1 - before)
