"""Tiled Face Restore and Tiled Image Restore."""

from __future__ import annotations

from typing import Any

import torch

from ..catalog.files import BUNDLED, offered_model
from ..engines.memory.budget import MemoryBudget
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from ..faces.identity.identity import Identity
from ..faces.identity.keeping import KeepIdentity
from .host import (
    Budget,
    ComfyHost,
    FaceList,
    IdentityType,
    Model,
    ReportType,
    frames_in,
    frames_out,
    io,
    model_folders,
    model_names,
    rare,
    said,
    schema,
)
from .load import model_from, model_stamp
from .shared.networks import detection_inputs, keep_identity_input, keeping_for
from .shared.page import compare_ui, report_ui


def model_input() -> io.Input:
    return io.MultiType.Input(
        "model",
        types=[Model, io.UpscaleModel],
        optional=True,
        tooltip="Optional, from Load Fusion Model or Load Upscale Model. If not connected, restorer is used.",
        extra_dict={"forceInput": True},
    )


def restorer_input() -> io.Input:
    """Appended last: workflows that were saved before it existed have no value for it."""
    return io.Combo.Input(
        "restorer",
        options=model_names(),
        default=BUNDLED,
        optional=True,
        tooltip="Model file to use if model is not connected. The first one comes with SlimFusion.",
    )


class UsesRestorer(io.ComfyNode):
    """What both restore nodes tell the host about the file that is chosen in them.

    Where `model` is connected, the host calls these with model=None, and the file does not matter.
    """

    @classmethod
    def validate_inputs(cls, restorer: str | None = BUNDLED, model: Any = "not connected") -> bool | str:
        if restorer is None or model is None:
            return True
        name = restorer
        return said(lambda: offered_model(name, model_folders()))

    @classmethod
    def fingerprint_inputs(cls, restorer: str | None = BUNDLED, **others: Any) -> str:
        return "connected" if restorer is None or "model" in others else model_stamp(restorer)


def tile_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "tile",
            display_name="tile (px)",
            default=0,
            min=0,
            max=4096,
            step=64,
            tooltip="Side of a tile. 0 = automatic: as large as the budget allows. Face models such as GFPGAN need no "
            "tiles.",
        ),
        io.Int.Input(
            "overlap",
            display_name="overlap (px)",
            default=32,
            min=0,
            max=512,
            step=8,
            tooltip="Width over which neighbouring tiles are blended.",
        ),
    ]


def strength_input() -> io.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="0 = original face, 1 = restored face.",
    )


def fidelity_input(optional: bool = False) -> io.Input:
    return io.Float.Input(
        "fidelity",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.01,
        optional=optional,
        tooltip="0 = sharper, 1 = closer to the input. For the bundled model and CodeFormer; others ignore it.",
    )


def face_side_input() -> io.Input:
    return io.Int.Input(
        "face_side",
        display_name="face side (px)",
        default=0,
        min=0,
        max=2048,
        step=64,
        optional=True,
        tooltip="Image models restore smaller faces enlarged to this side. 0 = automatic. Face models ignore it.",
    )


def budget_input() -> io.Input:
    return Budget.Input(
        "budget",
        optional=True,
        tooltip="Optional, from Memory Budget Guard. Used instead of the budget that the model was loaded with.",
    )


def report_output() -> io.Output:
    return ReportType.Output(display_name="report", tooltip="What the run used and did. Connect it to Memory Report.")


class RestoreFaces(UsesRestorer):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionRestoreFaces",
            display_name="Tiled Face Restore",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Restores all faces in an image or a batch of frames. Pixels outside the faces do not change. "
            "Frames without a face pass through.",
            search_aliases=[
                "face restore",
                "restore face",
                "face restoration",
                "face enhance",
                "face enhancer",
                "fix face",
                "face detailer",
                "upscale face",
                "gfpgan",
                "codeformer",
                "restoreformer",
                "gpen",
                "facerestore",
                "reactor",
                "人脸修复",
                "面部修复",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                model_input(),
                FaceList.Input(
                    "faces",
                    optional=True,
                    tooltip="Optional, from Detect Faces. If not connected, faces are detected here.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Optional. Restore only where the mask is white."),
                budget_input(),
                strength_input(),
                fidelity_input(),
                *rare(*tile_inputs()),
                *detection_inputs(),
                restorer_input(),
                *rare(face_side_input()),
                keep_identity_input(
                    "auto: takes back what leads away from who is shown. strong: stricter. off: no limit."
                ),
                IdentityType.Input(
                    "identity",
                    optional=True,
                    tooltip="Optional, from Face Identity: who is shown. If not connected, each face is compared with "
                    "the input.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The frames with restored faces."),
                io.Mask.Output(display_name="mask", tooltip="Where pixels were replaced."),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        strength: float,
        fidelity: float,
        tile: int,
        overlap: int,
        model: Any = None,
        faces: Faces | None = None,
        mask: torch.Tensor | None = None,
        budget: MemoryBudget | None = None,
        turned: Turned = "auto",
        min_face: int = 0,
        restorer: str = BUNDLED,
        face_side: int = 0,
        keep_identity: KeepIdentity = "off",
        identity: Identity | None = None,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.restore import Restoring, restore_faces

        chosen, frames = model_from(model, restorer), frames_in(image)
        restored = restore_faces(
            frames,
            chosen.model,
            budget or chosen.budget,
            ComfyHost(),
            Restoring(
                faces=faces,
                mask=mask,
                strength=strength,
                options=Options(chosen.precision, tile, overlap, fidelity),
                detection=DetectionSettings(turned=turned, min_face=min_face),
                face_side=face_side,
                keeping=keeping_for(keep_identity, identity),
            ),
        )
        shown = report_ui(restored.report) | compare_ui(frames, restored.frames)
        return io.NodeOutput(frames_out(restored.frames), frames_out(restored.mask), restored.report, ui=shown)


class RestoreImage(UsesRestorer):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionRestoreImage",
            display_name="Tiled Image Restore",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Restores or upscales whole images in tiles, without seams.",
            search_aliases=[
                "upscale",
                "upscaler",
                "tiled upscale",
                "image restore",
                "denoise",
                "deblur",
                "jpeg artifacts",
                "esrgan",
                "放大",
                "图像修复",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                model_input(),
                budget_input(),
                *rare(*tile_inputs()),
                fidelity_input(optional=True),  # appended: workflows that were saved before have no value for it
                restorer_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The restored or enlarged frames."),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        tile: int,
        overlap: int,
        model: Any = None,
        fidelity: float = 0.5,
        budget: MemoryBudget | None = None,
        restorer: str = BUNDLED,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.restore import restore_image

        chosen, frames = model_from(model, restorer), frames_in(image)
        restored, report = restore_image(
            frames,
            chosen.model,
            budget or chosen.budget,
            ComfyHost(),
            Options(chosen.precision, tile, overlap, fidelity),
        )
        return io.NodeOutput(frames_out(restored), report, ui=report_ui(report) | compare_ui(frames, restored))
