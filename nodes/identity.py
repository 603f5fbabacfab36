"""Face Identity and its kin: who somebody is, made from pictures, kept as a file, blended, compared."""

from __future__ import annotations

from typing import Any

import torch

from ..catalog.opening import Stamp
from ..engines.memory.budget import MemoryBudget
from ..errors import printable
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from ..faces.identity.identity import (
    COMBINE,
    Combine,
    Identity,
    alike,
    combined,
    identity_from_faces,
    identity_path,
    load_identity,
    save_identity,
    saved_identity,
)
from .host import ComfyHost, FaceList, IdentityType, frames_in, identity_folders, identity_names, io, said, schema
from .networks import detection_inputs, library, network_inputs
from .page import line_ui

NONE_SAVED = "none is saved yet"
MOST_BLENDED = 4


class MakeIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionIdentity",
            display_name="Face Identity",
            category="SlimFusion",
            description="Makes an identity from one picture or several of the same person: the largest face of each "
            "frame, or the faces that are connected. Needs a recogniser such as InsightFace's w600k_r50.onnx.",
            search_aliases=["face model", "face embedding", "reactor face model", "arcface"],
            inputs=[
                io.Image.Input("image"),
                io.String.Input("name", default="somebody", tooltip="What reports and files call the person."),
                io.Combo.Input(
                    "combine",
                    options=list(COMBINE),
                    default="mean",
                    tooltip="Of several faces: mean uses all alike, median forgets those that do not belong.",
                ),
                FaceList.Input("faces", optional=True, tooltip="All of them are used; detected here without."),
                *network_inputs(),
                *detection_inputs(),
            ],
            outputs=[IdentityType.Output(display_name="identity")],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        name: str,
        combine: Combine,
        faces: Faces | None = None,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
        turned: Turned = "auto",
        min_face: int = 0,
    ) -> io.NodeOutput:
        from ..faces.detect.detection import detect_faces
        from ..faces.frames import checked_frames
        from ..faces.identity.library import add_embeddings
        from ..faces.identity.select import Choice, require_face, select

        frames = checked_frames(frames_in(image))
        if faces is None:
            settings = DetectionSettings(turned=turned, min_face=min_face)
            found = detect_faces(frames, ComfyHost(), settings, budget)
            faces = select(found, Choice(order="large", count=1))
        faces.check_size(frames)
        require_face(faces, "an identity")
        every = [face for of_frame in faces.frames for face in of_frame]
        known = add_embeddings(frames, every, library(budget, commercial_only))
        identity = identity_from_faces(name.strip() or "somebody", known, combine)
        return io.NodeOutput(identity, ui=line_ui("identity", name=printable(identity.name), faces=len(known)))


class SaveIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSaveIdentity",
            display_name="Save Face Identity",
            category="SlimFusion",
            description="Keeps an identity in models/reactor/faces, where ReActor reads it too.",
            search_aliases=["save face model"],
            inputs=[
                IdentityType.Input("identity"),
                io.String.Input("name", default="", tooltip="The file's name without ending; the identity's if empty."),
                io.Boolean.Input("overwrite", default=False, tooltip="Replace a file of the same name."),
            ],
            outputs=[IdentityType.Output(display_name="identity"), io.String.Output(display_name="path")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Before the identity is made. None: the name comes from another node and is not there yet."""
        return said(lambda: identity_path(name, identity_folders()[0])) if name and name.strip() else True

    @classmethod
    def execute(cls, identity: Identity, name: str, overwrite: bool) -> io.NodeOutput:
        path = identity_path(name.strip() or identity.name, identity_folders()[0])
        save_identity(identity, path, overwrite)
        told = printable(str(path))
        return io.NodeOutput(identity, told, ui={"text": [f"saved {told}"]} | line_ui("saved", path=told))


class LoadIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = identity_names() or [NONE_SAVED]
        return schema(
            node_id="SlimFusionLoadIdentity",
            display_name="Load Face Identity",
            category="SlimFusion",
            description="Loads an identity that was saved here or by ReActor.",
            search_aliases=["load face model", "reactor face model"],
            inputs=[io.Combo.Input("name", options=names, default=names[0], tooltip="From models/reactor/faces.")],
            outputs=[IdentityType.Output(display_name="identity")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Older hosts do not hold a value against the list. None: it comes from another node and is not there yet."""
        return True if name is None else said(lambda: saved_identity(name, identity_folders()))

    @classmethod
    def fingerprint_inputs(cls, name: str, **_: Any) -> str:
        path = saved_identity(name, identity_folders())
        return printable(f"{path}:{Stamp.of(path)}")

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(load_identity(saved_identity(name, identity_folders())))


class BlendIdentities(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = [io.String.Input("name", default="blend", tooltip="What the result is called.")]
        for number in range(1, MOST_BLENDED + 1):
            inputs.append(IdentityType.Input(f"identity_{number}", optional=number > 2))
            tooltip = "How much of it there is, against the other weights."
            inputs.append(
                io.Float.Input(
                    f"weight_{number}",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip=tooltip,
                    optional=number > 2,
                )
            )
        return schema(
            node_id="SlimFusionBlendIdentities",
            display_name="Blend Face Identities",
            category="SlimFusion",
            description="Makes one identity from up to four, more of some than of others.",
            search_aliases=["merge face models", "blend faces", "build face model"],
            inputs=inputs,
            outputs=[IdentityType.Output(display_name="identity")],
        )

    @classmethod
    def execute(cls, name: str, **inputs: Any) -> io.NodeOutput:
        numbers = [n for n in range(1, MOST_BLENDED + 1) if inputs.get(f"identity_{n}") is not None]
        identities = [inputs[f"identity_{n}"] for n in numbers]
        weights = [float(inputs.get(f"weight_{n}", 1.0)) for n in numbers]
        return io.NodeOutput(combined(name.strip() or "blend", identities, weights=weights))


class Likeness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionLikeness",
            display_name="Face Likeness",
            category="SlimFusion",
            description="How alike two identities are: 1 is the same, 0 has nothing in common (cosine).",
            search_aliases=["face similarity", "compare faces"],
            inputs=[IdentityType.Input("identity_1"), IdentityType.Input("identity_2")],
            outputs=[io.Float.Output(display_name="likeness"), io.String.Output(display_name="text")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, identity_1: Identity, identity_2: Identity) -> io.NodeOutput:
        value = alike(identity_1, identity_2)
        text = f"{identity_1.name} and {identity_2.name}: {value:.3f}"
        return io.NodeOutput(value, text, ui={"text": [text]} | line_ui("likeness", value=round(value, 3)))
