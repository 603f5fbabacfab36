"""Between our faces and ComfyUI's BOUNDING_BOX: a list a frame of dicts with x, y, width, height in pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..engines.host import Host
from ..errors import FacesError
from .face import Face, Faces
from .restore import detector

Boxes = list[list[dict[str, Any]]]


def boxes_from_faces(faces: Faces) -> Boxes:
    """The faces' boxes as core's nodes take them."""
    return [[_as_dict(face) for face in of_frame] for of_frame in faces.frames]


def faces_from_boxes(frames: torch.Tensor, boxes: Boxes | dict[str, Any], host: Host) -> Faces:
    """Faces where somebody else has found them; only the five points are looked for.

    frames: (B, H, W, C) as `checked_frames` gives them. boxes: a list a frame; one list for all frames or one
    single box are taken too. Raises FacesError when they are neither.
    """
    per_frame = _per_frame(boxes, len(frames))
    found = []
    for index, (frame, of_frame) in enumerate(zip(frames, per_frame, strict=True)):
        host.check_interrupt()
        corners = np.array([_corners(box) for box in of_frame], np.float32).reshape(-1, 4)
        points, scores = detector().landmarks_in_boxes(frame, corners)
        found.append(
            tuple(
                Face(index, corner, point, float(score))
                for corner, point, score in zip(corners, points, scores, strict=True)
            )
        )
    return Faces(tuple(found), *frames.shape[1:3])


def _per_frame(boxes: Boxes | dict[str, Any], frames: int) -> Boxes:
    if isinstance(boxes, dict):
        boxes = [[boxes]]
    elif not boxes:
        boxes = [[]]
    elif isinstance(boxes[0], dict):
        boxes = [boxes]
    if len(boxes) == 1:
        boxes = boxes * frames
    if len(boxes) != frames:
        raise FacesError(
            f"There are boxes for {len(boxes)} frames but the image has {frames}: detect them in this image, or "
            "give one list of boxes for all frames."
        )
    return boxes


def _corners(box: dict[str, Any]) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(box[key]) for key in ("x", "y", "width", "height"))
        if not math.isfinite(x + y + width + height):
            raise ValueError("not finite")
    except (KeyError, TypeError, ValueError) as error:
        raise FacesError(f"A bounding box needs x, y, width and height as numbers, not {box!r}.") from error
    return x, y, x + width, y + height


def _as_dict(face: Face) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(value) for value in face.box)
    return {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "label": "face", "score": face.score}
