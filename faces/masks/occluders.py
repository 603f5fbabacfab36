"""What covers a face: sunglasses, masks, microphones, told from skin by colour, sharp edges and missing features.

Skin under any light has nearly one ratio of a* and b* to L* + 16 (in linear light, shading scales all three alike),
so shadows are told from things. What has the colour of the skin itself, as a hand of the same person, is not seen.
Pictures are numpy arrays (H, W, 3) float32 0..1 RGB; points are a mesh of `warp`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...opencv import cv2
from .. import warp

# Middles of patches that show skin on most faces: each the mean of these points of the mesh.
PATCHES = (
    (19, 69), (21, 22, 70), (24, 71), (1, 2, 31, 41), (15, 14, 35, 46), (3, 4, 48, 31), (13, 12, 54, 35),
    (2, 31, 40, 41), (14, 35, 46, 47), (28,), (29,), (57, 8), (5, 6, 59), (10, 11, 55),
)  # fmt: skip
PATCH_RADIUS = 0.11  # of the distance between the eyes
OFFSET = 16.0  # L* + 16 is proportional to the cube root of light, as a* and b* are
SAME_SKIN = 0.11  # distance of (a*, b*) / (L* + 16) up to which two patches are the same skin
DARKEST = 20.0  # of L* below the middle patch: what is darker is no shadow that is followed
LEAST_SPREAD = np.array([9.0, 4.0])  # of lightness and of colour
MOST_SPREAD = np.array([12.0, 6.5])
EXCESS = 0.3  # how much of a stronger colour counts
# Spreads from which on a pixel may be no skin, and how much of L*, a*, b* may change from pixel to pixel in a region,
# that shadows be no part of a thing. Of 43 brown glasses 33 become regions of their own at 1.6 spreads and 38 at 1.3;
# of 29 microphones 25 at a change of 3 and 27 at 2.
STRANGE, BORDER = 1.3, 2.0
LEAST_AREA = 0.025  # of the face, beyond eyes, brows, lips and nostrils

NO_BROWS = 20.0  # L* of brows that lie beyond the picture

# What makes a region a thing: a logistic regression over `evidence` on 1570 regions of 85 portraits, bare and with
# drawn masks, glasses and microphones. Of 185 other faces without such things none is taken for covered.
WEIGHTS = np.array([2.78, -2.5, -2.41, -2.26, 8.7, -1.51, 2.35, -4.79, -0.88])
BIAS = -7.46


@dataclass(frozen=True, eq=False)
class Skin:
    """The skin of one face. chroma: (2,) a* and b* by L* + 16. light: (3,) L* as a plane over 1, x, y."""

    chroma: np.ndarray
    light: np.ndarray
    range: tuple[float, float]
    spread: np.ndarray

    def distance(self, lab: np.ndarray) -> np.ndarray:
        """(h, w) float32: how far each pixel of L*, a*, b* (h, w, 3) is from this skin, in spreads."""
        height, width = lab.shape[:2]
        expected = self.light[0] + self.light[1] * np.arange(width) + self.light[2] * np.arange(height)[:, None]
        expected = expected.clip(*self.range)
        result: np.ndarray = np.hypot((lab[..., 0] - expected) / self.spread[0], self.tint(lab)).astype(np.float32)
        return result

    def tint(self, lab: np.ndarray) -> np.ndarray:
        """(h, w) float32: how far the colour is from this skin's in the same light; stronger colour counts little.

        Shadows and lips are skin of stronger colour, things have weaker ones or other hues.
        """
        length = max(float(np.hypot(*self.chroma)), 1e-3)
        (a, b), light = self.chroma / length, lab[..., 0] + OFFSET
        along = lab[..., 1] * a + lab[..., 2] * b - length * light
        across = lab[..., 2] * a - lab[..., 1] * b
        along = np.where(along > 0, EXCESS * along, along)
        return np.asarray(np.hypot(along, across) / self.spread[1], np.float32)


def lab_of(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(picture[..., :3], np.float32).clip(0, 1), cv2.COLOR_RGB2Lab)


def skin_of(lab: np.ndarray, mesh: np.ndarray) -> Skin | None:
    """The skin that most of a face's patches agree on, warm colours before others; None where no patch is seen."""
    height, width = lab.shape[:2]
    radius = max(1, round(PATCH_RADIUS * warp.eye_distance(mesh)))
    places, pixels = [], []
    for patch in PATCHES:
        x, y = np.round(mesh[list(patch)].mean(0)).astype(int)
        if 0 <= x < width and 0 <= y < height:
            part = lab[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            places.append((1.0, x, y))
            pixels.append(part.reshape(-1, 3))
    if not places:
        return None
    middle = np.array([np.median(group, 0) for group in pixels])
    chroma = middle[:, 1:] / (middle[:, :1] + OFFSET)
    same = np.linalg.norm(chroma[:, None] - chroma, axis=-1) < SAME_SKIN
    warm = np.where((chroma.min(1) > 0.01) & (middle[:, 0] > 8), 1.0, 0.15)
    alike = same[((same * warm).sum(1) * warm).argmax()]
    warmest = alike & (warm == 1)
    # Black has no colour, and would pass for skin in deep shadow.
    members = np.flatnonzero(warmest if warmest.any() else alike)
    return _fitted(np.array(places)[members], middle[members], np.concatenate([pixels[i] for i in members]))


def _fitted(places: np.ndarray, middle: np.ndarray, pixels: np.ndarray) -> Skin:
    light = np.array([np.median(middle[:, 0]), 0.0, 0.0])
    if len(places) >= 5:
        scale = np.abs(places).max(0)
        ridge = np.diag([0.0, 0.02, 0.02]) * len(places)
        centred = places / scale - np.array([0.0, *np.mean(places / scale, 0)[1:]])
        weights = np.linalg.solve(centred.T @ centred + ridge, centred.T @ middle[:, 0])
        slope = weights[1:] / scale[1:]
        light = np.array([weights[0] - slope @ places[:, 1:].mean(0), *slope])
    chroma = np.median(pixels[:, 1:] / (pixels[:, :1] + OFFSET), 0)
    off = np.linalg.norm(pixels[:, 1:] - chroma * (pixels[:, :1] + OFFSET), axis=1)
    residual = middle[:, 0] - places @ light
    spread = np.maximum([1.5 * np.median(np.abs(residual)), 1.2 * np.median(off)], LEAST_SPREAD)
    spread = np.minimum(spread, MOST_SPREAD)
    low, centre, high = np.percentile(middle[:, 0], (0, 50, 100))
    limits = float(max(low, centre - DARKEST)) - 5, float(high) + 5
    return Skin(chroma, light, limits, spread)


def features(mesh: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) uint8: 1 on eyes, brows, nostrils and lips, which are no skin on any face."""
    mask = np.zeros((height, width), np.uint8)
    parts = [mesh[17:22], mesh[22:27], mesh[36:42], mesh[42:48], mesh[warp.LIPS], mesh[31:36]]
    for part in parts:
        mask |= warp.polygon_mask(cv2.convexHull(part.astype(np.float32))[:, 0], width, height)
    reach = 2 * max(1, round(0.11 * warp.eye_distance(mesh))) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))


@dataclass(frozen=True, eq=False)
class Maps:
    """What the regions of a face (h, w) are judged by. lab: (h, w, 3). usual: (h, w) bool, as `features` draws.

    edge: change from pixel to pixel nearby. rough, relief: what stands out from a narrow and from a wide surrounding.
    deep: (h, w) bool, not at the outline. mesh: in pixels of these. brows: L* of their darker part. mirror: (2, 3),
    the affine that turns the face's halves into each other.
    """

    lab: np.ndarray
    usual: np.ndarray
    edge: np.ndarray
    rough: np.ndarray
    relief: np.ndarray
    deep: np.ndarray
    mesh: np.ndarray
    brows: float
    mirror: np.ndarray


def maps_of(lab: np.ndarray, mesh: np.ndarray, face: np.ndarray) -> Maps:
    """What is seen of a face (h, w) uint8 whose L*, a*, b* (h, w, 3) are given."""
    height, width = lab.shape[:2]
    unit = _unit(mesh)
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.4 * unit)
    rough = cv2.absdiff(lab[..., 0], cv2.GaussianBlur(lab[..., 0], (0, 0), unit))
    relief = cv2.absdiff(smooth, cv2.GaussianBlur(smooth, (0, 0), 4 * unit)).sum(-1)
    edge = cv2.dilate(steepness(lab), np.ones((5, 5), np.uint8))
    deep = cv2.erode(face, np.ones((5, 5), np.uint8)) > 0
    brow = np.zeros((height, width), np.uint8)
    for part in (mesh[17:22], mesh[22:27]):
        brow |= warp.polygon_mask(cv2.convexHull(part.astype(np.float32))[:, 0], width, height)
    brows = float(np.percentile(lab[..., 0][brow > 0], 25)) if brow.any() else NO_BROWS
    return Maps(lab, features(mesh, width, height) > 0, edge, rough, relief, deep, mesh, brows, _mirror(mesh))


def _unit(mesh: np.ndarray) -> float:
    return max(1.0, 0.03 * warp.eye_distance(mesh))


def _mirror(mesh: np.ndarray) -> np.ndarray:
    """The affine (2, 3) that mirrors about the line from nose root to chin."""
    down = mesh[warp.CHIN] - mesh[warp.NOSE_ROOT]
    across = np.array([-down[1], down[0]]) / max(float(np.hypot(*down)), 1e-6)
    linear = np.eye(2) - 2 * np.outer(across, across)
    return np.column_stack([linear, mesh[warp.NOSE_ROOT] - linear @ mesh[warp.NOSE_ROOT]])


def occluded(lab: np.ndarray, mesh: np.ndarray, skin: Skin | None) -> np.ndarray:
    """(h, w) uint8: 1 where something stands before the face whose L*, a*, b* (h, w, 3) are given."""
    height, width = lab.shape[:2]
    result = np.zeros((height, width), np.uint8)
    if skin is not None:
        hull = cv2.convexHull(mesh[: -warp.RING_POINTS].astype(np.float32))[:, 0]
        face = warp.polygon_mask(hull, width, height)
        maps = maps_of(lab, mesh, face)
        for here in regions(lab, maps, face, skin):
            if BIAS + WEIGHTS @ evidence(maps, here) > 0:
                result[here] = 1
    return result


def regions(lab: np.ndarray, maps: Maps, face: np.ndarray, skin: Skin) -> Iterator[np.ndarray]:
    """Connected parts (h, w) bool of a face (h, w) uint8 that are unlike its skin, and large enough to be things."""
    unit = _unit(maps.mesh)
    strange = (skin.distance(cv2.GaussianBlur(lab, (0, 0), 0.4 * unit)) > STRANGE).astype(np.uint8) & face
    strange = cv2.morphologyEx(strange, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    inside = strange & (steepness(cv2.GaussianBlur(lab, (0, 0), unit)) < BORDER).astype(np.uint8)
    count, labels = cv2.connectedComponents(inside, connectivity=4)
    least = LEAST_AREA * max(1, int(face.sum()))
    for index in range(1, count):
        here = labels == index
        if here.sum() >= 0.5 * least:
            here = (cv2.dilate(here.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & (strange > 0)
            if (here & ~maps.usual).sum() >= least:
                yield here


def steepness(lab: np.ndarray) -> np.ndarray:
    """(h, w) float32: how much of L*, a*, b* changes from pixel to pixel."""
    x, y = (cv2.Sobel(lab, cv2.CV_32F, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
    return np.asarray(np.sqrt((x**2 + y**2).sum(-1)) / 8, np.float32)


def evidence(maps: Maps, here: np.ndarray) -> np.ndarray:
    """(9,) what `WEIGHTS` weigh of a region (h, w) bool, each about 0..2.

    In their order: a sharp border, a rough inside, colour, eyes or lips that are seen in it, whether it lies where they
    would be, how far from the face's middle, symmetry, uneven lightness, lighter than the brows.
    """
    bare, height, width = here & ~maps.usual, *here.shape
    around = cv2.dilate((maps.deep & ~here).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    border = maps.edge[bare & around]
    core = cv2.erode(here.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    plain, inside = core & ~maps.usual, core & maps.usual
    texture = np.median(maps.rough[plain]) if plain.any() else 8.0
    relief = maps.relief[inside].mean() if inside.any() else 10.0
    chroma = np.hypot(*np.median(maps.lab[bare], 0)[1:])
    down = (np.nonzero(here)[0].mean() - maps.mesh[warp.NOSE_ROOT, 1]) / warp.eye_distance(maps.mesh)
    mirrored = cv2.warpAffine(here.astype(np.uint8), maps.mirror, (width, height)) > 0
    deep = cv2.erode(here.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    lightness = maps.lab[..., 0][deep if deep.any() else here]
    return np.array([
        min(np.median(border), 30) / 10 if border.size else 0.0, min(texture, 8) / 4, chroma / 30,
        min(relief, 30) / 10, float(inside.any()), abs(down - 0.6), (here & mirrored).sum() / here.sum(),
        lightness.std() / 10, (np.median(lightness) - maps.brows) / 20,
    ])  # fmt: skip
