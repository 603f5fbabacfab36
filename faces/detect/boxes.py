"""Arithmetic on boxes: rows x0 y0 x1 y1 in pixel edges, so the whole frame is 0 0 W H."""

import numpy as np


def squared(boxes: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Squares with the boxes' centres and their longer sides times `scale`, at least 1 px."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.maximum(1, (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) * scale)
    return np.concatenate([centre - side / 2, centre + side / 2], 1)


def moved(boxes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Boxes with each edge moved by a fraction of the box's width or height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + moves * np.concatenate([size, size], 1)


def overlaps(box: np.ndarray, boxes: np.ndarray, of_smaller: bool) -> np.ndarray:
    """The area that `box` shares with each of `boxes`, as a part of their union or of the smaller one."""
    shared = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = shared.clip(0).prod(1)
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / np.maximum(np.minimum(area, areas) if of_smaller else area + areas - shared, 1e-9)


def kept(boxes: np.ndarray, scores: np.ndarray, limit: float, of_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes kept, best first, ties in the order given."""
    order = np.argsort(-scores, kind="stable")
    result = []
    while len(order):
        best, order = order[0], order[1:]
        result.append(best)
        order = order[overlaps(boxes[best], boxes[order], of_smaller) <= limit]
    return np.array(result, int)
