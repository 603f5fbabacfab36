"""Fusing two faces without a model file: warp the one onto the other's shape, match its colours, blend.

Frames and pictures are numpy arrays (H, W, 3 or 4) float32 0..1 RGB; 68 points as in `warp`. Eyes and mouth are the
frame's own where they are open: who looks where, blinks or shows teeth is the frame's to say, and two irises or two
rows of teeth are never laid over each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engines.checks import check_numbers
from ..errors import SettingError
from ..opencv import cv2
from . import pyramid, warp
from .align import similarity
from .colour import matched_colour
from .paste import Region, blend, check_shapes, visible_region

# Widths as parts of the distance between the eyes.
OUTER_FEATHER = 0.16  # over which the result falls to the frame, inside the face's outline
INNER_FEATHER = 0.30  # over which fine detail changes from the one face to the other
OPENING_FEATHER = 0.03
# What is no skin: so many spreads away from the skin's colour, which are at least so much of L*, a*, b*.
STRANGE, SKIN_SPREAD = 3.0, np.array([6.0, 4.0, 4.0])
HAIR_DETAIL = 80.0  # px between the eyes at which hair is told from skin
FRINGE = 0.2  # of the forehead: with so much hair some of it goes, with twice as much all
MOVED = 0.05  # px from which on a pixel counts as moved

# Bytes for each pixel of the face's region: both pictures, their levels, maps, masks. 130 were measured.
FUSE_PIXEL = 160


@dataclass(frozen=True)
class Weights:
    """How much of the source goes into the result, each 0..1.

    shape: 0 keeps the frame's shape, 1 takes the source's, placed on the frame's face by a similarity.
    texture: 0 keeps the frame's skin and features, 1 takes the source's. colour: how far the source's colours are
    brought to the frame's. Raises SettingError outside 0..1.
    """

    shape: float = 0.0
    texture: float = 1.0
    colour: float = 1.0

    def __post_init__(self) -> None:
        for name in ("shape", "texture", "colour"):
            value = getattr(self, name)
            check_numbers(**{name: value})
            if not 0 <= value <= 1:
                raise SettingError(f"The {name} weight goes from 0 to 1, not {value}.")


@dataclass(frozen=True, eq=False)
class Source:
    """A face to be fused in: its picture (H, W, 3 or 4) and 68 points in it."""

    picture: np.ndarray
    points: np.ndarray


def fuse(
    frame: np.ndarray,
    points: np.ndarray,
    source: Source,
    weights: Weights,
    user_mask: np.ndarray | None = None,
    painted: np.ndarray | None = None,
) -> Region:
    """Fuses the source into the frame's face, in place; returns the region looked at.

    points: (68, 2) of the frame's face. user_mask: (H, W) 0..1, times the effect. painted: (H, W), takes the maximum
    of itself and how far each pixel was replaced. Pixels outside the face and alpha keep their bits; with a shape
    weight, the surroundings that follow the outline count to the face. Raises FacesError, ImageError.
    """
    check_shapes(frame, frame, frame[..., 0], user_mask, painted)
    own, other = warp.mesh_points(points), warp.mesh_points(source.points)
    there = warp.placed(other, similarity(source.points, np.asarray(points, np.float64)))
    wanted = own + weights.shape * (there - own)
    wanted[-warp.RING_POINTS :] = own[-warp.RING_POINTS :]
    region = face_region(frame, wanted if weights.shape else wanted[: -warp.RING_POINTS])
    rows, columns = region
    x0, y0, width, height = columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
    if min(width, height) < 2 or weights.shape == weights.texture == 0:
        return region
    here = np.nan_to_num(frame[region][..., :3], posinf=1.0, neginf=0.0)
    weight = np.zeros((height, width), np.float32)
    if weights.shape:
        here, weight = reshaped(here, own - (x0, y0), wanted - (x0, y0))
    if weights.texture:
        face = warp.warped_by_mesh(np.nan_to_num(source.picture), other, wanted, x0, y0, width, height)
        here, covered = painted_over(here, face, wanted - (x0, y0), own, other, weights)
        weight = np.maximum(weight, covered)
    blend(frame, region, here, weight, 1.0, user_mask, painted)
    return region


def face_region(frame: np.ndarray, points: np.ndarray) -> Region:
    """The rows and columns of the frame that the points span."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    return visible_region(frame, low[0], low[1], high[0], high[1])


def reshaped(picture: np.ndarray, mesh: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture (h, w, 3) with its mesh moved, and a mask (h, w) of where that changed anything."""
    height, width = picture.shape[:2]
    maps = warp.backward_maps(mesh, wanted, width, height)
    moved = cv2.remap(picture, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    changed = np.maximum(np.abs(maps[0] - columns), np.abs(maps[1] - rows)) > MOVED
    ring = warp.polygon_mask(wanted[-warp.RING_POINTS :], width, height)
    return moved, (changed & (ring > 0)).astype(np.float32)


def painted_over(
    here: np.ndarray, face: np.ndarray, wanted: np.ndarray, own: np.ndarray, other: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """The face blended into `here`, both (h, w, 3) with their points at `wanted`; and the mask (h, w) of the blend.

    own, other: the meshes of the frame's face and of the source, from which it is seen who has an open mouth.
    """
    distance = warp.eye_distance(wanted)
    height, width = here.shape[:2]
    outline = cv2.convexHull(wanted[: -warp.RING_POINTS].astype(np.float32))[:, 0]
    inside = warp.polygon_mask(outline, width, height)
    depth = depth_inside(inside)
    skin = hann_ramp(depth, INNER_FEATHER * distance)
    openings = opening_mask(wanted, own, other, width, height)
    seen = (skin > 0.9) & (openings < 0.1)
    face = face.clip(0, 1, out=face)
    own_parts = np.maximum(openings, hair_mask(here, face, seen, wanted))
    face = matched_colour(face, here, seen, weights.colour)
    # Beyond the outline lies the source's hair and background, whose colours must not reach in.
    own_parts[inside == 0] = 1
    face = pyramid.mixed(here, face, own_parts)
    mixed = pyramid.blended(face, here, skin * np.float32(weights.texture))
    return mixed, hann_ramp(depth, OUTER_FEATHER * distance)


def hair_mask(here: np.ndarray, face: np.ndarray, seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(h, w) float32: 1 on the forehead where either picture has hair, a hat or a hand instead of skin.

    here, face: (h, w, 3). seen: (h, w) of what is seen of the face. Skin is what the cheeks and the nose have, give or
    take some spreads of L*, a*, b*. Looked at in no more detail than is needed.
    """
    height, width = here.shape[:2]
    factor = max(1, int(warp.eye_distance(wanted) / HAIR_DETAIL))
    size = max(1, width // factor), max(1, height // factor)
    points = wanted * (size[0] / width, size[1] / height)
    cheeks = warp.polygon_mask(cv2.convexHull(points[warp.CHEEKS].astype(np.float32))[:, 0], *size) > 0
    above = np.concatenate([points[warp.BROWS], points[warp.FOREHEAD][::-1]])
    forehead = warp.polygon_mask(above, *size)
    mask = np.zeros(size[::-1], np.float32)
    if cheeks.any() and forehead.any():
        small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (here, face, seen.astype(np.float32))]
        for picture in (small[0], matched_colour(small[1], small[0], small[2])):
            mask = np.maximum(mask, strangeness(picture, cheeks))
        much = float(mask[forehead > 0].mean())
        mask = np.maximum(mask, min(1.0, max(0.0, much / FRINGE - 1))) * forehead
    fade = OPENING_FEATHER * warp.eye_distance(points)
    reach = 2 * round(fade) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.3, fade))
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)


def strangeness(picture: np.ndarray, cheeks: np.ndarray) -> np.ndarray:
    """(h, w) float32: 0 where the picture (h, w, 3) has the colour of the cheeks (h, w) bool, 1 where it is no skin."""
    lab = cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2Lab)
    skin = np.median(lab[cheeks], 0)
    spread = np.maximum(1.5 * np.median(np.abs(lab[cheeks] - skin), 0), SKIN_SPREAD)
    distance = np.sqrt((((lab - skin) / spread) ** 2).sum(-1))
    return ((distance - STRANGE) / STRANGE).clip(0, 1).astype(np.float32)


def depth_inside(inside: np.ndarray) -> np.ndarray:
    """(h, w) float32: px from each pixel of a mask (h, w) uint8 to where it ends; the picture's edge is no end."""
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)


def hann_ramp(depth: np.ndarray, width: float) -> np.ndarray:
    """(h, w) float32: 0 at depth 0, 1 from `width` px on, a Hann rise between."""
    return (0.5 - 0.5 * np.cos(np.pi * (depth / max(width, 1.0)).clip(0, 1))).astype(np.float32)


def opening_mask(wanted: np.ndarray, own: np.ndarray, other: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) float32: 1 where an eye or the mouth is open and stays the frame's own.

    An opening that the frame's face does not have, because its own is shut and the source's shape opens it, is the
    source's.
    """
    mask = np.zeros((height, width), np.float32)
    for part in warp.OPENINGS:
        needed, ours = warp.area(wanted[part]), warp.area(own[part])
        if ours >= 0.5 * needed or warp.area(other[part]) <= ours:
            mask = np.maximum(mask, warp.polygon_mask(wanted[part], width, height))
    return cv2.GaussianBlur(mask, (0, 0), max(0.3, OPENING_FEATHER * warp.eye_distance(wanted)))
