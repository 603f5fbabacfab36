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
from . import light, occluders, pyramid, warp
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
MARGIN = 4  # px around the outline, so that it never is the edge of what is looked at
DETAIL = 80.0  # px between the eyes at which things before the face are looked for
FREEZE = 0.1  # of the distance between the eyes: so near a thing before the face, points stay

# Bytes for each pixel of the face within its outline: both pictures, their levels, maps, masks; and of the ring
# around it, which is warped alone.
FUSE_PIXEL = 115
RING_PIXEL = 16


SHAPE_GROWTH = 0.1  # of the outline's area, by which the source's may be larger
# The mean face as a detector gives it: eyes, nose, corners of the mouth.
FIVE = np.stack(
    [warp.MEAN_FACE[warp.LEFT_EYE].mean(0), warp.MEAN_FACE[warp.RIGHT_EYE].mean(0), *warp.MEAN_FACE[[30, 48, 54]]]
)


@dataclass(frozen=True)
class Weights:
    """How much of the source goes into the result, each 0..1.

    shape: 0 keeps the frame's shape, 1 takes the source's, placed on the frame's face by a similarity.
    texture: 0 keeps the frame's skin and features, 1 takes the source's. colour: how far the source's colours are
    brought to the frame's. Raises SettingError outside 0..1.
    """

    shape: float = 0.5
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
    nothing = weights.shape == weights.texture == 0
    covered = None if nothing else cover_of(frame, own)
    free = np.ones((len(own), 1)) if covered is None else covered.free_points(own)
    wanted = own + weights.shape * free * (there - own)
    wanted[-warp.RING_POINTS :] = own[-warp.RING_POINTS :]
    region = face_region(frame, wanted if weights.shape else wanted[: -warp.RING_POINTS])
    rows, columns = region
    corner = columns.start, rows.start
    if nothing or min(rows.stop - rows.start, columns.stop - columns.start) < 2:
        return region
    here = np.nan_to_num(frame[region][..., :3], posinf=1.0, neginf=0.0)
    weight = np.zeros(here.shape[:2], np.float32)
    if weights.shape:
        here, weight = reshaped(here, own - corner, wanted - corner)
    if weights.texture:
        inner = face_region(frame, wanted[: -warp.RING_POINTS])
        part = tuple(slice(each.start - at, each.stop - at) for each, at in zip(inner, corner[::-1], strict=True))
        size = inner[1].stop - inner[1].start, inner[0].stop - inner[0].start
        if min(size) > 1:
            there = wanted - (inner[1].start, inner[0].start)
            face = warp.warped_by_mesh(source.picture, other, wanted, inner[1].start, inner[0].start, *size)
            thing = None if covered is None else covered.moved_to(own, wanted, inner)
            here[part], seen = painted_over(here[part], face, Meshes(there, own, other), weights, thing)
            np.maximum(weight[part], seen, out=weight[part])
    blend(frame, region, here, weight, 1.0, user_mask, painted)
    return region


@dataclass(frozen=True, eq=False)
class Meshes:
    """wanted: (93, 2) where the face goes, in what is blended. own, other: the frame's face and the source's."""

    wanted: np.ndarray
    own: np.ndarray
    other: np.ndarray


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

    def free_points(self, mesh: np.ndarray) -> np.ndarray:
        """(93, 1) 0..1: 0 for points that are covered or near to it, and must stay where they are."""
        sigma = FREEZE * warp.eye_distance(self.placed(mesh))
        reach = 2 * round(sigma) + 1
        wide = cv2.dilate(self.mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        wide = cv2.GaussianBlur(wide, (0, 0), max(0.3, sigma))
        x, y = np.round(self.placed(mesh)).astype(int).T
        height, width = wide.shape
        return 1 - wide[y.clip(0, height - 1), x.clip(0, width - 1)][:, None]

    def moved_to(self, own: np.ndarray, wanted: np.ndarray, region: Region) -> np.ndarray:
        """The mask for a region of the frame whose mesh `own` was moved to `wanted`, at the region's size."""
        rows, columns = region
        height, width = rows.stop - rows.start, columns.stop - columns.start
        size = max(1, round(width / self.factor)), max(1, round(height / self.factor))
        scale = np.array(size) / (width, height)
        target = (wanted - (columns.start, rows.start)) * scale + (scale - 1) / 2
        moved = warp.remapped(self.mask, self.placed(own), target, size[0], size[1], border=0)
        return cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)


def cover_of(frame: np.ndarray, own: np.ndarray) -> Cover | None:
    """What stands before the frame's face, found in no more detail than is needed; None where nothing does."""
    rows, columns = face_region(frame, own[: -warp.RING_POINTS])
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if min(height, width) < 2:
        return None
    factor = max(1.0, warp.eye_distance(own) / DETAIL)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.resize(np.ascontiguousarray(frame[rows, columns, :3]), size, interpolation=cv2.INTER_AREA)
    found = Cover(np.zeros(size[::-1], np.float32), factor, columns.start, rows.start)
    lab, mesh = occluders.lab_of(np.nan_to_num(small)), found.placed(own)
    mask = occluders.occluded(lab, mesh, occluders.skin_of(lab, mesh))
    if not mask.any():
        return None
    unit = OPENING_FEATHER * warp.eye_distance(mesh)
    reach = 2 * max(1, round(unit)) + 1
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))).astype(np.float32)
    return Cover(cv2.GaussianBlur(grown, (0, 0), max(0.5, 0.5 * unit)), factor, columns.start, rows.start)


def face_region(frame: np.ndarray, points: np.ndarray) -> Region:
    """The rows and columns of the frame that the points span, and a margin."""
    low, high = np.floor(points.min(0)).astype(int) - MARGIN, np.ceil(points.max(0)).astype(int) + 1 + MARGIN
    return visible_region(frame, low[0], low[1], high[0], high[1])


def reshaped(picture: np.ndarray, mesh: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture (h, w, 3) with its mesh moved, and a mask (h, w) of where that may change it.

    The ring moves nothing, so the mask falls to 0 there over pixels that hardly move.
    """
    height, width = picture.shape[:2]
    fall = OUTER_FEATHER * warp.eye_distance(wanted)
    mask = hann_ramp(depth_inside(wanted[-warp.RING_POINTS :], width, height), fall)
    return warp.remapped(picture, mesh, wanted, width, height), mask


def painted_over(
    here: np.ndarray, face: np.ndarray, meshes: Meshes, weights: Weights, thing: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The face blended into `here`, both (h, w, 3) with their points at `wanted`; and the mask (h, w) of the blend.

    thing: (h, w) 0..1 of what stands before the face and stays.
    """
    wanted = meshes.wanted
    distance = warp.eye_distance(wanted)
    height, width = here.shape[:2]
    outline = cv2.convexHull(wanted[: -warp.RING_POINTS].astype(np.float32))[:, 0]
    depth = depth_inside(outline, width, height)
    skin = hann_ramp(depth, INNER_FEATHER * distance)
    openings = opening_mask(wanted, meshes.own, meshes.other, width, height)
    seen = (skin > 0.9) & (openings < 0.1)
    face = np.nan_to_num(face, copy=False).clip(0, 1, out=face)
    own_parts = np.maximum(openings, hair_mask(here, face, seen, wanted))
    if thing is not None:
        own_parts = np.maximum(own_parts, thing)
    # Hair and things are no skin, whose colours they would tint.
    bare = seen & (own_parts < 0.1)
    face = matched_colour(face, here, bare if bare.any() else seen, weights.colour)
    face = light.relit(face, here, bare, distance, weights.colour)
    face = light.plain_lips(face, here, wanted, own_parts)
    # Beyond the outline lies the source's hair and background, whose colours must not reach in.
    own_parts[depth <= 0] = 1
    face = pyramid.mixed(here, face, own_parts)
    mixed = pyramid.blended(face, here, skin * np.float32(weights.texture))
    if thing is not None:
        mixed = pyramid.mixed(here, mixed, thing)  # coarse levels reach under its edge
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
