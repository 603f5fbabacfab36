"""Averages over rectangles of a frame, each at the cost of four look-ups, however large the rectangle is.

A frame is read once, in 8 bits, into its table of sums (Crow: "Summed-Area Tables for Texture Mapping", 1984).
Levels of a pyramid and patches at any place and size come from that table. Windows are those of PyTorch's "area"
interpolation: output i of n covers the pixels from floor(i * length / n) up to ceil((i + 1) * length / n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...opencv import cv2

BAND_BYTES = 8 << 20
FINE_ENOUGH = 4  # table pixels for each of a patch's: fewer are read from the frame itself


@dataclass(frozen=True, eq=False)
class Sums:
    """A frame, ready to be averaged.

    frame: (H, W, 3 or 4) float32 RGB. shrink: the table's pixel stands for shrink x shrink of the frame's.
    table: (H // shrink + 1, W // shrink + 1, 3) int32, sums of 0..255 over all pixels above and to the left.
    """

    frame: np.ndarray
    shrink: int
    table: np.ndarray

    @property
    def height(self) -> int:
        """Rows of the frame that the table covers."""
        return (len(self.table) - 1) * self.shrink

    @property
    def width(self) -> int:
        return (self.table.shape[1] - 1) * self.shrink


def sums(frame: np.ndarray, shrink: int = 1) -> Sums:
    """The table of a frame (H, W, 3 or 4) float32 0..1 RGB; NaN counts as black."""
    return Sums(frame, shrink, cv2.integral(shrunk(frame, shrink)))


def eight_bit(frame: np.ndarray) -> np.ndarray:
    """A part of a frame as (H, W, 3) uint8: rounded, clipped, NaN black."""
    # The quickest of OpenCV's functions that scale, round and clip in one pass.
    return cv2.addWeighted(frame, 255.0, frame, 0.0, 0.0, dtype=cv2.CV_8U)[..., :3]


def shrunk(frame: np.ndarray, factor: int) -> np.ndarray:
    """Averages (H // factor, W // factor, 3) uint8 over factor x factor pixels of a frame (H, W, 3 or 4).

    Made band by band, so that a large frame is not copied on the way.
    """
    height, width = (length // factor for length in frame.shape[:2])
    result = np.empty((height, width, 3), np.uint8)
    band = max(1, BAND_BYTES // (frame[0].nbytes * factor))
    for top in range(0, height, band):
        rows = eight_bit(frame[top * factor : min(top + band, height) * factor, : width * factor])
        if factor > 1:
            rows = cv2.resize(rows, (width, len(rows) // factor), interpolation=cv2.INTER_AREA)
        result[top : top + band] = rows
    return result


def windows(length: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `count` outputs begins and ends on a side of `length` pixels."""
    steps = np.arange(count + 1) * length
    return steps[:-1] // count, -(-steps[1:] // count)


def level(source: Sums, height: int, width: int, rows: slice) -> np.ndarray:
    """Rows of the whole frame at (height, width), as (len(rows), width, 3) float32 0..255."""
    tops, bottoms = (edges[rows] for edges in windows(len(source.table) - 1, height))
    lefts, rights = windows(source.table.shape[1] - 1, width)
    lines = source.table.take(bottoms, 0)
    lines -= source.table.take(tops, 0)
    total = lines.take(rights, 1)
    total -= lines.take(lefts, 1)
    area = np.outer(bottoms - tops, rights - lefts).astype(np.float32)
    return total.astype(np.float32) / area[..., None]


def patches(source: Sums, boxes: np.ndarray, size: int) -> np.ndarray:
    """What lies in boxes (N, 4) of whole pixels x0 y0 x1 y1, as (N, size, size, 3) float32 0..255.

    Boxes may stick out of the frame, which is black there.
    """
    result = np.empty((len(boxes), size, size, 3), np.float32)
    fine = np.ptp(boxes.reshape(-1, 2, 2), 1).max(1) >= size * source.shrink * FINE_ENOUGH
    from_table = fine if source.shrink > 1 else np.ones(len(boxes), bool)
    result[from_table] = _means(source.table, np.floor_divide(boxes[from_table], source.shrink), size)
    for index in np.flatnonzero(~from_table):
        x0, y0, x1, y1 = boxes[index].clip(0, np.array([source.width, source.height] * 2))
        if x1 <= x0 or y1 <= y0:
            result[index] = 0
            continue
        table = cv2.integral(eight_bit(source.frame[y0:y1, x0:x1]))
        result[index] = _means(table, boxes[index : index + 1] - [x0, y0, x0, y0], size)[0]
    return result


def _means(table: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """The patches of boxes in the table's own pixels."""
    height, width = table.shape[0] - 1, table.shape[1] - 1
    steps = np.arange(size + 1)
    edges = []
    for first, last, limit in ((boxes[:, 1], boxes[:, 3], height), (boxes[:, 0], boxes[:, 2], width)):
        length = np.maximum(last - first, 1)[:, None]
        begin = first[:, None] + steps[:-1] * length // size
        end = first[:, None] - (-steps[1:] * length // size)
        edges.append((begin.clip(0, limit), end.clip(0, limit), end - begin))
    (tops, bottoms, heights), (lefts, rights, widths) = edges
    flat = table.reshape(-1, 3)

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return flat.take(rows[:, :, None] * (width + 1) + columns[:, None, :], 0)

    total = at(bottoms, rights) - at(tops, rights) - at(bottoms, lefts) + at(tops, lefts)
    area = (heights[:, :, None] * widths[:, None, :]).astype(np.float32)
    return total.astype(np.float32) / area[..., None]
