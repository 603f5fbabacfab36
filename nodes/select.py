"""Select Faces: keeps only some of the faces."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..faces.face import Faces
from ..faces.identity.identity import Identity
from ..faces.identity.select import GENDERS, OLDEST, ORDERS, Choice, Order, parse_indices, require_face, select
from .host import FaceList, IdentityType, frames_in, io, rare, schema
from .shared.networks import library, network_inputs
from .shared.page import faces_ui, line_ui

IF_NONE = ("pass on", "stop")


def _kinds() -> list[io.Input]:
    """Which faces are kept for what they are: certain, of a gender, an age, or like somebody."""
    return [
        *rare(
            io.Float.Input(
                "score",
                display_name="min confidence",
                default=0.0,
                min=0.0,
                max=1.0,
                step=0.01,
                tooltip="Minimum confidence of the detector.",
            )
        ),
        io.Combo.Input(
            "gender",
            options=list(GENDERS),
            default="any",
            tooltip='Other than "any", this needs the image input: a model is run.',
        ),
        *rare(
            io.Int.Input(
                "youngest",
                display_name="min age",
                default=0,
                min=0,
                max=OLDEST,
                tooltip="Above 0, this needs the image input: a model is run.",
            ),
            io.Int.Input(
                "oldest",
                display_name="max age",
                default=OLDEST,
                min=0,
                max=OLDEST,
                tooltip=f"Below {OLDEST}, this needs the image input: a model is run.",
            ),
        ),
        io.Float.Input(
            "likeness",
            display_name="min likeness",
            default=0.3,
            min=-1.0,
            max=1.0,
            step=0.01,
            tooltip="Minimum likeness to the identity. Higher is stricter. Unused if identity is not connected.",
        ),
    ]


class SelectFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSelectFaces",
            display_name="Select Faces",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Keeps only some faces of every frame: by number, position, size, confidence, gender, age or "
            "likeness to a person.",
            search_aliases=[
                "face index",
                "filter faces",
                "choose face",
                "pick face",
                "face by gender",
                "reference face",
                "reactor",
                "选择人脸",
            ],
            inputs=[
                FaceList.Input("faces", tooltip="From Detect Faces."),
                io.String.Input(
                    "numbers",
                    display_name="face numbers",
                    default="",
                    tooltip="Numbers as Detect Faces shows them, such as 0, 2-4. Empty = all faces.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default="as found",
                    tooltip="Sort the faces by position, by size (large, small) or by confidence (best).",
                ),
                io.Int.Input(
                    "count",
                    display_name="max faces",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Keep only the first faces in this order. 0 = no limit.",
                ),
                *_kinds(),
                *rare(
                    io.Combo.Input(
                        "if_none",
                        display_name="if no face",
                        options=list(IF_NONE),
                        default=IF_NONE[0],
                        tooltip="pass on: continue without faces. stop: end the run with a message.",
                    )
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The image in which the faces were detected. Needed for gender, age and likeness.",
                ),
                IdentityType.Input(
                    "identity", optional=True, tooltip="Optional. Keep only faces that look like this person."
                ),
                *network_inputs(),
            ],
            outputs=[
                FaceList.Output(display_name="faces", tooltip="The faces that are left."),
                io.Int.Output(display_name="count", tooltip="How many faces are left, in all frames together."),
            ],
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
        reference, recogniser = (None, "") if identity is None else (identity.embedding, identity.recogniser)
        choice = Choice(
            parse_indices(numbers), order, count, score, gender, youngest, oldest, reference, likeness, recogniser
        )
        used: dict[str, Any] = {}
        if image is not None:
            from ..faces.frames import checked_frames
            from ..faces.identity.attributes import add_attributes
            from ..faces.identity.library import add_embeddings

            frames, networks = checked_frames(frames_in(image)), library(budget, commercial_only)
            faces.check_size(frames)
            used["attributes"] = lambda some: add_attributes(frames, some, networks)
            used["embeddings"] = lambda some: add_embeddings(frames, some, networks, recogniser)
        chosen = select(faces, choice, **used)
        if if_none == "stop":
            require_face(chosen, "what comes behind Select Faces")
        shown = line_ui("selected", "ok" if chosen.count else "warn", faces=chosen.count, of=faces.count)
        if image is not None:
            shown |= faces_ui(frames_in(image), faces)
        return io.NodeOutput(chosen, chosen.count, ui=shown)
