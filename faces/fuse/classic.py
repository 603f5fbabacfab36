"""Fusing two faces without a model file: warp the one onto the other's shape, match its colours, blend.

Frames and pictures are numpy arrays (H, W, 3 or 4) float32 0..1 RGB; 68 points as in `warp`. Eyes and mouth are the
frame's own where they are open: who looks where, blinks or shows teeth is the frame's to say, and two irises or two
rows of teeth are never laid over each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engines.checks import check_numbers
from ...errors import SettingError
from ...opencv import cv2
from .. import warp
from ..align import similarity
from ..face import Face
from ..masks.covers import MARGIN, OPENING_FEATHER, OUTER_FEATHER, Cover, cover_of, face_region
from ..masks.soft import depth_inside, hann_ramp
from ..paste import Canvas, Region
from . import light, pyramid
from .colour import lab_of, matched, matched_colour, rgb_of, sampled, skin_of

# Widths as parts of the distance between the eyes.
INNER_FEATHER = 0.30  # over which fine detail changes from the one face to the other
# What is no skin: so many spreads away from the skin's colour, which are at least so much of L*, a*, b*.
STRANGE, SKIN_SPREAD = 3.0, np.array([6.0, 4.0, 4.0])
HAIR_DETAIL = 80.0  # px between the eyes at which hair is told from skin
FRINGE = 0.2  # of the forehead: with so much hair some of it goes, with twice as much all

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
                raise SettingError(f"The {name} weight must be between 0 and 1, not {value}.")


@dataclass(frozen=True, eq=False)
class Source:
    """A face to be fused in: its picture (H, W, 3 or 4) and 68 points in it."""

    picture: np.ndarray
    points: np.ndarray


def fuse(canvas: Canvas, points: np.ndarray, source: Source, weights: Weights, cover: Cover | None = None) -> Region:
    """Fuses the source into the face of the canvas's frame; returns the region looked at.

    points: (68, 2) of the frame's face. cover: what stands before the face, None to look for it here.
    Pixels outside the face and alpha keep their bits; with a shape weight, the surroundings that follow the outline
    count to the face. Raises FacesError, ImageError.
    """
    frame = canvas.frame
    own, other = warp.mesh_points(points), warp.mesh_points(source.points)
    aligned = warp.placed(other, similarity(source.points, np.asarray(points, np.float64)))
    nothing = weights.shape == weights.texture == 0
    covered = cover if nothing or cover is not None else cover_of(frame, own)
    free = np.ones((len(own), 1)) if covered is None else covered.free_points(own)
    wanted = own + weights.shape * free * (aligned - own)
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
        part = tuple(slice(span.start - at, span.stop - at) for span, at in zip(inner, corner[::-1], strict=True))
        size = inner[1].stop - inner[1].start, inner[0].stop - inner[0].start
        if min(size) > 1:
            in_part = wanted - (inner[1].start, inner[0].start)
            face = warp.warped_by_mesh(source.picture, other, wanted, (inner[1].start, inner[0].start), size)
            thing = None if covered is None else covered.moved_to(own, wanted, inner)
            here[part], seen = painted_over(here[part], face, Meshes(in_part, own, other), weights, thing)
            np.maximum(weight[part], seen, out=weight[part])
    canvas.blend(region, here, weight)
    return region


@dataclass(frozen=True, eq=False)
class Meshes:
    """wanted: (93, 2) where the face goes, in what is blended. own, other: the frame's face and the source's."""

    wanted: np.ndarray
    own: np.ndarray
    other: np.ndarray


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
    face = in_colours(face, here, bare if bare.any() else seen, wanted, own_parts, weights.colour)
    # Beyond the outline lies the source's hair and background, whose colours must not reach in.
    own_parts[depth <= 0] = 1
    face = pyramid.mixed(here, face, own_parts)
    mixed = pyramid.blended(face, here, skin * np.float32(weights.texture))
    if thing is not None:
        mixed = pyramid.mixed(here, mixed, thing)  # coarse levels reach under its edge
    return mixed, hann_ramp(depth, OUTER_FEATHER * distance)


def in_colours(
    face: np.ndarray, here: np.ndarray, skin: np.ndarray, wanted: np.ndarray, own_parts: np.ndarray, amount: float
) -> np.ndarray:
    """The face with the skin colour, light and lips of `here`, as seen on skin (h, w) bool; all (h, w, ...).

    wanted: the mesh of both. own_parts: (h, w) 0..1 of what is the frame's own. amount: 0 leaves the face's own.
    """
    if amount == 0 or not skin.any():
        return face
    lab, own = lab_of(face), lab_of(here)
    where = sampled(skin)
    lab = matched(lab, skin_of(lab[where]), skin_of(own[where]), amount)
    lab = light.relit(lab, own, skin, warp.eye_distance(wanted), amount)
    return rgb_of(light.like_lips(lab, own, wanted, own_parts, amount))


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
        pictures = here, face, seen.astype(np.float32)
        small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
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
    result: np.ndarray = ((distance - STRANGE) / STRANGE).clip(0, 1).astype(np.float32)
    return result


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


def fusion_bytes(faces: Sequence[Face], height: int, width: int, shape: float) -> int:
    """What fusing the largest of these faces takes without a network, in bytes. shape: the weight of shapes.

    height, width: px of the frames. Faces without 68 points are judged by their five.
    """
    most = 0
    for face in faces:
        if face.landmarks68 is not None:
            points = np.asarray(face.landmarks68, np.float64)
        else:
            to_frame = similarity(FIVE, face.landmarks)
            points = warp.placed(warp.MEAN_FACE, to_frame)
        mesh = warp.mesh_points(points)
        areas = []
        for part in (mesh[: -warp.RING_POINTS], mesh):
            low, high = np.floor(part.min(0)) - MARGIN, np.ceil(part.max(0)) + MARGIN
            span = np.minimum(high, (width, height)) - np.maximum(low, 0)
            areas.append(float(np.prod(span.clip(0))))
        # The source's shape may be wider than the frame's.
        grown = 1 + SHAPE_GROWTH * shape
        ring = areas[1] if shape else areas[0]
        most = max(most, int(min(areas[0] * grown, ring) * FUSE_PIXEL + ring * RING_PIXEL))
    return most
