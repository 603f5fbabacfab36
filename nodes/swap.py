"""Swap Faces: put people into pictures, through a swap model or without any."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..errors import SettingError
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from ..faces.identity.identity import Identity
from ..version import __version__
from .host import ComfyHost, FaceList, IdentityType, Model, ReportType, frames_in, frames_out, io, schema
from .load import FusionModel
from .networks import detection_inputs, library, network_inputs
from .restore import report_ui

BOOSTS = ("off", "256", "384", "512", "768", "1024")
PROVENANCE = "slimfusion"  # the name under which a note goes into saved pictures


class SwapFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSwapFaces",
            display_name="Swap Faces",
            category="SlimFusion",
            description="Puts a person's face into every face of a batch of frames, or into those that are named. "
            "Without a model two faces are fused by their shape and texture. For people who agreed to it.",
            search_aliases=["face swap", "faceswap", "inswapper", "hyperswap", "reactor", "face fusion", "morph"],
            inputs=[
                io.Image.Input("image"),
                FaceList.Input("faces", optional=True, tooltip="From Detect Faces; detected here without."),
                IdentityType.Input("identity", optional=True, tooltip="Person A, from Face Identity."),
                io.Image.Input(
                    "source_image", optional=True, tooltip="One face a frame: the first is person A, then B, C ..."
                ),
                FaceList.Input(
                    "source_faces", optional=True, tooltip="Of the source image, one a frame; detected here without."
                ),
                Model.Input("model", optional=True, tooltip="A swap model; without one faces are fused without."),
                io.Mask.Input("mask", optional=True, tooltip="Swap only where it is white."),
                *weight_inputs(),
                boost_input(),
                io.String.Input(
                    "people", default="", tooltip="Which face becomes whom: 0:A, 1:B. Empty: all become A."
                ),
                io.Boolean.Input(
                    "provenance", default=True, tooltip="Note in saved PNG files that faces were swapped, how and when."
                ),
                IdentityType.Input("identity_b", optional=True, tooltip="Person B."),
                IdentityType.Input("identity_c", optional=True, tooltip="Person C."),
                IdentityType.Input("identity_d", optional=True, tooltip="Person D."),
                *network_inputs(),
                *detection_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="mask"),
                FaceList.Output(display_name="faces"),
                ReportType.Output(display_name="report"),
            ],
            hidden=[io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        strength: float,
        colour: float,
        shape: float,
        texture: float,
        boost: str,
        people: str,
        provenance: bool,
        faces: Faces | None = None,
        identity: Identity | None = None,
        source_image: torch.Tensor | None = None,
        source_faces: Faces | None = None,
        model: FusionModel | None = None,
        mask: torch.Tensor | None = None,
        identity_b: Identity | None = None,
        identity_c: Identity | None = None,
        identity_d: Identity | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.swap.networks import networks_for, people_from
        from ..faces.swap.swap import Swapping, swap_faces

        budget = budget or (MemoryBudget() if model is None else model.budget)
        files, detection = library(budget, commercial_only), DetectionSettings(turned=turned, min_face=min_face)
        pictures = None if source_image is None else frames_in(source_image)
        identities = [identity, identity_b, identity_c, identity_d]
        everybody = people_from(identities, pictures, source_faces, files, detection)
        networks = networks_for(None if model is None else model.model, files)
        swapping = Swapping(
            faces=faces,
            mask=mask,
            options=Options() if model is None else Options(model.precision),
            detection=detection,
            strength=strength,
            colour=colour,
            boost=boost_px(boost),
            shape=shape,
            texture=texture,
            people=people,
        )
        done = swap_faces(frames_in(image), everybody, networks, budget, ComfyHost(), swapping)
        if provenance and done.report.faces:
            leave_note(cls.hidden, provenance_note(done.report))
        results = frames_out(done.frames), frames_out(done.mask), done.faces, done.report
        return io.NodeOutput(*results, ui=report_ui(done.report))


def weight_inputs() -> list[io.Input]:
    said = {
        "strength": (1.0, "How much of the new face."),
        "colour": (1.0, "How far the new face takes the colours of the frame."),
        "shape": (0.5, "Without a model: 0 keeps the frame's shape of the face, 1 takes the source's."),
        "texture": (1.0, "Without a model: 0 keeps the frame's skin and features, 1 takes the source's."),
    }
    return [
        io.Float.Input(name, default=value, min=0.0, max=1.0, step=0.01, tooltip=tooltip)
        for name, (value, tooltip) in said.items()
    ]


def boost_input() -> io.Input:
    return io.Combo.Input(
        "boost", options=list(BOOSTS), default="off", tooltip="px that a model swaps a face at, in samples."
    )


def boost_px(boost: str) -> int:
    """px of the widget's value. Raises SettingError for one that is not offered."""
    if boost not in BOOSTS:
        raise SettingError(f"There is no boost {boost!r}; there are {', '.join(BOOSTS)}.")
    return 0 if boost == "off" else int(boost)


def provenance_note(report: Report) -> dict[str, Any]:
    """What was done to the picture, for those who see it later."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"tool": f"SlimFusion {__version__}", "done": "faces swapped", "model": report.model, "time": now}


def leave_note(hidden: Any, note: dict[str, Any]) -> None:
    """Adds a note to what ComfyUI writes into the PNG files that it saves in this run.

    The host hands one dictionary to all nodes of a run; without it, as for a client that sends none, there is nowhere
    to write to.
    """
    info = getattr(hidden, "extra_pnginfo", None)
    if isinstance(info, dict):
        left = info.get(PROVENANCE)
        # Something else of that name came with a workflow: it is kept, as the first of the notes.
        notes = left if isinstance(left, list) else [] if left is None else [left]
        info[PROVENANCE] = [*notes, note]
