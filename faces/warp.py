"""From one face's shape to another's: a mesh over 68 points, each of whose triangles is moved by its own affine.

Points are (x, y) float64 in pixels of their picture, in the order of iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35,
eyes 36-41 and 42-47, lips 48-59, mouth opening 60-67. A mesh has five points of the forehead and a ring of fixed
points around the face besides. Pictures are numpy arrays (H, W, 3) float32 0..1 RGB.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..errors import FacesError
from ..opencv import cv2
from .align import similarity

JAW, BROWS, LIPS = slice(0, 17), slice(17, 27), slice(48, 60)
LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(60, 68)
OPENINGS = (LEFT_EYE, RIGHT_EYE, MOUTH)
FOREHEAD, RING_POINTS = slice(68, 73), 20
LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]
CHEEKS = [1, 2, 3, 13, 14, 15, 28, 31, 35]
CHIN, NOSE_ROOT, NOSE_BRIDGE = 8, 27, 29

# Parts of the distance from chin to nose root: how far the forehead goes above the brows, and the ring's radius.
FOREHEAD_HEIGHTS = (0.1, 0.2, 0.22, 0.2, 0.1)
RING_RADIUS = 1.35

BAND_PIXELS = 1 << 20  # warped at once

# The mean face of 85 portraits, in distances between the eyes from the middle between them.
MEAN_FACE = np.array([
    (-1.14, 0.01), (-1.12, 0.31), (-1.06, 0.60), (-1.01, 0.85), (-0.91, 1.14), (-0.76, 1.36), (-0.58, 1.52),
    (-0.35, 1.68), (0.00, 1.78), (0.35, 1.68), (0.58, 1.52), (0.76, 1.36), (0.91, 1.14), (1.01, 0.85), (1.06, 0.60),
    (1.12, 0.31), (1.14, 0.01), (-0.91, -0.26), (-0.77, -0.35), (-0.60, -0.37), (-0.44, -0.35), (-0.29, -0.30),
    (0.29, -0.30), (0.44, -0.35), (0.60, -0.37), (0.77, -0.35), (0.91, -0.26), (0.00, 0.04), (0.00, 0.24),
    (0.00, 0.44), (0.00, 0.61), (-0.19, 0.71), (-0.11, 0.74), (0.00, 0.77), (0.11, 0.74), (0.19, 0.71),
    (-0.68, -0.01), (-0.58, -0.06), (-0.44, -0.06), (-0.30, 0.01), (-0.42, 0.06), (-0.58, 0.05), (0.30, 0.01),
    (0.44, -0.06), (0.58, -0.06), (0.68, -0.01), (0.58, 0.05), (0.42, 0.06), (-0.44, 1.05), (-0.29, 1.00),
    (-0.09, 0.96), (0.00, 0.97), (0.09, 0.96), (0.29, 1.00), (0.44, 1.05), (0.28, 1.18), (0.14, 1.25), (0.00, 1.26),
    (-0.14, 1.25), (-0.28, 1.18), (-0.41, 1.05), (-0.14, 1.05), (0.00, 1.05), (0.14, 1.05), (0.41, 1.05),
    (0.13, 1.11), (0.00, 1.13), (-0.13, 1.11),
])  # fmt: skip


def placed(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Points (N, 2) after an affine (2, 3)."""
    result: np.ndarray = points @ affine[:, :2].T + affine[:, 2]
    return result


def eye_distance(points: np.ndarray) -> float:
    """px between the middles of the eyes of 68 points."""
    return float(np.hypot(*(points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0))))


def mesh_points(points: np.ndarray) -> np.ndarray:
    """The mesh (93, 2) of a face: its 68 points (68, 2), the forehead, the ring.

    Raises FacesError when the points are not finite or coincide.
    """
    points = np.asarray(points, np.float64)
    to_face = similarity(MEAN_FACE, points) if np.isfinite(points).all() else None
    if to_face is None or not eye_distance(points) > 0 or not np.hypot(*to_face[0, :2]) > 0:
        raise FacesError("A face's 68 points coincide or are not numbers, so the face cannot be warped.")
    up = points[NOSE_ROOT] - points[CHIN]
    above = np.stack([points[17], points[19], points[[21, 22]].mean(0), points[24], points[26]])
    forehead = above + np.outer(FOREHEAD_HEIGHTS, up)
    angles = np.arange(RING_POINTS) * (2 * np.pi / RING_POINTS)
    radius = RING_RADIUS * np.hypot(*(MEAN_FACE[NOSE_ROOT] - MEAN_FACE[CHIN]))
    ring = MEAN_FACE[NOSE_BRIDGE] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.concatenate([points, forehead, placed(ring, to_face)])


@lru_cache(maxsize=1)
def triangles() -> np.ndarray:
    """The mesh's triangles (T, 3) as indices: Delaunay on the mean face, those of eyes and mouth opening first.

    The same for every face, so that a sequence of frames does not flicker. The mean face opens its mouth for it, so
    that no triangle joins lip and opening.
    """
    speaking = MEAN_FACE.copy()
    speaking[LOWER_LIP, 1] += 0.2
    speaking[[60, 64], 1] += 0.1
    mean = mesh_points(speaking).astype(np.float32) * 100
    low, high = mean.min(0) - 1, mean.max(0) + 1
    plane = cv2.Subdiv2D((int(low[0]) - 1, int(low[1]) - 1, int(high[0] - low[0]) + 4, int(high[1] - low[1]) + 4))
    plane.insert([(float(x), float(y)) for x, y in mean])
    corners = np.array(plane.getTriangleList()).reshape(-1, 3, 2)
    distance = np.linalg.norm(corners[:, :, None] - mean, axis=-1)
    triangles = distance.argmin(-1)[
        (distance.min(-1) < 0.01).all(-1)
    ]  # its own outermost corners are no points of ours
    openings = [range(part.start, part.stop) for part in OPENINGS]
    is_opening = [any(set(triangle) <= set(part) for part in openings) for triangle in triangles.tolist()]
    result: np.ndarray = triangles[np.argsort(~np.array(is_opening), kind="stable")]
    return result


def warped_by_mesh(
    picture: np.ndarray, mesh: np.ndarray, target: np.ndarray, corner: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The picture with its mesh moved to the target mesh: (height, width, 3) float32 from pixel (x, y) `corner` on.

    size: (width, height).

    mesh: (93, 2) in the picture. target: (93, 2) where it should be. Where the picture must shrink by two or more, it
    is first averaged over whole pixels. Beyond the ring the picture is carried on as it lies there.
    """
    factor = max(1, int(eye_distance(mesh) / eye_distance(target)))
    low = (np.floor(mesh.min(0)).astype(int) - 2 * factor).clip(0)
    high = np.ceil(mesh.max(0)).astype(int) + 2 * factor + 1
    part = picture[low[1] : max(low[1] + 1, high[1]), low[0] : max(low[0] + 1, high[0]), :3]
    if 0 in part.shape:
        raise FacesError("A face's 68 points lie outside its picture: detect faces in this image.")
    if factor > 1:
        part = cv2.copyMakeBorder(part, 0, -len(part) % factor, 0, -part.shape[1] % factor, cv2.BORDER_REPLICATE)
        small = part.shape[1] // factor, part.shape[0] // factor
        part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    in_part = (mesh - low - (factor - 1) / 2) / factor
    return remapped(np.ascontiguousarray(part), in_part, target - corner, *size)


def remapped(
    picture: np.ndarray, mesh: np.ndarray, target: np.ndarray, width: int, height: int, border: int | None = None
) -> np.ndarray:
    """The picture with its mesh moved to the target mesh: (height, width, ...), in bands, whose maps are small.

    border: what lies beyond the picture; None carries its edge on.
    """
    result = np.empty((height, width, *picture.shape[2:]), picture.dtype)
    step = max(1, BAND_PIXELS // max(1, width))
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    for top in range(0, height, step):
        rows = min(step, height - top)
        maps = backward_maps(mesh, target - (0, top), width, rows)
        order = cv2.INTER_CUBIC if border is None else cv2.INTER_LINEAR
        result[top : top + rows] = cv2.remap(picture, *maps, order, borderMode=mode, borderValue=border or 0)
    return result


def backward_maps(mesh: np.ndarray, target: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of (height, width), where in the picture of `mesh` it comes from: x and y, float32."""
    corners = np.concatenate([target[triangles()], np.ones((len(triangles()), 3, 1))], -1)
    sides = np.linalg.norm(target[triangles()] - np.roll(target[triangles()], 1, 1), axis=-1)
    heights = np.abs(np.linalg.det(corners)) / np.maximum(sides.max(-1), 1e-6)
    solid = heights > LOWEST_TRIANGLE
    corners, order = corners[solid], triangles()[solid]
    affines = np.linalg.solve(corners, mesh[order]).astype(np.float32)  # (T, 3, 2): x, y, 1 to the picture's x, y
    # Beyond the ring: as the whole face is placed.
    whole = similarity(target, mesh).T[None].astype(np.float32)
    affines = np.concatenate([affines, whole])
    # A sliver's border pixels lie up to a pixel beside it, where its affine would take them far from its corners.
    reach, beyond = np.hypot(*whole[0, 0]), np.full((1, 2), np.inf)
    lowest = np.concatenate([mesh[order].min(1) - reach, -beyond]).astype(np.float32)
    highest = np.concatenate([mesh[order].max(1) + reach, beyond]).astype(np.float32)
    index = np.full((height, width), len(affines) - 1, np.int32)
    for number, triangle in enumerate(order):
        cv2.fillConvexPoly(index, fixed_point(target[triangle]), number, shift=FIXED_SHIFT)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across, down = (
        np.clip(
            affines[:, 0, i][index] * x + affines[:, 1, i][index] * y + affines[:, 2, i][index],
            lowest[:, i][index],
            highest[:, i][index],
        )
        for i in (0, 1)
    )
    return across, down


FIXED_SHIFT = 4
LOWEST_TRIANGLE = 0.5  # px; what is lower is covered by the borders of its neighbours


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Points as OpenCV's drawing takes them with fractions of a pixel."""
    return np.round(points * (1 << FIXED_SHIFT)).astype(np.int32)


def polygon_mask(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) uint8, 1 inside the polygon (N, 2), 0 elsewhere."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [fixed_point(points)], 1, shift=FIXED_SHIFT)
    return mask


def area(points: np.ndarray) -> float:
    """px that a polygon (N, 2) covers."""
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
