"""The nodes of identities: make, save, load, blend and compare them."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from ..catalog.cards.readers import RECOGNISER
from ..catalog.opening import Stamp
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..errors import printable
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from ..faces.identity.identity import (
    COMBINE,
    Combine,
    Identity,
    alike,
    combined,
    identity_path,
    load_identity,
    save_identity,
    saved_identity,
)
from .host import ComfyHost, FaceList, IdentityType, frames_in, identity_folders, identity_names, io, rare, said, schema
from .shared.networks import detection_inputs, library, network_inputs
from .shared.page import Ui, line_ui, work_ui

NONE_SAVED = "none is saved yet"
MOST_BLENDED = 4


class MakeIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionIdentity",
            display_name="Face Identity",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Makes an identity from one or more pictures of the same person. Without a face recognition "
            "model of yours the bundled one is used, which tells people apart but feeds no swap model: those need "
            "w600k_r50.onnx of InsightFace.",
            search_aliases=[
                "face model",
                "face embedding",
                "build face model",
                "reactor",
                "insightface",
                "arcface",
                "人物",
            ],
            inputs=[
                io.Image.Input("image", tooltip="Pictures of one person. The largest face of each is used."),
                io.String.Input("name", default="somebody", tooltip="Name of the person in reports and files."),
                *rare(
                    io.Combo.Input(
                        "combine",
                        options=list(COMBINE),
                        default="mean",
                        tooltip="For several pictures. mean: the average of all faces. median: ignores faces that do "
                        "not fit.",
                    )
                ),
                FaceList.Input(
                    "faces",
                    optional=True,
                    tooltip="Optional, from Detect Faces or Select Faces; all of them are used. If not connected, "
                    "faces are detected here.",
                ),
                *network_inputs(),
                *detection_inputs(),
            ],
            outputs=[
                IdentityType.Output(
                    display_name="identity", tooltip="Connect it to Swap Faces, Select Faces or Save Face Identity."
                )
            ],
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
        from ..faces.identity.library import identity_of
        from ..faces.identity.select import Choice, require_face, select

        frames = checked_frames(frames_in(image))
        if faces is None:
            settings = DetectionSettings(turned=turned, min_face=min_face)
            all_faces = detect_faces(frames, ComfyHost(), settings, budget)
            faces = select(all_faces, Choice(order="large", count=1))
        faces.check_size(frames)
        require_face(faces, "an identity")
        every = [face for of_frame in faces.frames for face in of_frame]
        identity = identity_of(name.strip() or "somebody", frames, every, library(budget, commercial_only), combine)
        what = "identity" if identity.recogniser == RECOGNISER else "identityNoSwap"
        return io.NodeOutput(identity, ui=line_ui(what, name=printable(identity.name), faces=len(every)))


class SaveIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSaveIdentity",
            display_name="Save Face Identity",
            category="SlimFusion",
            description="Saves an identity to models/reactor/faces. ReActor can read it too if it was made by "
            "w600k_r50.onnx.",
            search_aliases=["save face model", "reactor", "人物"],
            inputs=[
                IdentityType.Input("identity", tooltip="From Face Identity or Blend Face Identities."),
                io.String.Input(
                    "name",
                    display_name="file name",
                    default="",
                    tooltip="File name without extension. Empty = the name of the identity.",
                ),
                io.Boolean.Input("overwrite", default=False, tooltip="Replace an existing file of the same name."),
            ],
            outputs=[
                IdentityType.Output(display_name="identity", tooltip="The input, unchanged."),
                io.String.Output(display_name="path", tooltip="The path of the saved file."),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Before the identity is made. None: the name comes from another node, later."""
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
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Loads an identity that was saved by Save Face Identity or by ReActor.",
            search_aliases=["load face model", "reactor face model", "reactor", "人物"],
            inputs=[io.Combo.Input("name", options=names, default=names[0], tooltip="File in models/reactor/faces.")],
            outputs=[IdentityType.Output(display_name="identity", tooltip="Connect it to Swap Faces or Select Faces.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Older hosts do not check a value against the list. None: the value comes from another node, later."""
        return True if name is None else said(lambda: saved_identity(name, identity_folders()))

    @classmethod
    def fingerprint_inputs(cls, name: str, **_: Any) -> str:
        path = saved_identity(name, identity_folders())
        return printable(f"{path}:{Stamp.of(path)}")

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        begun = perf_counter()
        identity = load_identity(saved_identity(name, identity_folders()))
        return io.NodeOutput(identity, ui=identity_ui(identity, perf_counter() - begun))


class BlendIdentities(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = [io.String.Input("name", default="blend", tooltip="Name of the new identity.")]
        for number in range(1, MOST_BLENDED + 1):
            optional, note = number > 2, "Optional, a" if number > 2 else "A"
            label, tooltip = f"identity {number}", f"{note} face identity to blend."
            weight = io.Float.Input(
                f"weight_{number}",
                f"weight {number}",
                default=1.0,
                min=0.0,
                max=100.0,
                step=0.05,
                optional=optional,
                tooltip=f"Share of identity {number}, relative to the other weights. 0 leaves it out.",
            )
            inputs += [IdentityType.Input(f"identity_{number}", label, optional=optional, tooltip=tooltip), weight]
        return schema(
            node_id="SlimFusionBlendIdentities",
            display_name="Blend Face Identities",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Blends two to four identities into a new one, each with its own weight.",
            search_aliases=[
                "merge face models",
                "blend faces",
                "mix faces",
                "build blended face model",
                "reactor",
                "人物",
            ],
            inputs=inputs,
            outputs=[IdentityType.Output(display_name="identity", tooltip="The new identity.")],
        )

    @classmethod
    def execute(cls, name: str, **inputs: Any) -> io.NodeOutput:
        numbers = [n for n in range(1, MOST_BLENDED + 1) if inputs.get(f"identity_{n}") is not None]
        identities = [inputs[f"identity_{n}"] for n in numbers]
        weights = [float(inputs.get(f"weight_{n}", 1.0)) for n in numbers]
        begun = perf_counter()
        identity = combined(name.strip() or "blend", identities, weights=weights)
        return io.NodeOutput(identity, ui=identity_ui(identity, perf_counter() - begun))


def identity_ui(identity: Identity, seconds: float) -> Ui:
    """Who it is, of how many faces, without a network."""
    return work_ui("identity", Report(), seconds, name=printable(identity.name), faces=identity.count)


class Likeness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionLikeness",
            display_name="Face Likeness",
            category="SlimFusion",
            description="Compares two identities: 1 = the same, 0 = nothing in common. Both must come from one "
            "recogniser.",
            search_aliases=["face similarity", "compare faces", "face distance", "相似度"],
            inputs=[
                IdentityType.Input("identity_1", "identity 1", tooltip="From Face Identity or Load Face Identity."),
                IdentityType.Input("identity_2", "identity 2", tooltip="From Face Identity or Load Face Identity."),
            ],
            outputs=[
                io.Float.Output(display_name="likeness", tooltip="How alike they are, from -1 to 1."),
                io.String.Output(display_name="text", tooltip="Both names and the likeness."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, identity_1: Identity, identity_2: Identity) -> io.NodeOutput:
        value = alike(identity_1, identity_2)
        text = f"{identity_1.name} and {identity_2.name}: {value:.3f}"
        return io.NodeOutput(value, text, ui={"text": [text]} | line_ui("likeness", value=round(value, 3)))
