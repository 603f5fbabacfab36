"""What stands before one face and stays there: found by statistics, or by a network's mask of the face's crop.

Frames are numpy arrays (H, W, 3 or 4) float32 0..1 RGB; a mesh is one of `warp`, in pixels of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...opencv import cv2
from .. import warp
from ..align import chained
from ..paste import Region, visible_region
from . import occluders
from .soft import depth_inside, hann_ramp

# Widths as parts of the distance between the eyes.
OUTER_FEATHER = 0.16  # over which the result falls to the frame, inside the face's outline
OPENING_FEATHER = 0.03
FREEZE = 0.1  # so near a thing before the face, points stay
RIM = 0.2  # what a network calls hidden in a narrower strip along the outline is where both draw the face otherwise
MARGIN = 4  # px around the outline, so that it never is the edge of what is looked at
DETAIL = 80.0  # px between the eyes at which things before the face are looked for


@dataclass(frozen=True, eq=False)
class Cover:
    """What stands before a face. mask: (h, w) float32 0..1 of its region, seen `factor` times smaller.

    left, top: px of the frame where the region begins.
    """

    mask: np.ndarray
    factor: float
    left: int
    top: int

    def placed(self, mesh: np.ndarray) -> np.ndarray:
        """Points of the frame in pixels of the mask."""
        return (mesh - (self.left, self.top) - (self.factor - 1) / 2) / self.factor

    def to_frame(self) -> np.ndarray:
        """The affine (2, 3) from pixels of the mask to pixels of the frame."""
        shift = (self.factor - 1) / 2
        return np.array([[self.factor, 0, self.left + shift], [0, self.factor, self.top + shift]])

    def free_points(self, mesh: np.ndarray) -> np.ndarray:
        """(93, 1) 0..1: 0 for points that are covered or near to it, and must stay where they are."""
        sigma = FREEZE * warp.eye_distance(self.placed(mesh))
        reach = 2 * round(sigma) + 1
        wide = cv2.dilate(self.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        wide = cv2.GaussianBlur(wide, (0, 0), max(0.3, sigma))
        x, y = np.round(self.placed(mesh)).astype(int).T
        height, width = wide.shape
        result: np.ndarray = 1 - wide[y.clip(0, height - 1), x.clip(0, width - 1)][:, None]
        return result

    def moved_to(self, own: np.ndarray, wanted: np.ndarray, region: Region) -> np.ndarray:
        """The mask for a region of the frame whose mesh `own` was moved to `wanted`, at the region's size."""
        rows, columns = region
        height, width = rows.stop - rows.start, columns.stop - columns.start
        size = max(1, round(width / self.factor)), max(1, round(height / self.factor))
        scale = np.array(size) / (width, height)
        target = (wanted - (columns.start, rows.start)) * scale + (scale - 1) / 2
        warped_mask = warp.remapped(self.mask, self.placed(own), target, size[0], size[1], border=0)
        return cv2.resize(warped_mask, (width, height), interpolation=cv2.INTER_LINEAR)

    def free_part(self, affine: np.ndarray, side: int, mesh: np.ndarray) -> np.ndarray:
        """(side, side) float32 0..1 of an aligned crop: 1 on the face where nothing stands before it.

        affine: (2, 3), frame pixels to the crop's. Where nothing stands before the face it is 1 everywhere; else it
        ends at the face's outline, beyond which a thing that reaches further would be cut.
        """
        if not self.mask.any():
            return np.ones((side, side), np.float32)
        matrix = chained(self.to_frame(), affine)
        thing = cv2.warpAffine(self.mask, matrix, (side, side), flags=cv2.INTER_LINEAR)
        points = warp.placed(mesh[: -warp.RING_POINTS], affine)
        ramp = hann_ramp(depth_inside(points, side, side), OUTER_FEATHER * warp.eye_distance(points))
        return ramp * (1 - thing)


def face_region(frame: np.ndarray, points: np.ndarray) -> Region:
    """The rows and columns of the frame that the points span, and a margin."""
    low, high = np.floor(points.min(0)).astype(int) - MARGIN, np.ceil(points.max(0)).astype(int) + 1 + MARGIN
    return visible_region(frame, low[0], low[1], high[0], high[1])


def empty_cover(frame: np.ndarray, mesh: np.ndarray) -> Cover:
    """A cover of nothing, in no more detail than is needed."""
    rows, columns = face_region(frame, mesh[: -warp.RING_POINTS])
    factor = max(1.0, warp.eye_distance(mesh) / DETAIL)
    height, width = (max(1, round((span.stop - span.start) / factor)) for span in (rows, columns))
    return Cover(np.zeros((height, width), np.float32), factor, columns.start, rows.start)


def cover_of(frame: np.ndarray, mesh: np.ndarray) -> Cover | None:
    """What stands before the frame's face, found by colours and edges; None where nothing does."""
    rows, columns = face_region(frame, mesh[: -warp.RING_POINTS])
    if min(rows.stop - rows.start, columns.stop - columns.start) < 2:
        return None
    cover = empty_cover(frame, mesh)
    small = cv2.resize(
        np.ascontiguousarray(frame[rows, columns, :3]), cover.mask.shape[::-1], interpolation=cv2.INTER_AREA
    )
    lab, points = occluders.lab_of(np.nan_to_num(small)), cover.placed(mesh)
    mask = occluders.occluded(lab, points, occluders.skin_of(lab, points))
    return _softened(cover, mask, points) if mask.any() else None


@dataclass(frozen=True, eq=False)
class Hidden:
    """What a network found before a face. packed: bits of (side, side), 1 where a crop does not show the face.

    affine: (2, 3), frame pixels to the crop's. told: what colours and edges tell counts besides.
    """

    packed: np.ndarray
    side: int
    affine: np.ndarray
    told: bool = False

    def cover(self, frame: np.ndarray, mesh: np.ndarray) -> Cover:
        """The cover. What is beyond the face's outline, or in a thin strip along it, only looks hidden to a network."""
        cover = empty_cover(frame, mesh)
        size, points = cover.mask.shape[::-1], cover.placed(mesh)
        crop = np.unpackbits(self.packed, count=self.side**2).reshape(self.side, self.side).astype(np.float32)
        matrix = chained(cover.to_frame(), self.affine)
        seen = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        hull = cv2.convexHull(points[: -warp.RING_POINTS].astype(np.float32))[:, 0]
        mask = (seen > 0.5).astype(np.uint8) & warp.polygon_mask(hull, *size)
        reach = 2 * max(1, round(0.5 * RIM * warp.eye_distance(points))) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        softened = _softened(cover, cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), points)
        other = cover_of(frame, mesh) if self.told else None
        return softened if other is None else replace(softened, mask=np.maximum(softened.mask, other.mask))


def _softened(cover: Cover, mask: np.ndarray, mesh: np.ndarray) -> Cover:
    """The cover with a mask (h, w) uint8, grown over its edge and soft. mesh: in pixels of the mask."""
    unit = OPENING_FEATHER * warp.eye_distance(mesh)
    reach = 2 * max(1, round(unit)) + 1
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))).astype(np.float32)
    soft = cv2.GaussianBlur(grown, (0, 0), max(0.5, 0.5 * unit))
    return Cover(soft, cover.factor, cover.left, cover.top)
