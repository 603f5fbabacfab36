"""Select Faces: those that are meant, for the nodes behind."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from ..faces.identity.identity import Identity
from ..faces.identity.select import GENDERS, OLDEST, ORDERS, Choice, Order, parse_indices, require_face, select
from .host import FaceList, IdentityType, frames_in, io, schema
from .networks import library, network_inputs
from .page import faces_ui, line_ui

IF_NONE = ("pass on", "stop")


class SelectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSelectFaces",
            display_name="Select Faces",
            category="SlimFusion",
            description="Keeps the faces that are meant, in every frame: by the numbers in the preview of Detect "
            "Faces, order, score, gender, age, or likeness to an identity.",
            search_aliases=["face index", "filter faces", "face by gender", "reference face"],
            inputs=[
                FaceList.Input("faces"),
                io.String.Input(
                    "numbers", default="", tooltip="As Detect Faces shows them, such as 0, 2-4; empty for all."
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default="as found",
                    tooltip="By the box's middle, its area, or the detector's score.",
                ),
                io.Int.Input("count", default=0, min=0, max=1000, tooltip="The first so many in that order; 0: all."),
                io.Float.Input("score", default=0.0, min=0.0, max=1.0, step=0.01, tooltip="Least certainty."),
                io.Combo.Input(
                    "gender",
                    options=list(GENDERS),
                    default="any",
                    tooltip="Anything but any runs a network, for which image must be connected.",
                ),
                io.Int.Input("youngest", default=0, min=0, max=OLDEST, tooltip="Years; above 0 runs a network."),
                io.Int.Input(
                    "oldest", default=OLDEST, min=0, max=OLDEST, tooltip=f"Years; below {OLDEST} runs a network."
                ),
                io.Float.Input(
                    "likeness",
                    default=0.3,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Least likeness (cosine) to the identity, if one is connected. Higher is stricter.",
                ),
                io.Combo.Input(
                    "if_none",
                    options=list(IF_NONE),
                    default=IF_NONE[0],
                    tooltip="When no face is left in any frame: go on without faces, or stop with a message.",
                ),
                io.Image.Input("image", optional=True, tooltip="The image the faces were found in, for networks."),
                IdentityType.Input("identity", optional=True, tooltip="Whom the faces must be like."),
                *network_inputs(),
            ],
            outputs=[FaceList.Output(display_name="faces"), io.Int.Output(display_name="count")],
        )

    @classmethod
    def execute(
        cls,
        faces: Faces,
        numbers: str,
        order: Order,
        count: int,
        score: float,
        gender: str,
        youngest: int,
        oldest: int,
        likeness: float,
        if_none: str,
        image: torch.Tensor | None = None,
        identity: Identity | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
    ) -> io.NodeOutput:
        reference = None if identity is None else identity.embedding
        choice = Choice(parse_indices(numbers), order, count, score, gender, youngest, oldest, reference, likeness)
        asked: dict[str, Any] = {}
        if image is not None:
            from ..faces.frames import checked_frames
            from ..faces.identity.attributes import add_attributes
            from ..faces.identity.library import add_embeddings

            frames, networks = checked_frames(frames_in(image)), library(budget, commercial_only)
            faces.check_size(frames)
            asked["attributes"] = lambda some: add_attributes(frames, some, networks)
            asked["embeddings"] = lambda some: add_embeddings(frames, some, networks)
        chosen = select(faces, choice, **asked)
        if if_none == "stop":
            require_face(chosen, "what comes behind Select Faces")
        shown = line_ui("selected", "ok" if chosen.count else "warn", faces=chosen.count, of=faces.count)
        if image is not None:
            shown |= faces_ui(frames_in(image), faces)
        return io.NodeOutput(chosen, chosen.count, ui=shown)
