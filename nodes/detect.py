"""Detect Faces: finds faces once, for all later nodes."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from .host import BoundingBox, ComfyHost, FaceLandmarks, FaceList, frames_in, frames_out, io, rare, schema, ui
from .shared.networks import library, network_inputs
from .shared.page import line_ui

DETECTORS = ["mtcnn", "scrfd", "yoloface", "yunet"]


def _size_input(name: str, label: str, tooltip: str) -> io.Input:
    return io.Int.Input(name, label, default=0, min=0, max=16384, optional=True, tooltip=tooltip)


def _rare_inputs() -> list[io.Input]:
    """What other detectors found, and what few people change."""
    return rare(
        BoundingBox.Input(
            "bboxes",
            optional=True,
            tooltip="Optional, from another detector. Then only the landmarks are searched, inside the boxes.",
        ),
        FaceLandmarks.Input(
            "landmarks",
            optional=True,
            tooltip="Optional, from MediaPipe Face Landmarker. Then no detection runs here.",
        ),
        _size_input(
            "min_face",
            "min face (px)",
            "Ignore smaller faces. 0 = no limit, but mtcnn finds none below 1/36 of the short side.",
        ),
        _size_input("max_face", "max face (px)", "Ignore larger faces. 0 = no limit."),
        io.Boolean.Input(
            "turned",
            display_name="rotated faces",
            default=False,
            optional=True,
            tooltip="Also search every frame rotated by 90, 180 and 270 degrees. If off, only frames "
            "without an upright face are rotated.",
        ),
        io.Boolean.Input(
            "tiled",
            display_name="tiled search",
            default=True,
            optional=True,
            tooltip="Also search large frames in tiles, to find small faces. Not used by mtcnn.",
        ),
    )


class DetectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionDetectFaces",
            display_name="Detect Faces",
            category="SlimFusion",
            description="Finds faces and numbers them from left to right. Detect once, and connect the result to all "
            "face nodes.",
            search_aliases=[
                "face detection",
                "face detector",
                "find faces",
                "face bbox",
                "mtcnn",
                "scrfd",
                "retinaface",
                "yunet",
                "yoloface",
                "insightface",
                "人脸检测",
                "人脸识别",
            ],
            # The host shows the preview again when the node was cached.
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                io.Combo.Input(
                    "detector",
                    options=DETECTORS,
                    default="mtcnn",
                    tooltip="mtcnn comes with SlimFusion. The others need an ONNX file in a model folder. scrfd also "
                    "stands for det_10g and RetinaFace 10g.",
                ),
                io.Float.Input(
                    "score",
                    display_name="min confidence",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Lower it if faces are missed. Raise it if something else is taken for a face.",
                ),
                io.Int.Input(
                    "max_faces",
                    display_name="max faces",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Maximum faces per frame, best first. 0 = no limit.",
                ),
                *_rare_inputs(),
                *network_inputs(),
            ],
            outputs=[
                FaceList.Output(display_name="faces", tooltip="Connect it to all face nodes."),
                BoundingBox.Output(display_name="bboxes", tooltip="The boxes of the faces, for nodes of other packs."),
                io.Image.Output(display_name="preview", tooltip="The frames with boxes, landmarks and face numbers."),
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
        for frame, faces_of_frame in zip(preview, faces.frames, strict=True):
            draw_faces(frame.numpy(), faces_of_frame)
        shown = ui.PreviewImage(Shown(preview), cls=cls).as_dict()
        shown |= line_ui("detected", "ok" if faces.count else "warn", faces=faces.count, frames=len(faces.frames))
        return io.NodeOutput(faces, boxes_from_faces(faces), frames_out(preview), ui=shown)
