"""A detector that is a network of its own: frames go in whole, as large tiles, and turned; faces come out.

The network itself stays outside: an `Infer` runs it inside the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...engines.network import Infer, Tensors
from ...opencv import cv2
from ..masks.face_masks import network_input
from .area import exposure_gain
from .boxes import nms
from .heads import DECODERS
from .mtcnn import Check, check_frames, check_settings, nothing
from .views import SAME_FACE, Detections, Look, joined, merged, turned_back, turned_shape

SIDE = 640  # of the input where the network takes any
# Of a face's size: the least distance from eyes to mouth, how far the nose may lie beyond them, and how far the points
# of one side may lie on the other.
LEAST_AXIS, NOSE_BEYOND, CROSSED = 0.3, 0.2, 0.1
TILE = 2  # a tile has so many times the input's side
TILED_FROM = 3  # frames whose longer side has so many times the input's are looked at in tiles too


@dataclass(frozen=True)
class View:
    """A part of a frame as the network sees it: turned `turns` times by 90 degrees, then cut, then shrunk.

    x0, y0, x1, y1: the part of the turned frame. scale: input pixels for one of the frame's.
    """

    turns: int
    x0: int
    y0: int
    x1: int
    y1: int
    scale: float


@dataclass(frozen=True, eq=False)
class NetworkDetector:
    """card: the network's, of kind detector. infer: runs it. size: height and width of its input.

    tiled: look at large frames in tiles too, for small faces.
    """

    card: ModelCard
    infer: Infer
    size: tuple[int, int] = (SIDE, SIDE)
    tiled: bool = True

    def look(
        self,
        frames: torch.Tensor,
        turns: Sequence[int] = (0,),
        score: float = 0.5,
        min_face: int | None = None,
        check: Check | None = None,
    ) -> list[Look]:
        """What is seen in each frame turned so many times by 90 degrees.

        frames: (B, H, W, 3 or 4) float32 0..1 RGB on the CPU. min_face: px of the longer side of the smallest face
        kept; None keeps all. The rest is as in `Mtcnn.look`. Raises ImageError, SettingError, ModelFileError.
        """
        check_frames(frames)
        check_settings(score, None, 0)
        height, width = frames.shape[1:3]
        views = self.views(height, width, turns)
        results = self.infer(self._inputs(frames, views, check or nothing))
        looks = []
        for frame in frames:
            detections = merged(joined([self.decoded(next(results), view, frame.shape[:2], score) for view in views]))
            longer = np.ptp(detections.boxes.reshape(-1, 2, 2), 1).max(1)
            detections = detections[longer >= (min_face or 0)]
            right = np.array([plausible(points) for points in detections.landmarks], bool)
            looks.append(Look(detections[right], int((~right).sum())))
        return looks

    def views(self, height: int, width: int, turns: Sequence[int] = (0,)) -> list[View]:
        """All parts of a frame that are looked at; the whole one first."""
        views = []
        for turn in turns:
            shape = (width, height) if turn % 2 else (height, width)
            views += [View(turn, *part, self._scale(part)) for part in self._parts(*shape)]
        return views

    def decoded(self, outputs: Tensors, view: View, shape: Sequence[int], score: float) -> Detections:
        """The network's outputs for a view, as candidates in pixels of the frame (height, width)."""
        arrays = [output.numpy() for output in outputs]
        detections = DECODERS[self.card.name](arrays, self.size, score)
        detections = detections[(np.isfinite(detections.boxes).all(1) & np.isfinite(detections.landmarks).all((1, 2)))]
        detections = detections[nms(detections.boxes, detections.scores, SAME_FACE)]
        shift = np.array([view.x0, view.y0], np.float32)
        boxes, points = detections.boxes / view.scale, detections.landmarks / view.scale
        placed = Detections(boxes + np.tile(shift, 2), points + shift, detections.scores)
        return turned_back(whole_only(placed, view, turned_shape(shape, view.turns)), shape, view.turns)

    def _parts(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        whole = (0, 0, width, height)
        side = TILE * min(self.size)
        if not self.tiled or max(height, width) <= TILED_FROM * max(self.size):
            return [whole]
        return [
            whole,
            *(
                (x, y, x + min(side, width), y + min(side, height))
                for y in starts(height, side)
                for x in starts(width, side)
            ),
        ]

    def _scale(self, part: tuple[int, int, int, int]) -> float:
        """A part is shrunk to fit, and never enlarged."""
        x0, y0, x1, y1 = part
        return min(1.0, self.size[1] / (x1 - x0), self.size[0] / (y1 - y0))

    def _inputs(self, frames: torch.Tensor, views: list[View], check: Check) -> Iterator[Tensors]:
        for frame in frames:
            gain = exposure_gain(frame.numpy())
            for view in views:
                check()
                picture = prepared(frame.numpy(), view, self.size)
                if gain > 1:
                    picture = np.nan_to_num(picture * np.float32(gain)).clip(0, 1)
                yield (network_input(picture, self.card),)


def prepared(frame: np.ndarray, view: View, size: tuple[int, int]) -> np.ndarray:
    """What a view shows of a frame (H, W, 3 or 4): (height, width, 3) float32 0..1, black to the right and below."""
    part = np.rot90(frame, view.turns)[view.y0 : view.y1, view.x0 : view.x1]
    upright = np.rot90(part, -view.turns)  # shrunk before it is turned, so that no large copy is made
    height, width = (max(1, round(length * view.scale)) for length in upright.shape[:2])
    if upright.shape[:2] != (height, width):
        upright = cv2.resize(upright, (width, height), interpolation=cv2.INTER_AREA)
    small = np.rot90(upright[..., :3], view.turns)
    result = np.zeros((*size, 3), np.float32)
    result[: len(small), : small.shape[1]] = small
    return result


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin that cover a length, equally far apart, and overlap by a quarter of a tile or more."""
    count = max(1, -(-(length - tile // 4) // (tile - tile // 4)))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)] if count > 1 else [0]


def whole_only(detections: Detections, view: View, shape: tuple[int, int]) -> Detections:
    """Without the faces that the view's edges cut off; edges of the frame (height, width) cut nothing off."""
    edge = 2 / view.scale
    height, width = shape
    inside = np.ones(len(detections), bool)
    for column, near, limit in ((0, view.x0, 0), (1, view.y0, 0)):
        inside &= (near <= limit) | (detections.boxes[:, column] >= near + edge)
    for column, near, limit in ((2, view.x1, width), (3, view.y1, height)):
        inside &= (near >= limit) | (detections.boxes[:, column] <= near - edge)
    return detections[inside]


def plausible(points: np.ndarray) -> bool:
    """Whether five points (5, 2) have the order of a face's along its own axis, from the eyes down to the mouth.

    The eyes and the corners of the mouth lie left and right as seen upright, the nose between eyes and mouth; profiles
    whose eyes fall together, and heads that look up or down, still have that order.
    """
    left, right, nose, mouth_left, mouth_right = np.asarray(points, np.float64)
    middle, eyes, mouth = (left + right) / 2, right - left, mouth_right - mouth_left
    axis = (mouth_left + mouth_right) / 2 - middle
    length = float(np.linalg.norm(axis))
    size = max(float(np.linalg.norm(eyes)), length)
    if not np.isfinite(size) or size == 0 or length < LEAST_AXIS * size:
        return False
    down = axis / length
    across = np.array([down[1], -down[0]])
    lies_between = -NOSE_BEYOND <= float((nose - middle) @ down) / length <= 1 + NOSE_BEYOND
    return lies_between and min(float(eyes @ across), float(mouth @ across)) >= -CROSSED * size
