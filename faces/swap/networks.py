"""What a swap runs besides its swapper, found among the user's files and only when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ...catalog.card import Kind
from ...catalog.cards.readers import RECOGNISER
from ...engines.memory.report import Report
from ...engines.network import Model
from ...errors import ModelFileError
from ...models.opening import Opening, open_model
from .. import align
from ..detect.detection import detect_faces
from ..detect.settings import DEFAULT_DETECTION, DetectionSettings
from ..face import Face, Faces
from ..frames import checked_frames
from ..identity.identity import Identity, identity_from_faces
from ..identity.library import OCCLUDERS, PARSERS, ModelLibrary, add_embeddings, mask_network
from ..identity.people import LETTERS, Person, person_from_picture
from ..landmarks.bundled import landmarks68
from ..masks.covers import Hidden
from ..masks.face_masks import SIZE, TEMPLATE, MaskChoice, occluded, parsed_regions
from .swapper import missing_converter
from .task import Landmarks, Networks

# What a face parser calls a face, with clear glasses before it.
FACE_REGIONS = ("skin", "brows", "eyes", "glasses", "ears", "nose", "mouth", "lips", "neck")


def networks_for(swapper: Model | None, library: ModelLibrary, landmarks: Landmarks | None = None) -> Networks:
    """A swapper (None to fuse without) with its converter, the bundled landmarker, and the user's other networks.

    Raises ModelFileError when a converter is needed and not there.
    """

    def recognise(person: Person, report: Report) -> Identity:
        assert person.picture is not None and person.face is not None
        picture = checked_frames(torch.from_numpy(np.ascontiguousarray(person.picture)))
        face, networks = replace(person.face, frame=0), replace(library, report=report)
        recognised_faces = add_embeddings(picture, [face], networks, RECOGNISER)
        return identity_from_faces(person.name, recognised_faces)

    def bundled_landmarks(faces: Sequence[tuple[np.ndarray, Face]], report: Report) -> list[np.ndarray]:
        return landmarks68(faces, library.budget, library.host, report)

    def occlude(frames: torch.Tensor, faces: Sequence[Face], report: Report) -> list[Hidden] | None:
        return occlusion(frames, faces, replace(library, report=report))

    converter = None if swapper is None else converter_for(swapper, library)
    return Networks(swapper, converter, recognise, landmarks or bundled_landmarks, occlude)


def occlusion(frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary) -> list[Hidden] | None:
    """What the user's occluder, or else a face parser, does not see of faces; None where neither is there.

    frames: as `checked_frames` gives them. Raises what `ModelLibrary.infer` raises.
    """
    affines = [align.affine_for(face.landmarks, TEMPLATE, SIZE) for face in faces]
    networks: tuple[tuple[Kind, tuple[str, ...]], ...] = ("mask", OCCLUDERS), ("parser", PARSERS)
    for kind, cards in networks:
        try:
            network = mask_network(library, kind, cards, len(faces))
        except ModelFileError:  # none is there
            continue
        if kind == "mask":
            free = occluded(faces, affines, frames, network)
        else:
            free = parsed_regions(faces, affines, frames, network, MaskChoice(regions=FACE_REGIONS))
        packed = [np.packbits(1 - inside) for inside in free]
        # A parser has one class for all glasses, of which clear ones hide nothing: colours must tell.
        crops = zip(packed, affines, strict=True)
        return [Hidden(bits, SIZE, affine, told=kind == "parser") for bits, affine in crops]
    return None


def converter_for(swapper: Model, library: ModelLibrary) -> Model | None:
    """The network that a swapper's identities go through; None where there is none. Raises ModelFileError."""
    card = swapper.spec.card
    if card.kind != "swapper" or card.converter is None:
        return None
    try:
        file = library.file("converter", (card.converter,))
    except ModelFileError as error:
        raise ModelFileError(missing_converter(card)) from error
    return open_model(file.path, host=library.host, opening=Opening(budget=library.budget))


def people_from(
    identities: list[Identity | None],
    pictures: torch.Tensor | None,
    faces: Faces | None,
    library: ModelLibrary,
    detection: DetectionSettings = DEFAULT_DETECTION,
) -> list[Person]:
    """People A, B, C ... from identities and the frames of source pictures, the first of each being A.

    identities: None where only a picture is given. pictures: (N, H, W, C), one person each. faces: theirs, None to
    detect them now as `detection` says. Raises FacesError for a picture that does not show one face well.
    """
    frames = None if pictures is None else checked_frames(pictures)
    if frames is not None and faces is None:
        faces = detect_faces(frames, library.host, detection, library.budget, library.report)
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
