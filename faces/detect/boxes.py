"""Arithmetic on boxes: rows x0 y0 x1 y1 in pixel edges, so the whole frame is 0 0 W H."""

import numpy as np


def to_square(boxes: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Squares with the boxes' centres and their longer sides times `scale`, at least 1 px."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.maximum(1, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * scale)
    return np.concatenate([centre - side / 2, centre + side / 2], 1)


def apply_deltas(boxes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Boxes with each edge moved by a fraction of the box's width or height."""
    size = boxes[:, 2:] - boxes[:, :2]
    result: np.ndarray = boxes + moves * np.concatenate([size, size], 1)
    return result


def iou(box: np.ndarray, boxes: np.ndarray, of_smaller: bool) -> np.ndarray:
    """The area that `box` shares with each of `boxes`, as a part of their union or of the smaller one."""
    x0, y0, x1, y1 = boxes.T
    width = np.minimum(box[2], x1) - np.maximum(box[0], x0)
    height = np.minimum(box[3], y1) - np.maximum(box[1], y0)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area, areas = (box[2] - box[0]) * (box[3] - box[1]), (x1 - x0) * (y1 - y0)
    result: np.ndarray = shared / np.maximum(np.minimum(area, areas) if of_smaller else area + areas - shared, 1e-9)
    return result


def nms(boxes: np.ndarray, scores: np.ndarray, limit: float, of_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes kept, best first, ties in the order given."""
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    result = []
    while len(order):
        result.append(order[0])
        apart = iou(boxes[0], boxes[1:], of_smaller) <= limit
        order, boxes = order[1:][apart], boxes[1:][apart]
    return np.array(result, int)
