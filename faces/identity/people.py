"""Who goes into which face: people, the pictures they come from, and the map from face numbers to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines.checks import check_text
from ...errors import FacesError, SettingError
from ..face import Face, Faces
from .identity import Identity
from .select import parse_indices

LEAST_SOURCE = 64  # px of a source face's shorter side
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LISTED = 8  # frames that a note names


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody whose face is put into others.

    identity: a recogniser's vector, for most networks. picture: (H, W, 3 or 4) float32 0..1 RGB, and face in it: for
    networks that look at pictures, and where no network is used. One of the two is there.
    """

    name: str
    identity: Identity | None = None
    picture: np.ndarray | None = None
    face: Face | None = None


def person_from_picture(name: str, picture: np.ndarray, faces: Sequence[Face]) -> Person:
    """Somebody from a picture and the faces that were found in it, of which there must be one, large and from the
    front. Raises FacesError.
    """
    if not faces:
        raise FacesError(
            f"There is no face in the source picture of {name}. Use a picture that shows one face from the front."
        )
    if len(faces) > 1:
        raise FacesError(
            f"There are {len(faces)} faces in the source picture of {name}, but one is needed: crop the picture, or "
            "choose one with Select Faces."
        )
    (face,) = faces
    x0, y0, x1, y1 = (float(value) for value in face.box)
    if min(x1 - x0, y1 - y0) < LEAST_SOURCE:
        raise FacesError(
            f"The source face of {name} has {x1 - x0:.0f} x {y1 - y0:.0f} px, which shows too little of a person: use "
            f"a picture in which it has {LEAST_SOURCE} px or more."
        )
    if is_profile(face.landmarks):
        raise FacesError(
            f"The source face of {name} is seen from the side, so half of it is missing: use a picture from the front."
        )
    return Person(name, None, picture, face)


def is_profile(landmarks: np.ndarray) -> bool:
    """Whether the nose of five points (5, 2) lies as far out as an eye: the head is turned by about 40 degrees."""
    left, right, nose = np.asarray(landmarks, np.float64)[:3]
    axis = right - left
    length = float(axis @ axis)
    return length == 0 or not 0.0 < float((nose - left) @ axis) / length < 1.0


def parse_map(text: str) -> dict[int, str]:
    """Face numbers and names of people, from text such as "0:A, 1:B" or "0-2:A"; empty for an empty text.

    Raises SettingError.
    """
    check_text("people", text)
    by_number: dict[int, str] = {}
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        numbers, colon, name = (text.strip() for text in part.partition(":"))
        if not colon or not name or not numbers:
            raise SettingError(
                f"{part.strip()!r} is not a face and a person; write the face's number, a colon and the person, "
                "such as 0:A, 1:B."
            )
        for number in parse_indices(numbers):
            if by_number.setdefault(number, name) != name:
                raise SettingError(
                    f"Face {number} is assigned to both {by_number[number]} and {name}. Choose one of them."
                )
    return by_number


def named(people: Sequence[Person], name: str) -> int:
    """The place of the person that a letter (A is the first) or a name means. Raises SettingError."""
    for index, person in enumerate(people):
        if name.lower() in (LETTERS[index].lower(), person.name.lower()):
            return index
    offered = ", ".join(f"{LETTERS[index]} ({person.name})" for index, person in enumerate(people))
    raise SettingError(f"There is no person {name!r}; there are {offered}.")


def assigned(
    faces: Faces, mapping: Mapping[int, str], people: Sequence[Person]
) -> tuple[list[tuple[Face, int]], list[str]]:
    """Each face that is to be changed with its person's place, frame by frame, and notes for the report.

    Without a mapping every face becomes the first person. Raises SettingError, FacesError without people.
    """
    if not people:
        raise FacesError("There is nobody to put into the faces: connect an identity or a source picture.")
    wanted = {number: named(people, name) for number, name in mapping.items()}
    pairs, empty, fewer = [], [], []
    for index, of_frame in enumerate(faces.frames):
        if not of_frame:
            empty.append(index)
        elif any(number >= len(of_frame) for number in wanted):
            fewer.append(index)
        for number, face in enumerate(of_frame):
            if not wanted:
                pairs.append((face, 0))
            elif number in wanted:
                pairs.append((face, wanted[number]))
    notes = []
    if empty:
        notes.append(f"no face was found in {_frames(empty)}: unchanged")
    if fewer:
        notes.append(f"fewer faces than people assigns in {_frames(fewer)}")
    return pairs, notes


def _frames(indices: list[int]) -> str:
    if len(indices) == 1:
        return f"frame {indices[0]}"
    listed = ", ".join(map(str, indices[:LISTED]))
    if len(indices) > LISTED:
        listed = f"{listed} and {len(indices) - LISTED} more"
    return f"{len(indices)} frames ({listed})"
