"""Detect Faces: find them once, for every node behind."""

from __future__ import annotations

from typing import Any

import torch

from ..faces.face import Faces
from .host import BoundingBox, ComfyHost, FaceList, frames_in, io, schema, ui


class DetectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionDetectFaces",
            display_name="Detect Faces",
            category="SlimFusion",
            description="Finds faces with their five points, numbered in the preview. Detect once and feed all "
            "face nodes.",
            search_aliases=["face detection", "mtcnn", "find faces"],
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input("detector", options=["mtcnn"], default="mtcnn", tooltip="MTCNN is always there."),
                io.Float.Input("score", default=0.8, min=0.0, max=1.0, step=0.01, tooltip="Least certainty."),
                io.Int.Input("max_faces", default=0, min=0, max=1000, tooltip="The best so many a frame; 0: all."),
                BoundingBox.Input(
                    "bboxes", optional=True, tooltip="Boxes from another detector: only points are looked for."
                ),
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
    ) -> io.NodeOutput:
        from ..faces.boxes import boxes_from_faces, faces_from_boxes
        from ..faces.draw import draw_faces
        from ..faces.frames import checked_frames
        from ..faces.restore import detect_faces

        frames, host = checked_frames(frames_in(image)), ComfyHost()
        faces: Faces
        if bboxes is None:
            faces = detect_faces(frames, host, score, max_faces)
        else:
            faces = faces_from_boxes(frames, bboxes, host)
        pairs = zip(frames, faces.frames, strict=True)
        preview = torch.stack([torch.from_numpy(draw_faces(frame.numpy(), found)) for frame, found in pairs])
        return io.NodeOutput(faces, boxes_from_faces(faces), preview, ui=ui.PreviewImage(preview, cls=cls))
