"""How alike faces stay while they are worked on: told in the report, and kept where the user wants it.

The bundled recogniser looks at a face before, after the network and after it was pasted. A restorer that takes damage
away must move what it says a little; one that moves it far, or away from a person who is known, is held back. Around
eyes, nose and mouth what is coarse goes back to what came in: it says who somebody is, and damage hardly reaches it.
Skin, hair and all fine detail stay restored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ...engines.cache import SESSIONS
from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.report import FaceLikeness, Report
from ...engines.torch.architectures.slim_embedder import SIDE
from ...models.built_in import LoadedTool
from ...opencv import cv2
from ..align import enlargement, similarity
from ..face import Face, Faces
from ..paste import without_nan
from .bundled import EMBEDDER, TEMPLATE, Look, Recogniser, chip, vector_of
from .keeping import LOOK_BYTES, NOT_KEPT, Keeping
from .select import likeness

TOLD = 16  # faces of a run whose likeness the report tells; more only where they were held back
MOST_TOLD = 200
CHIP_POINTS = (TEMPLATE * SIDE).astype(np.float32)  # a face's five in the recogniser's crop
# How far a face may move, as distances of the recogniser's vectors; people are told apart at 0.48. Half of the London
# faces that moved further lost likeness, and the most; below it no measure told those that lose from those that gain.
MOST_MOVED = {"auto": 0.19, "strong": 0.13}
LITTLE_MOVED = 0.065  # so little as faces with light damage move, which have little to gain and finer shapes to lose
NEARLY = 0.01  # further from a person who is known is no further
CORE_LEVEL = 1.3  # of the bumps that `core` is made of before they are cut off at 1
MOST_LOST = {"auto": 0.03, "strong": 0.01}  # further from who is wanted by the frame's colours


@dataclass(frozen=True)
class Hold:
    """What of a change is held back: what is coarse around eyes, nose and mouth.

    width: how far around them, as a part of the distance between the eyes. coarse: sigma in px of the recogniser's
    crop; what is coarser stays as it came in. share: 0..1 of the change that is left at all.
    """

    width: float = 0.0
    coarse: float = 0.0
    share: float = 1.0

    def applied(self, before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
        """A changed picture (H, W, 3) with less of the change. points: the face's five in it."""
        if self.share == 0:
            return before
        if self.width == 0:
            return after
        sigma = self.coarse * enlargement(similarity(points, TEMPLATE * SIDE))
        held = cv2.GaussianBlur(after - before, (0, 0), sigma)
        held *= core(points, (before.shape[0], before.shape[1]), self.width)[..., None]
        return np.asarray(np.subtract(after, held, out=held), np.float32)


FREE, SHAPES, FINE_SHAPES, WHOLE = Hold(), Hold(0.42, 1.0), Hold(0.6, 0.6), Hold(share=0.0)


def core(points: np.ndarray, shape: tuple[int, int], width: float) -> np.ndarray:
    """Where eyes, nose and mouth are, (H, W) float32 0..1. width: as in `Hold`."""
    left, right, nose, *mouth = np.asarray(points, np.float32)
    sigma = width * float(np.hypot(*(right - left)))
    result = np.zeros(shape, np.float32)
    for x, y in (left, right, nose, *mouth, (left + right) / 2, (mouth[0] + mouth[1]) / 2):
        rows, columns = (
            np.exp(-((np.arange(length, dtype=np.float32) - at) ** 2) / (2 * sigma**2))
            for length, at in zip(shape, (y, x), strict=True)
        )
        np.maximum(result, CORE_LEVEL * rows[:, None] * columns, out=result)
    return np.minimum(result, 1, out=result)


def place_of(face: Face) -> tuple[int, bytes]:
    """What stays of a face when more becomes known of it."""
    return face.frame, face.box.tobytes()


@contextlib.contextmanager
def witness(keeping: Keeping, faces: Faces, budget: MemoryBudget, host: Host, report: Report) -> Iterator[Witness]:
    """The recogniser for the length of a run, on the CPU, in the host's list of loaded networks as others are."""
    numbers = {place_of(face): number for of_frame in faces.frames for number, face in enumerate(of_frame)}
    if not keeping.looks:
        yield Witness(keeping, None, report, numbers)
        return
    cpu = torch.device("cpu")
    with SESSIONS.lease(EMBEDDER, cpu, "fp32", LOOK_BYTES, host) as session:
        tool = session.open()
        assert isinstance(tool, LoadedTool) and isinstance(tool.tool, Recogniser)
        look = tool.tool.exact if keeping.keeps else tool.tool.quick
        seen = Witness(keeping, look, report, numbers)
        yield seen
        report.likeness += seen.rows()
    if not budget.keep_loaded:
        SESSIONS.release(cpu)


@dataclass
class Told:
    """What is known of one face so far. before: the vector of what came in. held_back: 0..1."""

    face: Face
    before: np.ndarray
    person: np.ndarray | None
    itself: dict[str, float] = field(default_factory=dict)
    like_person: dict[str, float] = field(default_factory=dict)
    held_back: float = 0.0

    def tell(self, step: str, vector: np.ndarray) -> None:
        self.itself[step] = round(likeness(self.before, vector), 4)
        if self.person is not None:
            self.like_person[step] = round(likeness(self.person, vector), 4)


@dataclass
class Witness:
    """The recogniser beside a run. Without a network it sees nothing and lets everything pass.

    numbers: of each face in its frame, by `place_of`.
    """

    keeping: Keeping = NOT_KEPT
    network: Look | None = None
    report: Report = field(default_factory=Report)
    numbers: dict[tuple[int, bytes], int] = field(default_factory=dict)
    told: dict[int, Told] = field(default_factory=dict)

    def sees(self) -> bool:
        """Whether the next face is looked at: where identity is kept every one, else those that are told."""
        return self.network is not None and (self.keeping.mode != "off" or len(self.told) < TOLD)

    def begin(self, face: Face, frame: np.ndarray, person: np.ndarray | None) -> Told | None:
        """Looks at a face as it came in. person: (128,) of who is wanted there. None: the face is not looked at."""
        if self.network is None or not self.sees():
            return None
        with self.report.stage("recognise"):
            old = vector_of(self.network, chip(frame, face.landmarks))
        seen = Told(face, old, person)
        self.told[id(face)] = seen
        return seen

    def restored(
        self, face: Face, frame: np.ndarray, crop: np.ndarray, picture: np.ndarray, points: np.ndarray
    ) -> np.ndarray:
        """What a network made of a face, as far as the face stays alike.

        frame: what came in. crop, picture: what the network was given and what it made, both (H, W, 3) float32 0..1,
        and the face's five points in them.
        """
        seen = self.begin(face, frame, self.keeping.reference)
        if seen is None or self.network is None:
            return picture
        with self.report.stage("recognise"):
            before, after = chip(frame, face.landmarks), chip(picture, points)
            seen.tell("restored", vector_of(self.network, after))
            if self.keeping.mode == "off":
                return picture
            hold = self._chosen(before, after, seen.before)
            change = float(np.abs(after - before).mean())
            stays = float(np.abs(hold.applied(before, after, CHIP_POINTS) - before).mean())
            seen.held_back = round(1 - stays / change, 2) if change > 0 else 0.0
            return hold.applied(without_nan(crop), picture, points)

    def _chosen(self, before: np.ndarray, after: np.ndarray, old: np.ndarray) -> Hold:
        """What is held back of a change, so that the face stays as near to who is shown as it has to be.

        before, after: crops (150, 150, 3). old: the vector of the first.
        """
        person = self.keeping.reference
        if person is None:
            distance = self._apart(before, after, SHAPES, old)
            if distance > MOST_MOVED[self.keeping.mode]:
                return WHOLE
            return SHAPES if distance >= LITTLE_MOVED else FINE_SHAPES
        limit = NEARLY + float(np.linalg.norm(old - person))
        holds = (FREE, SHAPES, FINE_SHAPES) if self.keeping.mode == "auto" else (SHAPES, FINE_SHAPES)
        return next((hold for hold in holds if self._apart(before, after, hold, person) <= limit), WHOLE)

    def _apart(self, before: np.ndarray, after: np.ndarray, hold: Hold, vector: np.ndarray) -> float:
        """How far a vector (128,) is from the face that a hold makes of two crops."""
        assert self.network is not None
        left = hold.applied(before, after, CHIP_POINTS).clip(0, 1)
        return float(np.linalg.norm(vector_of(self.network, left) - vector))

    def coloured(self, pictures: Sequence[np.ndarray], points: np.ndarray, person: np.ndarray | None) -> int:
        """Which of a swapped face's pictures is used: the first that is nearly as like the person as the last.

        pictures: from the colours that the user wants to those of the network. points: the face's five in them.
        """
        if self.network is None or person is None or self.keeping.mode == "off":
            return 0
        with self.report.stage("recognise"):
            most = MOST_LOST[self.keeping.mode]
            far = [float(np.linalg.norm(vector_of(self.network, chip(one, points)) - person)) for one in pictures]
        return next(place for place, distance in enumerate(far) if distance <= far[-1] + most)

    def vector(self, picture: np.ndarray, points: np.ndarray) -> np.ndarray | None:
        """The recogniser's vector (128,) of a face in a picture by its five points; None where nobody looks."""
        return None if self.network is None else vector_of(self.network, chip(picture, points))

    def step(self, face: Face, step: str, picture: np.ndarray, points: np.ndarray) -> None:
        """Tells how alike a face is after a step. picture: (H, W, 3 or 4) with the face's five points in it."""
        seen = self.told.get(id(face))
        if seen is not None and self.network is not None:
            with self.report.stage("recognise"):
                seen.tell(step, vector_of(self.network, chip(picture, points)))

    def rows(self) -> list[FaceLikeness]:
        """What the report tells: of the first faces, and of those that were held back."""
        chosen = [seen for place, seen in enumerate(self.told.values()) if place < TOLD or seen.held_back > 0]
        return [
            FaceLikeness(
                seen.face.frame, self.numbers.get(place_of(seen.face), 0), seen.itself, seen.like_person, seen.held_back
            )
            for seen in chosen[:MOST_TOLD]
        ]
