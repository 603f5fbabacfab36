"""Networks that look at faces: found among the user's files, run inside the budget, and only when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from ...catalog.families import Family, Kind
from ...catalog.found import Found, best
from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.planning import Job
from ...engines.run import open_run
from ...engines.session import Infer, Tensors
from ...errors import ModelFileError
from ...models.opening import blueprint_from_path
from .. import align
from ..face import Face
from ..landmarks.bundled import landmarks68
from ..landmarks.network import with_landmarks
from ..masks.face_masks import MaskNetwork, network_input

# Families that do the same, best first.
RECOGNISERS = ("arcface",)
LANDMARKERS = ("2dfan4", "fan_68_5")
OCCLUDERS = ("xseg", "dfl_xseg", "occluder")
PARSERS = ("bisenet",)


@dataclass(frozen=True, eq=False)
class ModelLibrary:
    """The user's model files and the conditions under which they are run.

    search: finds the files; it is called when the first network is needed, and only then. commercial_only: take only files whose
    licence is known to allow commercial use.
    """

    search: Callable[[], Sequence[Found]]
    budget: MemoryBudget
    host: Host
    commercial_only: bool = False
    report: Report = field(default_factory=Report)

    def file(self, kind: Kind, families: Sequence[str]) -> Found:
        """The best file of a kind. Raises ModelFileError, which says where to get one."""
        return best(self._found, kind, families, self.commercial_only)

    @cached_property
    def _found(self) -> Sequence[Found]:
        """Looked for once, however many networks of however many pictures are asked for: every file is read."""
        return self.search()

    def detector(self, name: str) -> Found:
        """The best file of a detector. Raises ModelFileError."""
        return self.file("detector", (name,))

    def infer(self, found: Found, count: int, stage: str) -> Infer:
        """Runs a file's network on `count` items; it is loaded when the first one is asked for.

        Networks that are asked one after the other are never in memory together. Raises, when it is iterated,
        ModelFileError, BudgetError, DependencyError.
        """

        def run(items: Iterable[Tensors]) -> Iterator[Tensors]:
            blueprint = blueprint_from_path(found.path, found.path.name, self.host, mode=self.budget.mode)
            height, width = blueprint.spec.size or (1, 1)
            job = Job(blueprint, Work(height, width, count, tiled=False), self.budget, self.host, stage=stage)
            with open_run(job, self.report) as opened:
                yield from opened.infer(items)

        return run


def add_embeddings(frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary) -> list[Face]:
    """The faces with the recogniser's vector of each, as it comes. frames: as `checked_frames` gives them.

    Raises ModelFileError when no recogniser is there.
    """
    if not faces:
        return []
    found = library.file("recogniser", RECOGNISERS)
    assert found.family is not None
    infer = library.infer(found, len(faces), "recognise")
    vectors = [vector.numpy().ravel() for (vector, *_) in infer(aligned(frames, faces, found.family))]
    return [replace(face, embedding=vector) for face, vector in zip(faces, vectors, strict=True)]


def add_landmarks68(frames: torch.Tensor, faces: Sequence[Face], library: ModelLibrary) -> list[Face]:
    """The faces with their 68 points, by the user's landmark network or else the bundled one.

    frames: as `checked_frames` gives them.
    """
    if not faces:
        return []
    try:
        found = library.file("landmarker", LANDMARKERS)
    except ModelFileError:  # none is there
        return [replace(face, landmarks68=landmarks68(frames[face.frame].numpy(), face)) for face in faces]
    assert found.family is not None
    return with_landmarks(frames, faces, found.family, library.infer(found, len(faces), "landmarks"))


def aligned(frames: torch.Tensor, faces: Sequence[Face], family: Family) -> Iterator[Tensors]:
    """Each face's crop in the template and size of a family, as its network wants it."""
    assert family.size is not None and family.template is not None
    for face in faces:
        affine = align.affine_for(face.landmarks, family.template, family.size)
        yield (network_input(align.crop_face(frames[face.frame].numpy(), affine, family.size), family),)


def mask_network(library: ModelLibrary, kind: Kind, families: Sequence[str], count: int) -> MaskNetwork:
    """The best network of a kind for the masks of `count` faces. Raises ModelFileError when none is there."""
    found = library.file(kind, families)
    assert found.family is not None
    return MaskNetwork(found.family, library.infer(found, count, kind))
