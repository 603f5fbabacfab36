"""Numbered boxes and five points on a picture, for the preview."""

from collections.abc import Sequence

import numpy as np

from ..opencv import cv2
from .face import Face

BOX_COLOUR, POINT_COLOUR, TEXT_COLOUR = (80, 220, 120), (255, 190, 60), (10, 30, 15)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(frame: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A copy of the frame (H, W, 3 or 4) float32 0..1 RGB with each face's box, points and index from 0.

    Line width and text grow with the frame's short edge. Alpha is kept.
    """
    result = frame.copy()
    width = max(1, round(min(frame.shape[:2]) / 360))
    for index, face in enumerate(faces):
        draw_face(result, face, str(index), width)
    return result


def draw_face(frame: np.ndarray, face: Face, label: str, width: int) -> None:
    """Draws one face into the frame; width is the line's in pixels.

    Works on an 8-bit copy of the face's surroundings, because OpenCV writes text and smooth lines on nothing
    else.
    """
    scale = 0.25 * width + 0.25
    (text_width, text_height), _ = cv2.getTextSize(label, FONT, scale, width)
    label_size = np.array([text_width + 6 * width, text_height + 6 * width])
    box = np.round(face.box).astype(int)
    extent = np.array([frame.shape[1], frame.shape[0]])
    marks = np.concatenate([box.reshape(2, 2), np.round(face.landmarks).astype(int)])
    start = (marks.min(0) - [0, label_size[1]] - 4 * width).clip(0, extent - 1)
    stop = (np.maximum(marks.max(0), box[:2] + label_size) + 4 * width).clip(start + 1, extent)
    patch = frame[start[1] : stop[1], start[0] : stop[0], :3]
    drawing = (np.nan_to_num(patch).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    x0, y0 = (box[:2] - start).tolist()
    x1, y1 = (box[2:] - start).tolist()
    cv2.rectangle(drawing, (x0, y0), (x1, y1), BOX_COLOUR, width, cv2.LINE_AA)
    for x, y in (marks[2:] - start).tolist():
        cv2.circle(drawing, (x, y), 2 * width, POINT_COLOUR, -1, cv2.LINE_AA)
    top = max(0, y0 - int(label_size[1]))
    cv2.rectangle(drawing, (x0, top), (x0 + int(label_size[0]), top + int(label_size[1])), BOX_COLOUR, -1)
    place = x0 + 3 * width, top + text_height + 3 * width
    cv2.putText(drawing, label, place, FONT, scale, TEXT_COLOUR, width, cv2.LINE_AA)
    patch[...] = drawing.astype(np.float32) / 255
