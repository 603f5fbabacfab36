"""Networks that look at faces: found among the user's files, run inside the budget, and only when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from ...catalog.card import Kind, ModelCard
from ...catalog.cards.readers import AURAFACE, BUNDLED_RECOGNISER, RECOGNISER
from ...catalog.found import Found, best
from ...engines.host import Host, StandaloneHost
from ...engines.job import Job
from ...engines.memory.budget import AUTOMATIC, MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.network import Infer, Tensors
from ...engines.plan import plan
from ...errors import ModelFileError
from ...models.opening import Opening, open_model
from .. import align
from ..face import Face
from ..landmarks.bundled import landmarks68
from ..landmarks.network import with_landmarks
from ..masks.face_masks import MaskNetwork, network_input
from .bundled import bundled_embeddings
from .identity import BESIDE, Combine, Identity, identity_from_faces

# Names of cards that do the same, best first.
RECOGNISERS = (RECOGNISER, AURAFACE)
LANDMARKERS = ("2dfan4", "fan_68_5")
OCCLUDERS = ("xseg", "dfl_xseg", "occluder")
PARSERS = ("bisenet",)


@dataclass(frozen=True, eq=False)
class ModelLibrary:
    """The user's model files and the conditions under which they are run.

    search: finds the files; it is called when the first network is needed, and finds none unless it is given.
    commercial_only: take only files whose licence is known to allow commercial use.
    """

    search: Callable[[], Sequence[Found]] = tuple
    budget: MemoryBudget = AUTOMATIC
    host: Host = field(default_factory=StandaloneHost)
    commercial_only: bool = False
    report: Report = field(default_factory=Report)

    def file(self, kind: Kind, cards: Sequence[str]) -> Found:
        """The best file of a kind. Raises ModelFileError, which says where to get one."""
        return best(self._found, kind, cards, self.commercial_only)

    @cached_property
    def _found(self) -> Sequence[Found]:
        """Looked for once, however many networks of however many pictures are asked for: every file is read."""
        return self.search()

    def detector(self, name: str) -> Found:
        """The best file of a detector. Raises ModelFileError."""
        return self.file("detector", (name,))

    def infer(self, file: Found, count: int, stage: str) -> Infer:
        """Runs a file's network on `count` items; it is loaded when the first one is asked for.

        Networks that are asked one after the other are never in memory together. Raises, when it is iterated,
        ModelFileError, BudgetError, DependencyError.
        """

        def run(items: Iterable[Tensors]) -> Iterator[Tensors]:
            model = open_model(file.path, host=self.host, opening=Opening(budget=self.budget))
            work = Work(*(model.spec.size or (1, 1)), count, tiled=False)
            job = Job(model, work, self.budget, self.host, stage=stage, is_main=False)
            with plan(job).open(self.report) as opened:
                yield from opened.infer(items)

        return run


def add_embeddings(
    frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary, recogniser: str = ""
) -> list[Face]:
    """The faces with a recogniser's vector of each, as it comes. frames: as `checked_frames` gives them.

    recogniser: the card of the one that is wanted; "" for the user's best, or else the bundled one. Raises
    ModelFileError when one is wanted that is not there.
    """
    if not faces:
        return []
    file = None
    if recogniser != BUNDLED_RECOGNISER:
        try:
            file = library.file("recogniser", (recogniser,) if recogniser else RECOGNISERS)
        except ModelFileError:
            if recogniser:
                raise
    if file is None:
        seen = [(frames[face.frame].numpy(), face) for face in faces]
        vectors = bundled_embeddings(seen, library.budget, library.host, library.report)
        return [
            replace(face, embedding=vector, recogniser=BUNDLED_RECOGNISER)
            for face, vector in zip(faces, vectors, strict=True)
        ]
    assert file.card is not None
    infer = library.infer(file, len(faces), "recognise")
    vectors = [vector.numpy().ravel() for (vector, *_) in infer(aligned(frames, faces, file.card))]
    name = file.card.name
    return [replace(face, embedding=vector, recogniser=name) for face, vector in zip(faces, vectors, strict=True)]


def identity_of(
    name: str, frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary, combine: Combine = "mean"
) -> Identity:
    """Somebody from faces of theirs, by the user's best recogniser, with the bundled one's vector beside its own.

    frames: as `checked_frames` gives them. Raises FacesError without a face.
    """
    identity = identity_from_faces(name, add_embeddings(frames, faces, library), combine)
    if identity.recogniser == BUNDLED_RECOGNISER:
        return identity
    seen = identity_from_faces(name, add_embeddings(frames, faces, library, BUNDLED_RECOGNISER), combine)
    return replace(identity, others={**identity.others, BESIDE: seen.embedding})


def add_landmarks68(frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary) -> list[Face]:
    """The faces with their 68 points, by the user's landmark network or else the bundled one.

    frames: as `checked_frames` gives them.
    """
    if not faces:
        return []
    try:
        file = library.file("landmarker", LANDMARKERS)
    except ModelFileError:  # none is there
        found_points = landmarks68(
            [(frames[face.frame].numpy(), face) for face in faces], library.budget, library.host, library.report
        )
        return [replace(face, landmarks68=points) for face, points in zip(faces, found_points, strict=True)]
    assert file.card is not None
    return with_landmarks(frames, faces, file.card, library.infer(file, len(faces), "landmarks"))


def aligned(frames: torch.Tensor, faces: Sequence[Face], card: ModelCard) -> Iterator[Tensors]:
    """Each face's crop in the template and size of a card, as its network wants it."""
    assert card.size is not None and card.template is not None
    for face in faces:
        affine = align.affine_for(face.landmarks, card.template, card.size)
        yield (network_input(align.crop_face(frames[face.frame].numpy(), affine, card.size), card),)


def mask_network(library: ModelLibrary, kind: Kind, cards: Sequence[str], count: int) -> MaskNetwork:
    """The best network of a kind for the masks of `count` faces. Raises ModelFileError when none is there."""
    file = library.file(kind, cards)
    assert file.card is not None
    return MaskNetwork(file.card, library.infer(file, count, kind))
