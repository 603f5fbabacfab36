"""Detect Faces: find them once, for every node behind."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from .host import BoundingBox, ComfyHost, FaceLandmarks, FaceList, frames_in, frames_out, io, schema, ui
from .networks import library, network_inputs
from .page import line_ui

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
            description="Finds faces with their five points, numbered from left to right. Detect once and feed all "
            "face nodes.",
            search_aliases=["face detection", "mtcnn", "scrfd", "retinaface", "yunet", "find faces"],
            # The host shows the preview again when the node was cached.
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input(
                    "detector",
                    options=DETECTORS,
                    default="mtcnn",
                    tooltip="MTCNN is always there. The others need an ONNX file, told by its content: scrfd is also "
                    "det_10g and RetinaFace 10g.",
                ),
                io.Float.Input("score", default=0.8, min=0.0, max=1.0, step=0.01, tooltip="Minimum confidence."),
                io.Int.Input(
                    "max_faces",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Maximum faces per frame, best first. 0: all.",
                ),
                BoundingBox.Input(
                    "bboxes", optional=True, tooltip="Boxes from another detector: only points are looked for."
                ),
                FaceLandmarks.Input(
                    "landmarks", optional=True, tooltip="From core's MediaPipe node: nothing is detected here."
                ),
                _size_input("min_face", "Smallest face in px. 0: no limit, but a 36th of the frame with MTCNN."),
                _size_input("max_face", "Largest face in px. 0: no limit."),
                io.Boolean.Input(
                    "turned",
                    default=False,
                    optional=True,
                    tooltip="Look at each frame turned by 90, 180 and 270 degrees too. Off: only where "
                    "no face is found upright.",
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
        from ..faces.detect.detection import detect_faces
        from ..faces.detect.settings import DetectionSettings
        from ..faces.draw import Shown, draw_faces
        from ..faces.frames import checked_frames

        frames, host = checked_frames(frames_in(image)), ComfyHost()
        faces: Faces
        if landmarks is not None:
            faces = faces_from_landmarks(frames, landmarks)
        elif bboxes is not None and has_boxes(bboxes):
            faces = faces_from_boxes(frames, bboxes, host)
        else:
            files = library(budget, commercial_only)
            settings = DetectionSettings(
                detector, score, max_faces, min_face, max_face, "always" if turned else "auto", tiled, files.detector
            )
            faces = detect_faces(frames, host, settings, budget)
        preview = frames.clone()
        for frame, found in zip(preview, faces.frames, strict=True):
            draw_faces(frame.numpy(), found)
        shown = ui.PreviewImage(Shown(preview), cls=cls).as_dict()
        shown |= line_ui("detected", "ok" if faces.count else "warn", faces=faces.count, frames=len(faces.frames))
        return io.NodeOutput(faces, boxes_from_faces(faces), frames_out(preview), ui=shown)
