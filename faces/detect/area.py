"""Averages over rectangles of a frame, each at the cost of four look-ups, however large the rectangle is.

A frame is read once, in 8 bits, into its table of sums (Crow: "Summed-Area Tables for Texture Mapping", 1984).
Levels of a pyramid and patches at any place and size come from that table; where it would be too large, from tables of
the parts that are asked for. Windows are those of PyTorch's "area"
interpolation: output i of n covers the pixels from floor(i * length / n) up to ceil((i + 1) * length / n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...opencv import cv2

BAND_BYTES = 8 << 20
# A frame is dark when 99 of 100 pixels are below DARK in every channel; it is multiplied until that one has STRETCHED.
DARK, STRETCHED, BLACK, LARGEST_GAIN = 0.25, 0.9, 1e-3, 64.0
EXPOSURE_SAMPLES = 256  # rows and columns that are looked at
TABLE_BYTES = 32 << 20  # of a frame's table; above it only parts of the frame are read at a time
PARTS_SHRINK = 0.75  # px of the frame for each of a level's that a table of parts may average beforehand, at most
FINE_ENOUGH = 4  # table pixels for each of a patch's: fewer are read from the frame itself


@dataclass(frozen=True, eq=False)
class Sums:
    """A frame, ready to be averaged.

    frame: (H, W, 3 or 4) float32 RGB, or a turned view of one. shrink: the table's pixel stands for shrink x shrink of
    the frame's. table: (H // shrink + 1, W // shrink + 1, 3) int32, sums of 0..255 over all pixels above and to the
    left; None where it would take more than TABLE_BYTES. gain: what a frame too dark is multiplied by.
    """

    frame: np.ndarray
    shrink: int
    table: np.ndarray | None
    gain: float = 1.0

    @property
    def height(self) -> int:
        """Rows of the frame that the table covers."""
        return len(self.frame) // self.shrink * self.shrink

    @property
    def width(self) -> int:
        result: int = self.frame.shape[1] // self.shrink * self.shrink
        return result


def sums(frame: np.ndarray, shrink: int = 1, gain: float = 1.0, turns: int = 0) -> Sums:
    """The sums of a frame (H, W, 3 or 4) float32 0..1 RGB, turned so many times by 90 degrees; NaN counts as black.

    A turned frame is cut to whole pixels of the table, at its right and lower edge before it is turned.
    """
    height, width = (length // shrink for length in frame.shape[:2])
    if turns:
        frame = frame[: height * shrink, : width * shrink]
    turned = np.rot90(frame, turns)
    if (height + 1) * (width + 1) * 12 > TABLE_BYTES:
        return Sums(turned, shrink, None, gain)
    # Shrunk before it is turned, so that no large copy is made.
    small = np.ascontiguousarray(np.rot90(shrunk(frame, shrink, gain), turns))
    return Sums(turned, shrink, cv2.integral(small), gain)


def eight_bit(frame: np.ndarray, gain: float = 1.0) -> np.ndarray:
    """A part of a frame as (H, W, 3) uint8: rounded, clipped, NaN black."""
    # The quickest of OpenCV's functions that scale, round and clip in one pass.
    frame = np.ascontiguousarray(frame)
    return cv2.addWeighted(frame, 255.0 * gain, frame, 0.0, 0.0, dtype=cv2.CV_8U)[..., :3]


def shrunk(frame: np.ndarray, factor: int, gain: float = 1.0) -> np.ndarray:
    """Averages (H // factor, W // factor, 3) uint8 over factor x factor pixels of a frame (H, W, 3 or 4).

    Made band by band, so that a large frame is not copied on the way.
    """
    height, width = (length // factor for length in frame.shape[:2])
    result = np.empty((height, width, 3), np.uint8)
    band = max(1, BAND_BYTES // (frame[0].nbytes * factor))
    for top in range(0, height, band):
        rows = eight_bit(frame[top * factor : min(top + band, height) * factor, : width * factor], gain)
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
    if source.table is None:
        return _level_of_parts(source, height, width, rows)
    tops, bottoms = (edges[rows] for edges in windows(len(source.table) - 1, height))
    return _averages(source.table, tops, bottoms, width)


def _level_of_parts(source: Sums, height: int, width: int, rows: slice) -> np.ndarray:
    """The same from the rows of the frame that are needed, shrunk as far as the level allows."""
    shrink = max(source.shrink, int(PARTS_SHRINK * len(source.frame) / height))
    tops, bottoms = (edges[rows] for edges in windows(len(source.frame) // shrink, height))
    first, last = int(tops[0]), int(bottoms[-1])
    part = shrunk(source.frame[first * shrink : last * shrink], shrink, source.gain)
    return _averages(cv2.integral(part), tops - first, bottoms - first, width)


def _averages(table: np.ndarray, tops: np.ndarray, bottoms: np.ndarray, width: int) -> np.ndarray:
    lefts, rights = windows(table.shape[1] - 1, width)
    lines = table.take(bottoms, 0)
    lines -= table.take(tops, 0)
    total = lines.take(rights, 1)
    total -= lines.take(lefts, 1)
    area = np.outer(bottoms - tops, rights - lefts).astype(np.float32)
    return total.astype(np.float32) / area[..., None]


def patches(source: Sums, boxes: np.ndarray, size: int) -> np.ndarray:
    """What lies in boxes (N, 4) of whole pixels x0 y0 x1 y1, as (N, size, size, 3) float32 0..255.

    Boxes may stick out of the frame, which is black there.
    """
    result = np.empty((len(boxes), size, size, 3), np.float32)
    sides = np.ptp(boxes.reshape(-1, 2, 2), 1).max(1)
    fine = sides >= size * source.shrink * FINE_ENOUGH
    from_table = np.zeros(len(boxes), bool) if source.table is None else fine | (source.shrink == 1)
    if source.table is not None:
        result[from_table] = _means(source.table, np.floor_divide(boxes[from_table], source.shrink), size)
    for index in np.flatnonzero(~from_table):
        shrink = max(1, int(sides[index]) // (size * FINE_ENOUGH))
        result[index] = _patch(source, boxes[index], size, shrink)
    return result


def _patch(source: Sums, box: np.ndarray, size: int, shrink: int) -> np.ndarray:
    """The patch of a box (4,), from the frame itself."""
    x0, y0, x1, y1 = box.clip(0, np.array([source.width, source.height] * 2))
    if x1 - x0 < shrink or y1 - y0 < shrink:
        return np.zeros((size, size, 3), np.float32)
    table = cv2.integral(shrunk(source.frame[y0:y1, x0:x1], shrink, source.gain))
    result: np.ndarray = _means(table, np.floor_divide(box[None] - [x0, y0, x0, y0], shrink), size)[0]
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
        result: np.ndarray = flat.take(rows[:, :, None] * (width + 1) + columns[:, None, :], 0)
        return result

    total = at(bottoms, rights) - at(tops, rights) - at(bottoms, lefts) + at(tops, lefts)
    area = (heights[:, :, None] * widths[:, None, :]).astype(np.float32)
    result: np.ndarray = total.astype(np.float32) / area[..., None]
    return result


def exposure_gain(frame: np.ndarray) -> float:
    """What a frame (H, W, 3 or 4) is to be multiplied by before faces are looked for: 1.0, more where it is dark."""
    down, across = (max(1, length // EXPOSURE_SAMPLES) for length in frame.shape[:2])
    sample = np.nan_to_num(frame[::down, ::across, :3]).max(-1)
    bright = float(np.percentile(sample, 99))
    return 1.0 if bright >= DARK or bright <= BLACK else min(LARGEST_GAIN, STRETCHED / bright)
