"""What detectors see in a frame and in the same frame turned: candidates, turned back and merged to faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..face import Face
from .boxes import iou, nms

SAME_FACE = 0.4  # boxes that overlap more are one face
# Least score of what may be a face that lies, and its least part of the largest face's side. Of 36 portraits that lay
# beside an upright one 18 of the 23 missed were found by it, of 135 upright portraits 2: each costs three looks more.
DOUBTFUL_SCORE, DOUBTFUL_SIDE = 0.2, 0.4
FRAGMENT = 0.7  # so much of a box inside a better one: a part of that face


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes (n, 4) x0 y0 x1 y1, landmarks (n, 5, 2), scores (n,)."""

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: np.ndarray) -> Detections:
        return Detections(self.boxes[chosen], self.landmarks[chosen], self.scores[chosen])


def joined(parts: Sequence[Detections]) -> Detections:
    """All of them, in order."""
    boxes, landmarks, scores = zip(*((part.boxes, part.landmarks, part.scores) for part in parts), strict=True)
    return Detections(np.concatenate(boxes), np.concatenate(landmarks), np.concatenate(scores))


@dataclass(frozen=True, eq=False)
class Look:
    """What a detector has seen in one frame: faces whose points are right, and how many it dropped for theirs.

    doubtful: beside the faces, so many places of their size that look a little like one: a face that lies may be there.
    """

    detections: Detections
    dropped: int = 0
    doubtful: int = 0


def as_candidates(faces: Iterable[Face]) -> Detections:
    """Faces as arrays."""
    faces = list(faces)
    boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
    points = np.array([face.landmarks for face in faces], np.float64).reshape(-1, 5, 2)
    return Detections(boxes, points, np.array([face.score for face in faces]))


def turned_shape(shape: Sequence[int], turns: int) -> tuple[int, int]:
    """Height and width of a frame (height, width) after `turns` times 90 degrees."""
    return (shape[1], shape[0]) if turns % 2 else (shape[0], shape[1])


def turned_back(detections: Detections, shape: Sequence[int], turns: int) -> Detections:
    """Detections in the pixels of a frame (height, width) that np.rot90 had turned `turns` times.

    The points keep their order: the left eye is the one on the left when the face is upright.
    """
    boxes, points = detections.boxes.reshape(-1, 2, 2), detections.landmarks
    for turn in range(turns, 0, -1):
        height, _ = turned_shape(shape, turn)  # np.rot90 puts column x at row W - 1 - x
        boxes = np.stack([height - boxes[..., 1], boxes[..., 0]], -1)
        points = np.stack([height - 1 - points[..., 1], points[..., 0]], -1)
    boxes = np.concatenate([boxes.min(1), boxes.max(1)], 1) if len(boxes) else boxes.reshape(0, 4)
    return Detections(boxes, points, detections.scores)


def merged(detections: Detections) -> Detections:
    """One candidate for each face: the best of those that overlap, and no part of a larger one."""
    detections = detections[nms(detections.boxes, detections.scores, SAME_FACE)]
    areas = np.ptp(detections.boxes.reshape(-1, 2, 2), 1).prod(1)
    inside = np.zeros(len(detections), bool)
    for index, box in enumerate(detections.boxes):
        better = (areas > areas[index]) & (detections.scores > detections.scores[index])
        inside[index] = (better & (iou(box, detections.boxes, of_smaller=True) > FRAGMENT)).any()
    return detections[~inside]


def count_doubtful(weak: Detections, detections: Detections) -> int:
    """How many of the weak candidates have about the size of the faces found, and lie beside them."""
    if not len(detections):
        return 0
    sides, largest = (np.ptp(boxed.boxes.reshape(-1, 2, 2), 1).max(1) for boxed in (weak, detections))
    large = np.flatnonzero(sides >= DOUBTFUL_SIDE * largest.max())
    return sum(float(iou(weak.boxes[index], detections.boxes, of_smaller=True).max()) < SAME_FACE for index in large)


def as_faces(detections: Detections, frame: int, shape: Sequence[int]) -> list[Face]:
    """Sorted faces with their boxes inside the frame (height, width)."""
    limits = np.array([shape[1], shape[0], shape[1], shape[0]], np.float32)
    faces = [
        Face(frame, box.clip(0, limits).astype(np.float32), points.astype(np.float32), float(min(score, 1.0)))
        for box, points, score in zip(detections.boxes, detections.landmarks, detections.scores, strict=True)
    ]
    return sorted(faces, key=rank)


def rank(face: Face) -> tuple[float, float]:
    """Sorts by score, then left to right. Most scores are within rounding of 1, hence the two decimals."""
    return -round(face.score, 2), float(face.box[0])
