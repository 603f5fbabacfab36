"""How steady faces are, as numbers: what flickers in the result beside what flickers in the source.

Warping error (Lai et al., "Learning Blind Video Temporal Consistency", 2018) inside the faces: the frame before is
brought to the next one by the optical flow of the source, and the difference is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..opencv import cv2

SIDE = 128  # px that a face is measured at
AROUND = 1.2  # times its box


@dataclass
class Flicker:
    """Sums over faces in frames that follow each other: mean differences 0..1 of the source and the result."""

    source: float = 0.0
    result: float = 0.0
    pairs: int = 0

    @property
    def ratio(self) -> float | None:
        """The result's warping error beside the source's own; None where no face was seen twice."""
        return None if not self.pairs or self.source <= 0 else self.result / self.source


@dataclass(frozen=True, eq=False)
class _Seen:
    region: tuple[int, int, int, int]
    frame: int
    source: np.ndarray
    result: np.ndarray


class FlickerMeter:
    """Told of every face of every frame in order, within one segment."""

    def __init__(self) -> None:
        self.sums = Flicker()
        self._before: dict[int, _Seen] = {}

    def add(self, frame: int, track: int, box: np.ndarray, source: np.ndarray, result: np.ndarray) -> None:
        """frame: its index. source: (H, W, 3) uint8 or uint16. result: (H, W, 3) float32 0..1, a multiple as large."""
        before = self._before.get(track)
        if before is not None and before.frame == frame - 1:
            now = _grey(source, before.region), _grey(result, before.region, len(result) // len(source))
            flow = _flow(before.source, now[0])
            self.sums.source += _difference(before.source, now[0], flow)
            self.sums.result += _difference(before.result, now[1], flow)
            self.sums.pairs += 1
        region = _region(box, source.shape)
        scale = len(result) // len(source)
        self._before[track] = _Seen(region, frame, _grey(source, region), _grey(result, region, scale))


def _region(box: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of whole pixels inside the picture."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2 * AROUND
    low = np.clip(np.floor(centre - half), 0, [shape[1] - 1, shape[0] - 1]).astype(int)
    high = np.clip(np.ceil(centre + half), low + 1, [shape[1], shape[0]]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _grey(picture: np.ndarray, region: tuple[int, int, int, int], scale: int = 1) -> np.ndarray:
    """(SIDE, SIDE) uint8 of a region."""
    x0, y0, x1, y1 = (value * scale for value in region)
    part = np.ascontiguousarray(picture[y0:y1, x0:x1, :3])
    if part.dtype == np.uint16:
        part = (part >> 8).astype(np.uint8)
    elif part.dtype != np.uint8:
        part = np.rint(part.clip(0, 1) * 255).astype(np.uint8)
    return cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _flow(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 2): where each pixel of the one lies in the other. DIS (Kroeger et al., 2016)."""
    flow = np.zeros((*one.shape, 2), np.float32)
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(one, other, flow)


def _difference(one: np.ndarray, other: np.ndarray, flow: np.ndarray) -> float:
    """Mean absolute difference 0..1 between a picture and the next one brought back by the flow."""
    y, x = np.mgrid[: one.shape[0], : one.shape[1]].astype(np.float32)
    back = cv2.remap(other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(back.astype(np.float32) - one).mean() / 255)


def jitter(frames: np.ndarray, points: np.ndarray) -> tuple[float, int]:
    """The sum of squared second differences of a track's points (n, 5, 2) px, and of how many values."""
    follows = (np.diff(frames[:-1]) == 1) & (np.diff(frames[1:]) == 1) if len(frames) > 2 else np.zeros(0, bool)
    if not follows.any():
        return 0.0, 0
    second = (points[2:] - 2 * points[1:-1] + points[:-2])[follows]
    return float((second.astype(np.float64) ** 2).sum()), int(second.size)
