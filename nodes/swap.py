"""Swap Faces: puts a person's face into images, with a swap model or without one."""

from __future__ import annotations

from typing import Any

import torch

from ..engines.memory.budget import MemoryBudget
from ..errors import SettingError
from ..faces.detect.settings import DetectionSettings, Turned
from ..faces.face import Faces
from ..faces.identity.identity import Identity
from ..faces.identity.keeping import KeepIdentity
from .host import ComfyHost, FaceList, IdentityType, Model, frames_in, frames_out, io, rare, schema
from .load import FusionModel
from .restore import report_output
from .shared.networks import detection_inputs, keep_identity_input, keeping_for, library, network_inputs
from .shared.page import compare_ui, faces_ui, report_ui

BOOSTS = ("off", "256", "384", "512", "768", "1024")


def _sockets() -> list[io.Input]:
    """Whose faces are replaced, by whose, and through what."""
    return [
        io.Image.Input("image", tooltip="One image or a batch of frames, in which faces are replaced."),
        FaceList.Input(
            "faces",
            optional=True,
            tooltip="Optional, from Detect Faces or Select Faces. If not connected, faces are detected here.",
        ),
        IdentityType.Input("identity", optional=True, tooltip="Person A, from Face Identity."),
        io.Image.Input(
            "source_image",
            display_name="source image",
            optional=True,
            tooltip="Pictures with one face each. The first is person A, the next ones are B, C and D.",
        ),
        *rare(
            FaceList.Input(
                "source_faces",
                display_name="source faces",
                optional=True,
                tooltip="Optional, the faces of source image, one per picture. If not connected, they are "
                "detected here.",
            )
        ),
        Model.Input(
            "model",
            optional=True,
            tooltip="Swap model, from Load Fusion Model. Leave empty to blend the two faces without a model.",
        ),
        io.Mask.Input("mask", optional=True, tooltip="Optional. Swap only where the mask is white."),
    ]


class SwapFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionSwapFaces",
            display_name="Swap Faces",
            has_intermediate_output=True,  # the page shows what the node said again when it was cached
            category="SlimFusion",
            description="Puts a person's face into the faces of an image or a batch of frames. Without a swap model, "
            "two faces are blended by shape and texture. Use it only for people who agreed to it.",
            search_aliases=[
                "face swap",
                "swap face",
                "faceswap",
                "face swapper",
                "deepfake",
                "reactor",
                "roop",
                "insightface",
                "inswapper",
                "hyperswap",
                "simswap",
                "facefusion",
                "face fusion",
                "face morph",
                "换脸",
                "人脸替换",
            ],
            inputs=[
                *_sockets(),
                *weight_inputs(),
                boost_input(),
                io.String.Input(
                    "people",
                    default="",
                    tooltip="Which face becomes which person, by face number: 0:A, 1:B. Empty = every face becomes A.",
                ),
                *rare(
                    io.Boolean.Input(
                        "provenance",
                        display_name="PNG note",
                        default=True,
                        tooltip="Write into saved PNG files that faces were swapped, with which model and when.",
                    ),
                    *further_people(),
                ),
                *network_inputs(),
                *detection_inputs(),
                keep_identity_input(
                    "auto: take fewer of the frame's colours where they make a face less like the new person. "
                    "strong: stricter. off: no limit."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The frames with swapped faces."),
                io.Mask.Output(display_name="mask", tooltip="Where pixels were replaced."),
                FaceList.Output(
                    display_name="faces", tooltip="The faces, for Tiled Face Restore: it then detects none itself."
                ),
                report_output(),
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
        keep_identity: KeepIdentity = "off",
    ) -> io.NodeOutput:
        from ..engines.job import Options
        from ..faces.swap.networks import networks_for, people_from
        from ..faces.swap.provenance import provenance_note
        from ..faces.swap.swap import swap_faces
        from ..faces.swap.task import Swapping

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
            keeping=keeping_for(keep_identity, None),
        )
        frames = frames_in(image)
        done = swap_faces(frames, everybody, networks, budget, ComfyHost(), swapping)
        note = provenance_note(done.report) if provenance else None
        if note is not None:
            leave_note(cls.hidden, note)
        results = frames_out(done.frames), frames_out(done.mask), done.faces, done.report
        shown = report_ui(done.report) | compare_ui(frames, done.frames) | faces_ui(frames, done.faces)
        return io.NodeOutput(*results, ui=shown)


def weight_inputs() -> list[io.Input]:
    weights = {
        "strength": (1.0, "0 = original face, 1 = new face."),
        "colour": (1.0, "0 = colours of the source, 1 = colours of the frame."),
        "shape": (0.5, "Only without a model. 0 = face shape of the frame, 1 = face shape of the source."),
        "texture": (1.0, "Only without a model. 0 = skin and features of the frame, 1 = of the source."),
    }
    return [
        io.Float.Input(name, default=value, min=0.0, max=1.0, step=0.01, tooltip=tooltip)
        for name, (value, tooltip) in weights.items()
    ]


def further_people() -> list[io.Input]:
    """Persons B to D, a socket each.

    `io.Autogrow` would name them `people.identity_b`: the links of saved workflows and prompts would be lost.
    """
    return [
        IdentityType.Input(
            f"identity_{letter.lower()}",
            f"identity {letter}",
            optional=True,
            tooltip=f"Optional, person {letter}. Enter in people which faces become {letter}.",
        )
        for letter in "BCD"
    ]


def boost_input() -> io.Input:
    return io.Combo.Input(
        "boost",
        display_name="pixel boost",
        options=list(BOOSTS),
        default="off",
        tooltip="Swap at this resolution (px) instead of the model's own. Sharper and slower.",
    )


def boost_px(boost: str) -> int:
    """The resolution in px; 0 for off. Raises SettingError for a value that is not offered."""
    if boost not in BOOSTS:
        raise SettingError(f"There is no pixel boost {boost!r}. Choose one of {', '.join(BOOSTS)}.")
    return 0 if boost == "off" else int(boost)


def leave_note(hidden: Any, note: dict[str, Any]) -> None:
    """Adds a note to what ComfyUI writes into the PNG files that it saves in this run.

    The host hands one dictionary to all nodes of a run; without it, as for a client that sends none, there is nowhere
    to write to.
    """
    from ..faces.pictures import notes

    info = getattr(hidden, "extra_pnginfo", None)
    if isinstance(info, dict):
        info[notes.NAME] = notes.notes_with(info.get(notes.NAME), note)
