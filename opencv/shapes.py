"""Polygons: hulls, filled pixels, triangles over points, as OpenCV makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import spatial


def convex_hull(points: np.ndarray) -> np.ndarray:
    """The corners (N, 1, 2) of the hull of points (M, 2), of their type. Andrew's monotone chain, 1979."""
    ordered = np.unique(np.asarray(points).reshape(-1, 2), axis=0)
    if len(ordered) < 3:
        return ordered[:, None]

    def chain(rows: np.ndarray) -> list[np.ndarray]:
        corners: list[np.ndarray] = []
        for row in rows:
            while len(corners) > 1 and _turn(corners[-2], corners[-1], row) <= 0:
                corners.pop()
            corners.append(row)
        return corners[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))[:, None]


def _turn(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> float:
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point) for point in (first, second, third))
    return (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)


def fill_polygon(picture: np.ndarray, points: np.ndarray, value: float, shift: int = 0) -> np.ndarray:
    """Sets the pixels of (H, W) inside a polygon (N, 2) or on its edge; points are whole numbers of 2^-shift px."""
    corners = np.asarray(points, np.float64).reshape(-1, 2) / (1 << shift)
    height, width = picture.shape[:2]
    low = np.floor(corners.min(0)).astype(int).clip(0, [width, height])
    high = (np.ceil(corners.max(0)).astype(int) + 1).clip(0, [width, height])
    columns, rows = high - low
    if columns <= 0 or rows <= 0:
        return picture
    inside = _inside(corners - low, int(columns), int(rows)) | _outline(corners - low, int(columns), int(rows))
    picture[low[1] : high[1], low[0] : high[0]][inside] = value
    return picture


def _inside(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) bool: pixels to whose left the polygon's edges are an odd number."""
    x0, y0 = corners.T
    x1, y1 = np.roll(corners, -1, 0).T
    row = np.arange(height)[:, None]
    crosses = (y0 <= row) != (y1 <= row)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x0 + (row - y0) * ((x1 - x0) / (y1 - y0))
    rows, edges = np.nonzero(crosses)
    counts = np.zeros((height, width + 1), np.int32)
    np.add.at(counts, (rows, np.ceil(at[rows, edges]).clip(0, width).astype(int)), 1)
    return np.asarray(counts.cumsum(1)[:, :width] & 1, bool)


def _outline(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) bool: pixels that the edges run through."""
    ends = np.roll(corners, -1, 0)
    steps = np.ceil(np.abs(ends - corners).max(1)).astype(int) + 1
    edges = np.repeat(np.arange(len(corners)), steps)
    part = (np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)) / np.maximum(steps[edges] - 1, 1)
    x, y = np.rint(corners[edges] + (ends - corners)[edges] * part[:, None]).astype(int).T
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    result = np.zeros((height, width), bool)
    result[y[seen], x[seen]] = True
    return result


def fill_polygons(picture: np.ndarray, polygons: Sequence[np.ndarray], value: float, shift: int = 0) -> np.ndarray:
    for points in polygons:
        fill_polygon(picture, points, value, shift)
    return picture


class Subdivision:
    """OpenCV's Subdiv2D, as far as it is used: points in, Delaunay's triangles out."""

    def __init__(self, rect: tuple[int, int, int, int]) -> None:
        self._points: list[tuple[float, float]] = []

    def insert(self, points: Sequence[tuple[float, float]]) -> None:
        self._points.extend(points)

    def getTriangleList(self) -> np.ndarray:
        """(T, 6): the corners of each triangle."""
        points = np.array(self._points)
        return np.asarray(points[spatial.Delaunay(points).simplices].reshape(-1, 6), np.float32)
