"""What detectors of each kind would give for heads at known places, in pixels of an input of 640 x 640."""

from __future__ import annotations

import numpy as np
from slimfusion.faces.detect.heads import STRIDES

PLACES = {stride: (640 // stride) ** 2 for stride in STRIDES}
POINTS = np.array([[0.3, 0.35], [0.7, 0.36], [0.5, 0.55], [0.35, 0.75], [0.66, 0.76]])


def a_head(x: float, y: float, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    box = np.array([x, y, x + width, y + height])
    return box, box[:2] + POINTS * [width, height]


def stride_for(box: np.ndarray) -> int:
    side = max(box[2] - box[0], box[3] - box[1])
    return 8 if side < 64 else 16 if side < 200 else 32


def planted(name: str, faces: list, scores: list[float]) -> list[np.ndarray]:
    """What a network would give for heads in its input's pixels."""
    if name == "yoloface":
        table = np.zeros((20, 8400), np.float32)
        for index, ((box, points), score) in enumerate(zip(faces, scores, strict=True)):
            centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            table[:, 40 * index + 7] = [*centre, *extent, score, *np.column_stack([points, np.ones(5)]).ravel()]
        return [table]
    anchors = 2 if name == "scrfd" else 1
    tables = {(stride, width): np.zeros((PLACES[stride] * anchors, width), np.float32)
              for stride in STRIDES for width in (1, 4, 10)}  # fmt: skip
    certain = {stride: np.zeros((PLACES[stride], 1), np.float32) for stride in STRIDES}
    for (box, points), score in zip(faces, scores, strict=True):
        stride = stride_for(box)
        column, row = ((box[:2] + box[2:]) / 2 // stride).astype(int)
        place = np.array([column, row]) * stride
        at = (row * (640 // stride) + column) * anchors + anchors - 1
        tables[stride, 10][at] = ((points - place) / stride).ravel()
        if name == "scrfd":
            tables[stride, 1][at] = score
            tables[stride, 4][at] = np.concatenate([place - box[:2], box[2:] - place]) / stride
        else:
            tables[stride, 1][at], certain[stride][at] = score / 0.95, 0.95
            extent = box[2:] - box[:2]
            tables[stride, 4][at] = [*((box[:2] + extent / 2 - place) / stride), *np.log(extent / stride)]
    return [*tables.values(), *(certain.values() if name == "yunet" else ())]
