"""Between our faces and ComfyUI's own types.

BOUNDING_BOX: a list a frame of dicts with x, y, width, height in pixels. FACE_LANDMARKS: a dict whose "frames" hold a
list a frame of dicts with `bbox_xyxy`, `landmarks_xy` and `score`, the points those of MediaPipe's face mesh.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch

from ..engines.host import Host
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..errors import FacesError
from .align import can_align
from .detect.detection import detection_bytes
from .detect.detectors import open_mtcnn
from .detect.settings import DEFAULT_DETECTION
from .face import Face, Faces

Boxes = list[list[dict[str, Any]]]

# MediaPipe's face mesh: the corners and lids of the eyes, the tip of the nose, the corners of the mouth. Its own
# "right" is the picture's left.
MESH_POINTS = 468  # more follow where the irises are looked for too
MESH_EYES = ([33, 133, 159, 145], [362, 263, 386, 374])
MESH_REST = [4, 61, 291]

# What frontends since 0.15 sent from their box widget where nothing was connected. Saved prompts still hold it.
WIDGET_BOX = {"x": 0, "y": 0, "width": 512, "height": 512}


def has_boxes(boxes: Any) -> bool:
    """Whether boxes were given: not for None, nor for what a frontend's own widget sends by itself."""
    return boxes is not None and boxes != WIDGET_BOX


def boxes_from_faces(faces: Faces) -> Boxes:
    """The faces' boxes as core's nodes take them."""
    return [[_as_dict(face) for face in of_frame] for of_frame in faces.frames]


def faces_from_boxes(
    frames: torch.Tensor, boxes: Any, host: Host, budget: MemoryBudget | None = None, report: Report | None = None
) -> Faces:
    """Faces where somebody else has found them; only the five points are looked for.

    frames: (B, H, W, C) as `checked_frames` gives them. boxes: a list a frame; one list for all frames or one
    single box are taken too. Raises FacesError when they are neither.
    """
    per_frame = _per_frame(boxes, len(frames))
    height, width = int(frames.shape[1]), int(frames.shape[2])
    nbytes = detection_bytes(height, width, DEFAULT_DETECTION)
    per_frame_faces = []
    with open_mtcnn(len(frames), nbytes, budget or MemoryBudget(), host, report or Report()) as mtcnn:
        for index, (frame, of_frame) in enumerate(zip(frames, per_frame, strict=True)):
            host.check_interrupt()
            corners = np.array([_corners(box) for box in of_frame], np.float32).reshape(-1, 4)
            points, scores = mtcnn.landmarks_in_boxes(frame, corners)
            per_frame_faces.append(
                tuple(
                    Face(index, corner, point, float(score))
                    for corner, point, score in zip(corners, points, scores, strict=True)
                )
            )
    return Faces(tuple(per_frame_faces), height, width)


def faces_from_landmarks(frames: torch.Tensor, landmarks: Any) -> Faces:
    """Faces whose points core's MediaPipe node has found; nothing is detected.

    frames: (B, H, W, C). landmarks: FACE_LANDMARKS of the same frames. Points may lie outside the frame. Raises
    FacesError when it is none, or of other frames.
    """
    try:
        per_frame, size = landmarks["frames"], tuple(int(length) for length in landmarks["image_size"])
        by_frame = tuple(
            tuple(_face_from_mesh(index, face) for face in of_frame) for index, of_frame in enumerate(per_frame)
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FacesError(f"These are not landmarks of ComfyUI's MediaPipe Face Landmarker ({error!r}).") from error
    faces = Faces(tuple(tuple(f for f in of_frame if can_align(f.landmarks)) for of_frame in by_frame), *size[:2])
    faces.check_size(frames)
    return faces


def _face_from_mesh(frame: int, face: dict[str, Any]) -> Face:
    mesh = np.asarray(face["landmarks_xy"], np.float32)
    if mesh.ndim != 2 or mesh.shape[0] < MESH_POINTS or mesh.shape[1] < 2:
        raise ValueError(f"{mesh.shape} points are no face mesh")
    eyes = [mesh[eye, :2].mean(0) for eye in MESH_EYES]
    box = np.asarray(face["bbox_xyxy"], np.float32).reshape(4)
    score = float(np.clip(face.get("score", 1.0), 0.0, 1.0))
    return Face(frame, box, np.stack([*eyes, *mesh[MESH_REST, :2]]), score)


def _per_frame(boxes: Any, frames: int) -> Boxes:
    if isinstance(boxes, dict):
        boxes = [[boxes]]
    elif boxes == []:
        boxes = [[]]
    elif isinstance(boxes, (list, tuple)) and all(isinstance(box, dict) for box in boxes):
        boxes = [list(cast(Iterable[dict[str, Any]], boxes))]
    if not isinstance(boxes, (list, tuple)) or not all(isinstance(of_frame, (list, tuple)) for of_frame in boxes):
        raise FacesError(
            f"bboxes is {boxes!r}, but a list of boxes for each frame is needed: connect it to a node that finds "
            "boxes, or leave it unconnected to have faces detected here."
        )
    boxes = [list(of_frame) for of_frame in boxes]
    if len(boxes) == 1:
        boxes = boxes * frames
    if len(boxes) != frames:
        raise FacesError(
            f"There are boxes for {len(boxes)} frames but the image has {frames}: detect them in this image, or "
            "give one list of boxes for all frames."
        )
    result: Boxes = boxes
    return result


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
