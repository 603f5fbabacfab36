"""Face Mask: where faces may be changed."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from .host import FaceList, frames_in, frames_out, io, rare, schema
from .shared.networks import library, network_inputs
from .shared.page import work_ui

SIDES = {"top": "at the top", "right": "on the right", "bottom": "at the bottom", "left": "on the left"}


def names(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


class FaceMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        margins = [
            io.Float.Input(
                f"{side}_margin",
                f"{side} margin",
                default=0.0,
                min=0.0,
                max=0.9,
                step=0.01,
                tooltip=f"Left out {at}, as a fraction of the face's square.",
            )
            for side, at in SIDES.items()
        ]
        return schema(
            node_id="SlimFusionFaceMask",
            display_name="Face Mask",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Makes a mask of all faces: one soft square per face, which can be limited to parts of the "
            "face and can exclude hands or hair. Connect it to a restore or swap node.",
            search_aliases=[
                "occlusion mask",
                "xseg",
                "bisenet",
                "face parsing",
                "mouth mask",
                "face segmentation",
                "reactor",
                "遮罩",
                "蒙版",
            ],
            inputs=[
                FaceList.Input("faces", tooltip="From Detect Faces or Select Faces."),
                io.Float.Input(
                    "feather",
                    default=0.05,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft edge, as a fraction of the face's square.",
                ),
                *rare(*margins),
                io.String.Input(
                    "areas",
                    default="",
                    tooltip="Only these parts, from 68 landmarks: upper, lower, mouth. Separate them with commas. "
                    "Empty = the whole face.",
                ),
                io.String.Input(
                    "regions",
                    default="",
                    tooltip="Only these parts, from a face parser (BiSeNet): skin, brows, eyes, glasses, ears, nose, "
                    "mouth, lips, neck, hair, hat. Separate them with commas. Empty = the whole face.",
                ),
                io.Boolean.Input(
                    "occlusion",
                    display_name="occlusion",
                    default=False,
                    tooltip="Exclude anything that covers the face (hands, hair). Needs an XSeg model.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The image in which the faces were detected. Needed for areas, regions and occlusion.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Optional. The result is black where this mask is black."),
                *network_inputs(),
            ],
            outputs=[io.Mask.Output(display_name="mask", tooltip="White where faces may be changed.")],
        )

    @classmethod
    def execute(
        cls,
        faces: Faces,
        feather: float,
        areas: str,
        regions: str,
        occlusion: bool,
        image: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
        **margins: float,
    ) -> io.NodeOutput:
        from ..faces.frames import checked_frames
        from ..faces.identity.library import OCCLUDERS, PARSERS, add_landmarks68, mask_network
        from ..faces.masks.face_masks import MaskChoice, MaskNetworks, face_masks

        begun = perf_counter()
        top, right, bottom, left = (margins[f"{side}_margin"] for side in SIDES)
        choice = MaskChoice((top, right, bottom, left), names(areas), names(regions), occlusion, feather)
        frames = None if image is None else checked_frames(frames_in(image))
        networks = library(budget, commercial_only)
        used: dict[str, Any] = {}
        if frames is not None and faces.count:
            faces.check_size(frames)
            used["landmarks"] = lambda some: add_landmarks68(frames, some, networks)
            if choice.occlusion:
                used["occluder"] = mask_network(networks, "mask", OCCLUDERS, faces.count)
            if choice.regions:
                used["parser"] = mask_network(networks, "parser", PARSERS, faces.count)
        result = face_masks(faces, choice, frames, MaskNetworks(**used), mask)
        share = float(result.mean()) if result.numel() else 0.0
        counts = {"faces": faces.count, "share": round(100 * share, 1)}
        shown = work_ui("masked", networks.report, perf_counter() - begun, "ok" if share else "warn", **counts)
        return io.NodeOutput(frames_out(result), ui=shown)
