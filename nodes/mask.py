"""Face Mask: where faces may be changed."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from .host import FaceList, frames_in, frames_out, io, schema
from .networks import library, network_inputs

SIDES = ("top", "right", "bottom", "left")


def names(text: str) -> tuple[str, ...]:
    """The words of a list that is separated by commas."""
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


class FaceMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        margins = [
            io.Float.Input(
                f"{side}_margin",
                default=0.0,
                min=0.0,
                max=0.9,
                step=0.01,
                tooltip=f"Left out at the face's {side}, as a part of its square.",
            )
            for side in SIDES
        ]
        return schema(
            node_id="SlimFusionFaceMask",
            display_name="Face Mask",
            category="SlimFusion",
            description="The mask of all faces: a soft square each, limited by areas, regions, what stands before "
            "the face, and your own mask. Connect it to Tiled Face Restore.",
            search_aliases=["occlusion mask", "xseg", "bisenet", "face parsing", "mouth mask"],
            inputs=[
                FaceList.Input("faces"),
                io.Float.Input(
                    "feather",
                    default=0.05,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Width of the soft edge as a part of the face's square: the same look at every size.",
                ),
                *margins,
                io.String.Input(
                    "areas", default="", tooltip="Only these, from 68 points: upper, lower, mouth; empty for all."
                ),
                io.String.Input(
                    "regions",
                    default="",
                    tooltip="Only these, from a face parser (BiSeNet): skin, brows, eyes, glasses, ears, nose, mouth, "
                    "lips, neck, hair, hat; empty for all.",
                ),
                io.Boolean.Input(
                    "occlusion", default=False, tooltip="Leave out what stands before the face; needs XSeg."
                ),
                io.Image.Input("image", optional=True, tooltip="The image the faces were found in, for networks."),
                io.Mask.Input("mask", optional=True, tooltip="Only where it is white."),
                *network_inputs(),
            ],
            outputs=[io.Mask.Output(display_name="mask")],
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

        top, right, bottom, left = (margins[f"{side}_margin"] for side in SIDES)
        choice = MaskChoice((top, right, bottom, left), names(areas), names(regions), occlusion, feather)
        frames = None if image is None else checked_frames(frames_in(image))
        networks = library(budget, commercial_only)
        asked: dict[str, Any] = {}
        if frames is not None and faces.count:
            faces.check_size(frames)
            asked["landmarks"] = lambda some: add_landmarks68(frames, some, networks)
            if choice.occlusion:
                asked["occluder"] = mask_network(networks, "mask", OCCLUDERS, faces.count)
            if choice.regions:
                asked["parser"] = mask_network(networks, "parser", PARSERS, faces.count)
        return io.NodeOutput(frames_out(face_masks(faces, choice, frames, MaskNetworks(**asked), mask)))
