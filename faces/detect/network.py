"""A detector that is a network of its own: frames go in whole, as large tiles, and turned; faces come out.

The network itself stays outside: an `Infer` runs it inside the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...catalog.families import Family
from ...engines.session import Infer, Tensors
from ...opencv import cv2
from ..face import Face
from ..face_masks import network_input
from .boxes import kept, overlaps
from .heads import DECODERS, Candidates, joined
from .mtcnn import Check, check_frames, check_settings, nothing, rank

SIDE = 640  # of the input where the network takes any
SAME_FACE = 0.4  # boxes that overlap more are one face
FRAGMENT = 0.7  # so much of a box inside a better one: a part of that face
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
    """family: the network's, of kind detector. infer: runs it. size: height and width of its input.

    turned: look at each frame turned by 90, 180 and 270 degrees too. tiled: look at large frames in tiles too, for
    small faces.
    """

    family: Family
    infer: Infer
    size: tuple[int, int] = (SIDE, SIDE)
    turned: bool = False
    tiled: bool = True

    def detect(
        self,
        frames: torch.Tensor,
        score: float = 0.5,
        min_face: int | None = None,
        max_faces: int = 0,
        check: Check | None = None,
    ) -> list[list[Face]]:
        """The faces of each frame, best first, from left to right among equals.

        frames: (B, H, W, 3 or 4) float32 0..1 RGB on the CPU. min_face: px of the longer side of the smallest face
        kept; None keeps all. The rest is as in `Mtcnn.detect`. Raises ImageError, SettingError, ModelFileError.
        """
        check_frames(frames)
        check_settings(score, None, max_faces)
        views = self.views(*frames.shape[1:3])
        results = self.infer(self._inputs(frames, views, check or nothing))
        found = []
        for index, frame in enumerate(frames):
            parts = [self.decoded(next(results), view, frame.shape[:2], score) for view in views]
            faces = merged(joined(parts))
            longer = np.ptp(faces.boxes.reshape(-1, 2, 2), 1).max(1)
            found.append(as_faces(faces[longer >= (min_face or 0)], index, frame.shape[:2])[: max_faces or None])
        return found

    def views(self, height: int, width: int) -> list[View]:
        """All parts of a frame that are looked at; the whole and upright one first."""
        found = []
        for turns in range(4 if self.turned else 1):
            shape = (width, height) if turns % 2 else (height, width)
            found += [View(turns, *part, self._scale(part)) for part in self._parts(*shape)]
        return found

    def decoded(self, outputs: Tensors, view: View, shape: Sequence[int], score: float) -> Candidates:
        """The network's outputs for a view, as candidates in pixels of the frame (height, width)."""
        arrays = [each.numpy() for each in outputs]
        found = DECODERS[self.family.name](arrays, self.size, score)
        found = found[(np.isfinite(found.boxes).all(1) & np.isfinite(found.landmarks).all((1, 2)))]
        found = found[kept(found.boxes, found.scores, SAME_FACE)]
        shift = np.array([view.x0, view.y0], np.float32)
        placed = Candidates(
            found.boxes / view.scale + np.tile(shift, 2), found.landmarks / view.scale + shift, found.scores
        )
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
            for view in views:
                check()
                yield (network_input(prepared(frame.numpy(), view, self.size), self.family),)


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


def whole_only(found: Candidates, view: View, shape: tuple[int, int]) -> Candidates:
    """Without the faces that the view's edges cut off; edges of the frame (height, width) cut nothing off."""
    edge = 2 / view.scale
    height, width = shape
    inside = np.ones(len(found), bool)
    for column, near, limit in ((0, view.x0, 0), (1, view.y0, 0)):
        inside &= (near <= limit) | (found.boxes[:, column] >= near + edge)
    for column, near, limit in ((2, view.x1, width), (3, view.y1, height)):
        inside &= (near >= limit) | (found.boxes[:, column] <= near - edge)
    return found[inside]


def turned_shape(shape: Sequence[int], turns: int) -> tuple[int, int]:
    """Height and width of a frame (height, width) after `turns` times 90 degrees."""
    return (shape[1], shape[0]) if turns % 2 else (shape[0], shape[1])


def turned_back(found: Candidates, shape: Sequence[int], turns: int) -> Candidates:
    """Candidates in the pixels of a frame (height, width) that np.rot90 had turned `turns` times.

    The points keep their order: the left eye is the one on the left when the face is upright.
    """
    boxes, points = found.boxes.reshape(-1, 2, 2), found.landmarks
    for turn in range(turns, 0, -1):
        height, _ = turned_shape(shape, turn)  # np.rot90 puts column x at row W - 1 - x
        boxes = np.stack([height - boxes[..., 1], boxes[..., 0]], -1)
        points = np.stack([height - 1 - points[..., 1], points[..., 0]], -1)
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], 1) if len(boxes) else boxes.reshape(0, 4)
    return Candidates(boxes, points, found.scores)


def merged(found: Candidates) -> Candidates:
    """One candidate for each face: the best of those that overlap, and no part of a larger one."""
    found = found[kept(found.boxes, found.scores, SAME_FACE)]
    areas = np.ptp(found.boxes.reshape(-1, 2, 2), 1).prod(1)
    inside = np.zeros(len(found), bool)
    for index, box in enumerate(found.boxes):
        better = (areas > areas[index]) & (found.scores > found.scores[index])
        inside[index] = (better & (overlaps(box, found.boxes, of_smaller=True) > FRAGMENT)).any()
    return found[~inside]


def as_faces(found: Candidates, frame: int, shape: Sequence[int]) -> list[Face]:
    """Sorted faces with their boxes inside the frame (height, width)."""
    limits = np.array([shape[1], shape[0], shape[1], shape[0]], np.float32)
    faces = [
        Face(frame, box.clip(0, limits).astype(np.float32), points.astype(np.float32), float(min(score, 1.0)))
        for box, points, score in zip(found.boxes, found.landmarks, found.scores, strict=True)
    ]
    return sorted(faces, key=rank)
