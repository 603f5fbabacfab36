"""Tiled Face Restore and Tiled Image Restore."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from .host import Budget, ComfyHost, FaceList, Model, ReportType, frames_in, frames_out, io, schema
from .load import model_from
from .networks import detection_inputs


def model_input() -> io.Input:
    return io.MultiType.Input(
        "model",
        types=[Model, io.UpscaleModel],
        tooltip="From Load Fusion Model, or core's Load Upscale Model.",
        extra_dict={"forceInput": True},
    )


def tile_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "tile", default=0, min=0, max=4096, step=64, tooltip="Side of a tile in px. 0: as the budget allows."
        ),
        io.Int.Input(
            "overlap", default=32, min=0, max=512, step=8, tooltip="px over which neighbouring tiles crossfade."
        ),
    ]


def fidelity_input(optional: bool = False) -> io.Input:
    return io.Float.Input(
        "fidelity",
        default=0.5,
        min=0.0,
        max=1.0,
        step=0.01,
        optional=optional,
        tooltip="0 sharp, 1 faithful: bundled network, CodeFormer. Others ignore it.",
    )


def budget_input() -> io.Input:
    return Budget.Input("budget", optional=True, tooltip="Instead of the one that the model was loaded with.")


def report_ui(report: Report) -> dict[str, list[str]]:
    """What the node sends to whoever queued it: the figures for programs, the same as text for people."""
    return {"slimfusion_report": [report.as_json()], "text": [report.as_text()]}


class RestoreFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionRestoreFaces",
            display_name="Tiled Face Restore",
            category="SlimFusion",
            description="Restores every face in a batch of frames and blends it back. Pixels outside the faces "
            "stay exactly as they were; frames without a face pass through.",
            search_aliases=["gfpgan", "codeformer", "face restoration", "face enhance"],
            inputs=[
                io.Image.Input("image"),
                model_input(),
                FaceList.Input("faces", optional=True, tooltip="From Detect Faces; detected here without."),
                io.Mask.Input("mask", optional=True, tooltip="Restore only where it is white."),
                budget_input(),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="How much of the restored face."
                ),
                fidelity_input(),
                *tile_inputs(),
                *detection_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="mask"),
                ReportType.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        model: Any,
        strength: float,
        fidelity: float,
        tile: int,
        overlap: int,
        faces: Faces | None = None,
        mask: torch.Tensor | None = None,
        budget: MemoryBudget | None = None,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.restore import Restoring, restore_faces

        chosen = model_from(model)
        restored = restore_faces(
            frames_in(image),
            chosen.model,
            budget or chosen.budget,
            ComfyHost(),
            Restoring(
                faces=faces,
                mask=mask,
                strength=strength,
                options=Options(chosen.precision, tile, overlap, fidelity),
                detection=DetectionSettings(turned=turned, min_face=min_face),
            ),
        )
        return io.NodeOutput(
            frames_out(restored.frames), frames_out(restored.mask), restored.report, ui=report_ui(restored.report)
        )


class RestoreImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionRestoreImage",
            display_name="Tiled Image Restore",
            category="SlimFusion",
            description="Runs a restorer or upscaler over whole frames in tiles without seams.",
            search_aliases=["upscale", "tiled upscale", "denoise", "deblur"],
            # The fidelity came last: what was saved before has no value for it.
            inputs=[io.Image.Input("image"), model_input(), budget_input(), *tile_inputs(), fidelity_input(True)],
            outputs=[io.Image.Output(display_name="image"), ReportType.Output(display_name="report")],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        model: Any,
        tile: int,
        overlap: int,
        fidelity: float = 0.5,
        budget: MemoryBudget | None = None,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.restore import restore_image

        chosen = model_from(model)
        frames, report = restore_image(
            frames_in(image),
            chosen.model,
            budget or chosen.budget,
            ComfyHost(),
            Options(chosen.precision, tile, overlap, fidelity),
        )
        return io.NodeOutput(frames_out(frames), report, ui=report_ui(report))
