"""What detectors that come as ONNX files give, decoded: SCRFD and its kin, YOLOface, YuNet.

Outputs are told apart by their shapes, because exports of one network differ in names and order. All coordinates
are pixels of the network's input. Score, box and points are float32; points are left eye, right eye, nose, left
mouth corner, right mouth corner, as in `Face`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ModelFileError
from .views import Detections, joined

STRIDES = (8, 16, 32)
YOLO_NUMBERS = 20  # of one place: centre, size, score, five times x, y and certainty

Decode = Callable[[Sequence[np.ndarray], tuple[int, int], float], Detections]


def decode_scrfd(outputs: Sequence[np.ndarray], size: tuple[int, int], least_score: float) -> Detections:
    """SCRFD, det_10g and RetinaFace-10g: distances from a place to the box's edges, in strides.

    outputs: nine in any order, (places, 1), (places, 4) and (places, 10) for each stride. size: height and width of
    the input. Guo et al.: "Sample and Computation Redistribution for Efficient Face Detection", 2021.
    Raises ModelFileError for outputs of other shapes.
    """
    scores, distances, offsets = (_by_stride(outputs, width, 1)[0] for width in (1, 4, 10))
    per_stride = []
    for stride, score, distance, offset in zip(STRIDES, scores, distances, offsets, strict=True):
        places = _anchors(size, stride, len(score))
        sure = np.flatnonzero(score[:, 0] >= least_score)
        centre, distance = places[sure], distance[sure] * stride
        boxes = np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], 1)
        points = centre[:, None] + offset[sure].reshape(-1, 5, 2) * stride
        per_stride.append(Detections(boxes, points, score[sure, 0]))
    return joined(per_stride)


def decode_yoloface(outputs: Sequence[np.ndarray], size: tuple[int, int], least_score: float) -> Detections:
    """YOLOface 8n: (20, places) with centre, size, score and five points with their certainty, in pixels.

    Raises ModelFileError for an output of another shape.
    """
    table = np.asarray(outputs[0], np.float32)
    table = table.reshape(table.shape[-2:]) if table.ndim > 2 else table
    if table.ndim != 2 or YOLO_NUMBERS not in table.shape:
        raise ModelFileError(f"A YOLOface network outputs {YOLO_NUMBERS} numbers per anchor, this one {table.shape}.")
    rows = table.T if table.shape[0] == YOLO_NUMBERS else table
    rows = rows[rows[:, 4] >= least_score]
    centre, extent = rows[:, :2], rows[:, 2:4]
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    return Detections(boxes, rows[:, 5:].reshape(-1, 5, 3)[:, :, :2], rows[:, 4])


def decode_yunet(outputs: Sequence[np.ndarray], size: tuple[int, int], least_score: float) -> Detections:
    """YuNet: an offset and the logarithm of a size for each place, in strides; the score is a product of two.

    outputs: twelve in any order, twice (places, 1), (places, 4) and (places, 10) for each stride. The rest is as
    in `decode_scrfd`. Wu et al.: "YuNet: A Tiny Millisecond-level Face Detector", 2023.
    """
    (first, second), (shapes,), (offsets,) = (
        _by_stride(outputs, width, count) for width, count in ((1, 2), (4, 1), (10, 1))
    )
    per_stride = []
    for stride, one, other, shape, offset in zip(STRIDES, first, second, shapes, offsets, strict=True):
        score = one[:, 0] * other[:, 0]
        places = _anchors(size, stride, len(score))
        sure = np.flatnonzero(score >= least_score)
        corner = places[sure]
        centre, extent = corner + shape[sure, :2] * stride, np.exp(shape[sure, 2:]) * stride
        points = corner[:, None] + offset[sure].reshape(-1, 5, 2) * stride
        boxes = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
        per_stride.append(Detections(boxes, points, score[sure]))
    return joined(per_stride)


def _by_stride(outputs: Sequence[np.ndarray], width: int, times: int) -> list[list[np.ndarray]]:
    """The outputs (places, width), `times` for each stride, as `times` lists in the order of the strides."""
    tables = [np.asarray(table, np.float32) for table in outputs]
    # One place and one number may come as (places,), and a batch of one may still be there.
    tables = [table.reshape(-1, table.shape[-1] if table.ndim > 1 else 1) for table in tables]
    tables = sorted((table for table in tables if table.shape[1] == width), key=len, reverse=True)
    if len(tables) != times * len(STRIDES):
        shapes = ", ".join(str(np.shape(table)) for table in outputs)
        raise ModelFileError(
            f"This detector's outputs ({shapes}) are not those of its kind: {times * len(STRIDES)} of {width} numbers "
            "per anchor were expected."
        )
    return [tables[index::times] for index in range(times)]


def _anchors(size: tuple[int, int], stride: int, count: int) -> np.ndarray:
    """x y of each place (count, 2) in pixels, row by row, each as often as the network has anchors there."""
    rows, columns = (-(-length // stride) for length in size)
    if not rows * columns or count % (rows * columns):
        raise ModelFileError(
            f"A detector gives {count} places at stride {stride}, which an input of {size[1]} x {size[0]} has not."
        )
    y, x = np.mgrid[:rows, :columns]
    places = np.stack([x, y], -1).reshape(-1, 2) * np.float32(stride)
    return np.repeat(places, count // (rows * columns), 0)


# By the name of the detector's card.
DECODERS: dict[str, Decode] = {
    "scrfd": decode_scrfd,
    "yoloface": decode_yoloface,
    "yunet": decode_yunet,
}
