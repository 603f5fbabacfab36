"""Detect Faces: find them once, for every node behind."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from .host import BoundingBox, ComfyHost, FaceLandmarks, FaceList, frames_in, io, schema, ui
from .networks import askable, network_inputs

DETECTORS = ["mtcnn", "scrfd", "yoloface", "yunet"]


def _size_input(name: str, tooltip: str) -> io.Input:
    return io.Int.Input(name, default=0, min=0, max=16384, optional=True, tooltip=tooltip)


class DetectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionDetectFaces",
            display_name="Detect Faces",
            category="SlimFusion",
            description="Finds faces with their five points, numbered in the preview. Detect once and feed all "
            "face nodes.",
            search_aliases=["face detection", "mtcnn", "scrfd", "retinaface", "yunet", "find faces"],
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input(
                    "detector",
                    options=DETECTORS,
                    default="mtcnn",
                    tooltip="MTCNN is always there. The others need an ONNX file, told by its content: scrfd is also "
                    "det_10g and RetinaFace 10g.",
                ),
                io.Float.Input("score", default=0.8, min=0.0, max=1.0, step=0.01, tooltip="Least certainty."),
                io.Int.Input("max_faces", default=0, min=0, max=1000, tooltip="The best so many a frame; 0: all."),
                BoundingBox.Input(
                    "bboxes", optional=True, tooltip="Boxes from another detector: only points are looked for."
                ),
                FaceLandmarks.Input(
                    "landmarks", optional=True, tooltip="From core's MediaPipe node: nothing is detected here."
                ),
                _size_input("min_face", "Smallest face in px. 0: no limit, but a 36th of the frame with MTCNN."),
                _size_input("max_face", "Largest face in px. 0: no limit."),
                io.Boolean.Input(
                    "turned", default=False, optional=True, tooltip="Look for faces that lie or are upside down too."
                ),
                io.Boolean.Input(
                    "tiled", default=True, optional=True, tooltip="Look at large frames in tiles too, for small faces."
                ),
                *network_inputs(),
            ],
            outputs=[
                FaceList.Output(display_name="faces"),
                BoundingBox.Output(display_name="bboxes"),
                io.Image.Output(display_name="preview"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        detector: str,
        score: float,
        max_faces: int,
        bboxes: list[list[dict[str, Any]]] | None = None,
        landmarks: Any = None,
        min_face: int = 0,
        max_face: int = 0,
        turned: bool = False,
        tiled: bool = True,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
    ) -> io.NodeOutput:
        from ..faces.boxes import boxes_from_faces, faces_from_boxes, faces_from_landmarks, has_boxes
        from ..faces.detectors import opened_detector
        from ..faces.draw import draw_faces
        from ..faces.frames import checked_frames
        from ..faces.restore import detect_faces

        frames, host = checked_frames(frames_in(image)), ComfyHost()
        faces: Faces
        if landmarks is not None:
            faces = faces_from_landmarks(frames, landmarks)
        elif bboxes is not None and has_boxes(bboxes):
            faces = faces_from_boxes(frames, bboxes, host)
        else:
            with opened_detector(detector, frames, askable(budget, commercial_only), turned, tiled) as finder:
                faces = detect_faces(frames, host, score, max_faces, min_face or None, max_face, finder)
        pairs = zip(frames, faces.frames, strict=True)
        preview = torch.stack([torch.from_numpy(draw_faces(frame.numpy(), found)) for frame, found in pairs])
        return io.NodeOutput(faces, boxes_from_faces(faces), preview, ui=ui.PreviewImage(preview, cls=cls))
