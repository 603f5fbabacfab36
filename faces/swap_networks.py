"""What a swap runs besides its swapper, found among the user's files and only when it is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..catalog.families import FAMILIES
from ..catalog.swappers import missing_converter
from ..engines.session import Blueprint
from ..errors import ModelFileError
from .ask import Askable, embedded
from .detect.settings import DEFAULT_DETECTION, DetectionSettings
from .detection import detect_faces
from .face import Face, Faces
from .frames import checked_frames
from .identity import Identity, identity_from_faces
from .landmarks68 import landmarks68
from .networks import blueprint_from_path
from .people import LETTERS, Person, person_from_picture
from .swap import Landmarks, Networks


def networks_for(swapper: Blueprint | None, askable: Askable, landmarks: Landmarks = landmarks68) -> Networks:
    """A swapper (None to fuse without) with its converter, the user's recogniser and the bundled landmarker.

    Raises ModelFileError when a converter is needed and not there.
    """

    def recognise(person: Person) -> Identity:
        assert person.picture is not None and person.face is not None
        picture = checked_frames(torch.from_numpy(np.ascontiguousarray(person.picture)))
        known = embedded(picture, [replace(person.face, frame=0)], askable)
        return identity_from_faces(person.name, known)

    converter = None if swapper is None else converter_for(swapper, askable)
    return Networks(swapper, converter, recognise, landmarks)


def converter_for(swapper: Blueprint, askable: Askable) -> Blueprint | None:
    """The network that a swapper's identities go through; None where there is none. Raises ModelFileError."""
    family = FAMILIES.get(swapper.spec.contract.architecture)
    if family is None or family.kind != "swapper" or family.converter is None:
        return None
    try:
        found = askable.file("converter", (family.converter,))
    except ModelFileError as error:
        raise ModelFileError(missing_converter(family)) from error
    return blueprint_from_path(found.path, found.path.name, askable.host, mode=askable.budget.mode)


def people_from(
    identities: list[Identity | None],
    pictures: torch.Tensor | None,
    faces: Faces | None,
    askable: Askable,
    detection: DetectionSettings = DEFAULT_DETECTION,
) -> list[Person]:
    """People A, B, C ... from identities and the frames of source pictures, the first of each being A.

    identities: None where only a picture is given. pictures: (N, H, W, C), one person each. faces: theirs, None to
    detect them now as `detection` says. Raises FacesError for a picture that does not show one face well.
    """
    frames = None if pictures is None else checked_frames(pictures)
    if frames is not None and faces is None:
        faces = detect_faces(frames, askable.host, detection, askable.budget, askable.report)
    if frames is not None and faces is not None:
        faces.check_size(frames)
    shown: tuple[tuple[Face, ...], ...] = () if faces is None or frames is None else faces.frames
    people = []
    for index in range(max(len(identities), len(shown))):
        identity = identities[index] if index < len(identities) else None
        name = identity.name if identity is not None else LETTERS[index % len(LETTERS)]
        person = Person(name, identity)
        if frames is not None and index < len(shown):
            seen = person_from_picture(name, frames[index].numpy(), shown[index])
            person = replace(seen, identity=identity)
        people.append(person)
    while people and people[-1].identity is None and people[-1].picture is None:
        people.pop()
    return people
