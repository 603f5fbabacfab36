"""Which faces are meant: by the numbers that are shown, by order, score, gender, age, or likeness to somebody."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from ...engines.checks import check_numbers
from ...errors import FacesError, SettingError
from ..face import Face, Faces

Order = Literal["as found", "left", "right", "top", "bottom", "large", "small", "best"]
ORDERS: tuple[str, ...] = get_args(Order)
GENDERS = ("any", "female", "male")
MOST_FACES = 10_000  # in one frame: numbers from here on are mistakes
OLDEST = 120  # years, above what any network gives
BUNDLED_DIMENSION = 128  # of the bundled recogniser's vectors
# People are told apart at this distance of the bundled recogniser's vectors, and at this likeness in general.
SAME_PERSON, SAME_LIKENESS = 0.48, 0.3

# Looks at faces with a network and returns them, in the same order, with what it has found.
AddFacts = Callable[[list[Face]], Sequence[Face]]


def _middle(face: Face, axis: int) -> float:
    return float(face.box[axis] + face.box[axis + 2])


def _area(face: Face) -> float:
    return float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


_KEYS: dict[str, Callable[[Face], float]] = {
    "left": lambda face: _middle(face, 0),
    "right": lambda face: -_middle(face, 0),
    "top": lambda face: _middle(face, 1),
    "bottom": lambda face: -_middle(face, 1),
    "large": lambda face: -_area(face),
    "small": _area,
    "best": lambda face: -face.score,
}


@dataclass(frozen=True, eq=False)
class Choice:
    """What a face must have to be selected; the defaults select every face.

    indices: the numbers that Detect Faces shows, in every frame; () for all. order, count: of those that are left,
    the first so many of each frame; 0 for all. score: 0..1, the detector's least confidence. gender: one of
    GENDERS. youngest, oldest: years, both included; a face of an age range counts when the ranges touch.
    reference: (D,) somebody's embedding, recogniser: the card of the network that made it, "" where all embeddings
    come from one; likeness: the least one to it, -1..1. Raises SettingError.
    """

    indices: tuple[int, ...] = ()
    order: Order = "as found"
    count: int = 0
    score: float = 0.0
    gender: str = "any"
    youngest: int = 0
    oldest: int = OLDEST
    reference: np.ndarray | None = None
    likeness: float = 0.3
    recogniser: str = ""

    def __post_init__(self) -> None:
        check_numbers(score=self.score, count=self.count, likeness=self.likeness)
        check_numbers(youngest=self.youngest, oldest=self.oldest)
        if self.order not in ORDERS or self.gender not in GENDERS:
            raise SettingError(
                f"There is no order {self.order!r} or gender {self.gender!r}; there are {', '.join(ORDERS)} and "
                f"{', '.join(GENDERS)}."
            )
        if not 0 <= self.score <= 1 or not -1 <= self.likeness <= 1 or not 0 <= self.count < math.inf:
            raise SettingError(
                "The score must be between 0 and 1, the likeness between -1 and 1, and the count 0 or more; they are "
                f"{self.score}, {self.likeness} and {self.count}."
            )
        if not 0 <= self.youngest <= self.oldest < math.inf:
            raise SettingError(f"No face is from {self.youngest} to {self.oldest} years old: exchange the two ages.")

    @property
    def asks_attributes(self) -> bool:
        """Whether gender or age of a face matter."""
        return self.gender != "any" or self.youngest > 0 or self.oldest < OLDEST


def parse_indices(text: str) -> tuple[int, ...]:
    """Face numbers from text such as "0, 2-4"; () for an empty text. Raises SettingError."""
    indices: list[int] = []
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        try:
            first, _, last = (text.strip() for text in part.partition("-"))
            start, stop = int(first), int(last or first)
        except ValueError as error:
            raise SettingError(f"{part.strip()[:40]!r} is not a face number; write numbers such as 0, 2-4.") from error
        if not 0 <= start <= stop < MOST_FACES:
            raise SettingError(
                f"{part.strip()[:40]!r} is not a range of face numbers below {MOST_FACES}; write the smaller "
                "number first."
            )
        indices += range(start, stop + 1)
    return tuple(dict.fromkeys(indices))


def select(
    faces: Faces, choice: Choice, attributes: AddFacts | None = None, embeddings: AddFacts | None = None
) -> Faces:
    """The faces of each frame that fit, in the order asked for. Frames stay, even without a face.

    attributes, embeddings: networks for gender and age, and for likeness; they see only faces that fit in all that
    is known without them, and are not called where the choice does not ask. What they find stays with the faces.
    Raises FacesError for a number that no frame has, and for a network that is needed and missing.
    """
    frames = [list(of_frame) for of_frame in faces.frames]
    if choice.indices:
        frames = _by_index(frames, choice.indices)
    frames = [[face for face in of_frame if face.score >= choice.score] for of_frame in frames]
    if choice.asks_attributes:
        frames = _completed(frames, attributes, lambda face: face.gender is not None and face.age is not None, "gender")
        frames = [[face for face in of_frame if _attributes_fit(face, choice)] for of_frame in frames]
    if choice.reference is not None:
        frames = _completed(frames, embeddings, partial(_is_comparable, choice.recogniser), "likeness")
        reference = choice.reference
        frames = [
            [face for face in of_frame if likeness(face.embedding, reference) >= choice.likeness] for of_frame in frames
        ]
    if choice.order in _KEYS:
        frames = [sorted(of_frame, key=_KEYS[choice.order]) for of_frame in frames]
    return replace(faces, frames=tuple(tuple(of_frame[: choice.count or None]) for of_frame in frames))


def require_face(faces: Faces, what_for: str) -> None:
    """Raises FacesError when there is no face at all."""
    if not faces.count:
        raise FacesError(
            f"There is no face in {len(faces.frames)} frames, but {what_for} needs one. Lower the minimum confidence, "
            "or use another picture."
        )


def likeness(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """How alike two embeddings (D,) are, 1 for the same, -1..1. Raises FacesError when they cannot be compared.

    The cosine; of the bundled recogniser's vectors, which all point about the same way, their distance on a scale on
    which people are told apart at the same value.
    """
    if first is None or second is None:
        raise FacesError("A face has no embedding yet, so it cannot be compared.")
    if first.shape != second.shape or first.ndim != 1:
        raise FacesError(
            f"An embedding of {first.size} numbers cannot be compared with one of {second.size}: they come from "
            "different recognisers. Make the identity again with the recogniser in use."
        )
    a, b = first.astype(np.float64), second.astype(np.float64)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not np.isfinite(length) or length == 0:
        raise FacesError("An embedding is empty or has values that are not numbers: make the identity again.")
    if first.size == BUNDLED_DIMENSION:
        apart = float(((a - b) ** 2).sum()) / SAME_PERSON**2
        return float(np.clip(1 - (1 - SAME_LIKENESS) * apart, -1, 1))
    return float(np.clip(a @ b / length, -1, 1))


def _is_comparable(recogniser: str, face: Face) -> bool:
    return face.embedding is not None and recogniser in ("", face.recogniser)


def _by_index(frames: list[list[Face]], indices: tuple[int, ...]) -> list[list[Face]]:
    most = max((len(of_frame) for of_frame in frames), default=0)
    absent = [index for index in indices if index >= most]
    if absent:
        numbers = f"0 to {most - 1}" if most > 1 else "0 alone" if most else "none"
        raise FacesError(
            f"There is no face {absent[0]}: the frame with the most faces has {most} (numbers: {numbers}). Look at "
            "the numbers in the preview of Detect Faces."
        )
    return [[of_frame[index] for index in indices if index < len(of_frame)] for of_frame in frames]


def _completed(
    frames: list[list[Face]], add_facts: AddFacts | None, is_known: Callable[[Face], bool], what: str
) -> list[list[Face]]:
    """The faces with what a network says about those that it has not seen yet."""
    unknown = [face for of_frame in frames for face in of_frame if not is_known(face)]
    if not unknown:
        return frames
    if add_facts is None:
        raise FacesError(
            f"Selecting by {what} needs the image and a network that looks at the faces: connect the image the "
            "faces were found in."
        )
    answers = iter(add_facts(unknown))
    return [[face if is_known(face) else next(answers) for face in of_frame] for of_frame in frames]


def _attributes_fit(face: Face, choice: Choice) -> bool:
    if choice.gender != "any" and face.gender != choice.gender:
        return False
    if face.age is None:
        return choice.youngest == 0 and choice.oldest == OLDEST
    return face.age[0] <= choice.oldest and face.age[1] >= choice.youngest
