"""What a swap is asked for: settings, the networks that it may run, and the pairs of faces and people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...engines.checks import check_numbers
from ...engines.host import Host
from ...engines.job import DEFAULTS, Options
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.report import Report
from ...engines.network import Model
from ...errors import FacesError, SettingError
from ..detect.settings import DEFAULT_DETECTION, DetectionSettings
from ..face import Face, Faces
from ..fuse import classic
from ..identity.guard import Witness
from ..identity.identity import Identity
from ..identity.keeping import NOT_KEPT, Keeping
from ..identity.people import Person, parse_map
from ..masks.covers import Hidden
from . import boost

# Finds the 68 points (68, 2) of faces, each with its frame (H, W, 3 or 4).
Landmarks = Callable[[Sequence[tuple[np.ndarray, Face]], Report], Sequence[np.ndarray]]
# What a network does not see of each face, in the order of the faces; None where the user has no such network.
Occlude = Callable[[torch.Tensor, Sequence[Face], Report], Sequence[Hidden] | None]
# Looks at the face of a person with a picture through the recogniser.
Recognise = Callable[[Person, Report], Identity]

Pairs = Sequence[tuple[Face, int]]


@dataclass(frozen=True, eq=False)
class Swapping:
    """How faces are swapped.

    faces: detected before, None to detect them.
    mask: (B or 1, H, W) float32 0..1, where the user wants it.
    options: for the swapper.
    detection: how faces are looked for, and the smallest that is swapped.
    strength: 0..1, 0 leaves the faces alone.
    colour: 0..1, how far the new face takes the frame's colours.
    boost: px that a face is swapped at, in samples of the network's own size; 0 for that size alone.
    shape, texture: 0..1, the weights of a fusion without a network.
    people: which face becomes whom, such as "0:A, 1:B"; empty for all A.
    keeping: whether the faces' likeness is watched and kept.
    Raises SettingError.
    """

    faces: Faces | None = None
    mask: torch.Tensor | None = None
    options: Options = DEFAULTS
    detection: DetectionSettings = DEFAULT_DETECTION
    strength: float = 1.0
    colour: float = 1.0
    boost: int = 0
    shape: float = 0.5
    texture: float = 1.0
    people: str = ""
    keeping: Keeping = NOT_KEPT
    mapping: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        check_numbers(strength=self.strength)
        if not 0 <= self.strength <= 1:
            raise SettingError(f"The strength must be between 0 and 1, not {self.strength}.")
        classic.Weights(self.shape, self.texture, self.colour)
        boost.factor_for(1, self.boost)
        object.__setattr__(self, "mapping", parse_map(self.people))

    @property
    def weights(self) -> classic.Weights:
        """Of a fusion without a network: a weaker one is a smaller step towards the source, not a ghost of it."""
        return classic.Weights(self.shape * self.strength, self.texture * self.strength, self.colour)


@dataclass(frozen=True, eq=False)
class Networks:
    """What a swap may run. swapper: None to fuse without a network. converter: of those that need one.

    recognise, landmarks: called for people and faces that lack a vector or 68 points, where those are needed.
    occlude: looks for what stands before faces; without, and where it knows nothing, colours and edges tell.
    """

    swapper: Model | None = None
    converter: Model | None = None
    recognise: Recognise | None = None
    landmarks: Landmarks | None = None
    occlude: Occlude | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """What both ways of swapping need to know. mask: (1 or B, H, W) float32, or None. witness: looks at the faces."""

    pairs: Pairs
    people: Sequence[Person]
    networks: Networks
    swapping: Swapping
    budget: MemoryBudget
    host: Host
    mask: torch.Tensor | None
    witness: Witness

    def vector_of(self, place: int) -> np.ndarray | None:
        """What the witness knows a person by, (128,); None where it does not look or has nothing to look at."""
        person = self.people[place]
        if person.picture is not None and person.face is not None:
            return self.witness.vector(person.picture, person.face.landmarks)
        return None if person.identity is None else person.identity.bundled

    def mask_of(self, face: Face) -> np.ndarray | None:
        return None if self.mask is None else self.mask[face.frame if len(self.mask) > 1 else 0].numpy()


def with_points(
    frames: torch.Tensor, pairs: Pairs, landmarks: Landmarks | None, report: Report
) -> list[tuple[Face, int]]:
    """The pairs with the 68 points of each face. Raises FacesError where nothing finds them."""
    unknown = [face for face, _ in pairs if face.landmarks68 is None]
    if unknown and landmarks is None:
        raise FacesError("A face has no 68 points, which blending without a model needs: detect them first.")
    points_of: dict[int, np.ndarray] = {}
    if unknown and landmarks is not None:
        points = landmarks([(frames[face.frame].numpy(), face) for face in unknown], report)
        points_of = {id(face): found_points for face, found_points in zip(unknown, points, strict=True)}
    return [(replace(face, landmarks68=points_of.get(id(face), face.landmarks68)), person) for face, person in pairs]


def find_hidden(frames: torch.Tensor, pairs: Pairs, networks: Networks, report: Report) -> Sequence[Hidden | None]:
    """What a network says of each face, before another network is loaded; None where none is asked."""
    if networks.occlude is None or not pairs:
        return [None] * len(pairs)
    with report.stage("occlusion"):
        hidden = networks.occlude(frames, [face for face, _ in pairs], report)
    return [None] * len(pairs) if hidden is None else hidden
