"""Gender and age of faces, by genderage (InsightFace) or fairface; asked only when a selector wants them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...engines.network import Infer, Tensors
from ...errors import ModelFileError
from ..align import affine_for, crop_face, warped
from ..face import Face
from ..landmarks.network import box_affine
from ..masks.face_masks import network_input
from .library import ModelLibrary

ATTRIBUTE_NETWORKS = ("fairface", "genderage")  # best first
BOX_SCALE = 1.5  # genderage sees so many times the box
AGES = ((0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 100))  # of fairface


def add_attributes(frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary) -> list[Face]:
    """The faces with gender and age. frames: as `checked_frames` gives them.

    Raises ModelFileError when no network for it is there.
    """
    if not faces:
        return []
    file = library.file("attributes", ATTRIBUTE_NETWORKS)
    assert file.card is not None
    return with_attributes(frames, faces, file.card, library.infer(file, len(faces), "attributes"))


def with_attributes(frames: torch.Tensor, faces: Sequence[Face], card: ModelCard, infer: Infer) -> list[Face]:
    """The faces with what a network says of each."""
    decode = decoded_fairface if card.name == "fairface" else decoded_genderage
    described = []
    for face, outputs in zip(faces, infer(_inputs(frames, faces, card)), strict=True):
        gender, age = decode(outputs)
        described.append(replace(face, gender=gender, age=age))
    return described


def decoded_genderage(outputs: Tensors) -> tuple[str, tuple[int, int]]:
    """Gender and age of genderage's one output: how female, how male, years / 100."""
    values = outputs[0].numpy().ravel()
    if len(values) != 3:
        raise ModelFileError(f"A genderage network gives three numbers, this one {len(values)}.")
    years = max(0, round(float(values[2]) * 100))
    return ("female", "male")[int(values[1] > values[0])], (years, years)


def decoded_fairface(outputs: Tensors) -> tuple[str, tuple[int, int]]:
    """Gender and age of fairface's three outputs: the numbers of the race, the gender and the age."""
    if len(outputs) != 3:
        raise ModelFileError(f"A fairface network gives race, gender and age, this one {len(outputs)} outputs.")
    gender, age = (int(output.reshape(-1)[0]) for output in outputs[1:])
    if gender not in (0, 1) or not 0 <= age < len(AGES):
        raise ModelFileError(f"A fairface network gave gender {gender} and age {age}, which mean nothing.")
    return ("male", "female")[gender], AGES[age]


def _inputs(frames: torch.Tensor, faces: Sequence[Face], card: ModelCard) -> Iterator[Tensors]:
    size = card.size
    assert size is not None
    for face in faces:
        frame = frames[face.frame].numpy()
        if card.template is not None:
            crop = crop_face(frame, affine_for(face.landmarks, card.template, size), size)
        else:
            affine = box_affine(face.box, round(size / BOX_SCALE), size)
            crop = np.ascontiguousarray(warped(frame, affine, (size, size), zero=True)[..., :3])
        yield (network_input(crop, card),)
