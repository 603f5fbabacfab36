"""Swapping: put people's faces into a batch of frames, through a network or without any.

Stage by stage over the whole batch: identities are converted first, then every face of every frame goes through the
swapper. A restorer comes after that, in a node or call of its own, with the same faces and no second detection; so two
heavy networks are never at work together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from ...catalog.card import ModelCard
from ...catalog.cards.readers import RECOGNISER
from ...engines.host import Host, StandaloneHost
from ...engines.job import Job
from ...engines.memory.budget import AUTOMATIC, MemoryBudget
from ...engines.memory.planner import FLOAT_PIXEL, Work
from ...engines.memory.report import Report
from ...engines.network import Infer, Model, Tensors
from ...engines.plan import plan
from ...errors import BudgetError, FacesError, ModelFileError, SettingError
from .. import align, warp
from ..detect.detection import changeable, detect_faces
from ..face import Face, Faces
from ..frames import checked_frames, checked_mask, empty_mask_note
from ..fuse.colour import matched_colour
from ..identity.guard import witness
from ..identity.people import Person, assigned, is_profile
from ..masks import soft as masks
from ..masks.covers import Cover, Hidden, cover_of
from ..paste import BAND_PIXELS, Canvas
from ..pictures.grey import is_grey, remove_colour
from ..restore import PASTE_PIXEL
from . import boost
from .fusing import NO_MODEL, fuse_pairs
from .swapper import (
    Swapper,
    affine_for,
    identity_input,
    missing_converter,
    picture_input,
    result_of,
    swapper_for,
    target_input,
)
from .task import Networks, Pairs, Recognise, Swapping, Task, find_hidden, with_points

# What a crop is while its colours are matched: itself, its result with a mask, both as L*a*b*, what is pasted.
COLOUR_PIXEL = 6 * FLOAT_PIXEL


@dataclass(frozen=True, eq=False)
class Swapped:
    """frames: as they came in, with other faces. mask: (B, H, W) float32 0..1, how far each pixel was replaced.

    faces: those of the frames, for a restorer behind.
    """

    frames: torch.Tensor
    mask: torch.Tensor
    faces: Faces
    report: Report


def swap_faces(
    frames: torch.Tensor,
    people: Sequence[Person],
    networks: Networks,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
    swapping: Swapping | None = None,
) -> Swapped:
    """Puts people's faces into the faces of a batch; every pixel outside them stays as it was, to the bit.

    frames: (B, H, W, C) 0..1, any kind that `checked_frames` takes. As many frames come out as went in; what had no
    face, or fewer than the map names, is in the report. Raises ImageError, FacesError, BudgetError, ModelFileError,
    SettingError.
    """
    report, host, swapping = Report(), host or StandaloneHost(), swapping or Swapping()
    report.begin(budget)
    frames = checked_frames(frames)
    mask = None if swapping.mask is None else checked_mask(swapping.mask, tuple(frames.shape[:3]))
    faces, detection = swapping.faces, swapping.detection
    report.notes += empty_mask_note(mask)
    smallest_changed = detection.smallest_changed(chosen=faces is not None)
    if faces is None:
        faces = detect_faces(frames, host, detection, budget, report)
    faces.check_size(frames)
    wanted, notes = assigned(faces, swapping.mapping, people)
    report.notes += notes
    usable = set(map(id, changeable([face for face, _ in wanted], smallest_changed, report)))
    pairs = [(face, person) for face, person in wanted if id(face) in usable]
    report.frames, report.faces = len(frames), len(pairs)
    report.model = NO_MODEL if networks.swapper is None else networks.swapper.spec.name
    result, painted = frames.clone(), torch.zeros(frames.shape[:3])
    if pairs and swapping.strength > 0:
        with witness(swapping.keeping, faces, budget, host, report) as seeing:
            task = Task(pairs, people, networks, swapping, budget, host, mask, seeing)
            if networks.swapper is None:
                fuse_pairs(frames, result, painted, task, report)
            else:
                _swap(networks.swapper, frames, result, painted, task, report)
        for index in sorted({face.frame for face, _ in pairs}):
            if is_grey(frames[index].numpy()[..., :3]):
                remove_colour(result[index].numpy(), painted[index].numpy())
    return Swapped(result, painted, faces, report)


def _swap(
    model: Model,
    frames: torch.Tensor,
    result: torch.Tensor,
    painted: torch.Tensor,
    task: Task,
    report: Report,
) -> None:
    """Through a network: identities first, then all crops in batches, each pasted as it comes."""
    swapper = swapper_for(model)
    factor = boost.factor_for(swapper.size, task.swapping.boost)
    sources = _source_inputs(swapper, task, report)
    side = swapper.size * factor
    affines = [affine_for(swapper, face, factor) for face, _ in task.pairs]
    corners = [align.corner_bounds(align.inverse(affine), 0, 0, side, side) for affine in affines]
    box = min(max(int(np.prod(high - low)) for low, high in corners), BAND_PIXELS)
    after = box * PASTE_PIXEL + side**2 * COLOUR_PIXEL + task.swapping.keeping.bytes_for(side**2)
    pairs = task.pairs
    if task.networks.landmarks is not None:
        pairs = with_points(frames, pairs, task.networks.landmarks, report)
    hidden = iter(find_hidden(frames, pairs, task.networks, report))
    wanted = {person: task.vector_of(person) for person in sorted({person for _, person in pairs})}
    people = iter([wanted[person] for _, person in pairs])
    work = Work(swapper.size, swapper.size, len(pairs) * factor**2, tiled=False, after_bytes=after)
    try:
        with plan(Job(model, work, task.budget, task.host, task.swapping.options, "swap")).open(report) as run:
            crops = swapped_crops(frames, pairs, sources, swapper, run.infer, factor)
            for face, affine, picture, mask, before in crops:
                with report.stage("paste"):
                    cover = _cover(frames[face.frame].numpy(), face, next(hidden))
                    if cover is not None:
                        mask = np.minimum(mask, cover[0].free_part(affine, side, cover[1]))
                    shades = _shades(picture, before, mask, task.swapping)
                picture = _kept_alike(face, shades, affine, next(people), frames, task)
                frame = result[face.frame].numpy()
                with report.stage("paste"):
                    canvas_mask = painted[face.frame].numpy()
                    canvas = Canvas(frame, task.mask_of(face), canvas_mask, task.swapping.strength)
                    canvas.paste(picture, affine, mask)
                task.witness.step(face, "pasted", frame, face.landmarks)
    except BudgetError as error:
        raise BudgetError(f"{error} Swapping without a model needs less memory.", error.needed, error.given) from error


def _shades(picture: np.ndarray, before: np.ndarray, mask: np.ndarray, swapping: Swapping) -> list[np.ndarray]:
    """A swapped crop (S, S, 3) in the frame's colours as far as is wanted; where its likeness is watched, also as the
    network gave it, and where it is kept, half way between."""
    wanted = matched_colour(picture, before, mask, swapping.colour)
    if not swapping.keeping.looks or swapping.colour == 0:
        return [wanted]
    if swapping.keeping.mode == "off":
        return [wanted, picture]
    return [wanted, matched_colour(picture, before, mask, swapping.colour / 2), picture]


def _kept_alike(
    face: Face,
    shades: list[np.ndarray],
    affine: np.ndarray,
    person: np.ndarray | None,
    frames: torch.Tensor,
    task: Task,
) -> np.ndarray:
    """The one of `_shades` that is pasted; what it means for the likeness is told. person: the vector (128,) of who is
    wanted, None where nobody knows it."""
    points = face.landmarks @ affine[:, :2].T + affine[:, 2]
    seen = task.witness.begin(face, frames[face.frame].numpy(), person)
    if seen is None:
        return shades[0]
    task.witness.step(face, "swapped", shades[-1], points)
    chosen = task.witness.coloured(shades, points, person)
    if len(shades) > 1:
        seen.held_back = chosen / (len(shades) - 1)
        task.witness.step(face, "coloured", shades[chosen], points)
    return shades[chosen]


def _cover(frame: np.ndarray, face: Face, hidden: Hidden | None) -> tuple[Cover, np.ndarray] | None:
    """What stands before a face that a network swaps, and the face's mesh; None where nothing does.

    Faces that are seen from the side look like nothing that colours and edges could be told from.
    """
    if face.landmarks68 is None or (hidden is None and is_profile(face.landmarks)):
        return None
    mesh = warp.mesh_points(face.landmarks68)
    cover = cover_of(frame, mesh) if hidden is None else hidden.cover(frame, mesh)
    return None if cover is None else (cover, mesh)


def swapped_crops(
    frames: torch.Tensor,
    pairs: Pairs,
    sources: Sequence[torch.Tensor],
    swapper: Swapper,
    infer: Infer,
    factor: int = 1,
) -> Iterator[tuple[Face, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Each face with its affine, swapped crop (kS, kS, 3), mask (kS, kS) and the crop that it was before.

    pairs: faces and the place of their person's input in `sources`. infer: the swapper's. factor: k of pixel boost,
    whose k x k samples follow each other, so that they go through the network together. The mask is soft at the
    crop's border, and the network's own where it gives one.
    """
    side = swapper.size * factor
    waiting: deque[tuple[Face, np.ndarray, np.ndarray]] = deque()

    def items() -> Iterator[Tensors]:
        for face, person in pairs:
            affine = affine_for(swapper, face, factor)
            crop = align.crop_face(frames[face.frame].numpy(), affine, side)
            crop = np.nan_to_num(crop, posinf=1.0, neginf=0.0).clip(0, 1)
            waiting.append((face, affine, crop))
            for sample in boost.samples(crop, factor):
                yield target_input(swapper, sample), sources[person]

    soft = masks.crop_mask(side)
    results = infer(items())
    while parts := [result_of(swapper, outputs) for outputs in islice(results, factor**2)]:
        face, affine, before = waiting.popleft()
        whole = boost.joined(parts, factor)
        yield face, affine, whole[..., :3], np.minimum(soft, whole[..., 3]), before


def _source_inputs(swapper: Swapper, task: Task, report: Report) -> list[torch.Tensor]:
    """Each person as the swapper wants it; those that no face becomes as zeros, so that places stay."""
    used = {person for _, person in task.pairs}
    card = swapper.card
    if not card.needs_vector:
        return [
            _picture_of(swapper, person) if index in used else torch.zeros(())
            for index, person in enumerate(task.people)
        ]
    vectors = {index: vector_of(task.people[index], task.networks.recognise, report) for index in sorted(used)}
    if card.converter is not None:
        vectors = _converted(card, vectors, task, report)
    return [
        identity_input(swapper, vectors[index]) if index in used else torch.zeros(())
        for index in range(len(task.people))
    ]


def vector_of(person: Person, recognise: Recognise | None, report: Report) -> np.ndarray:
    """The recogniser's (512,) of a person, as it comes. Raises FacesError for another recogniser's, or for none."""
    if person.identity is not None:
        identity = person.identity
    elif recognise is not None:
        identity = recognise(person, report)
    else:
        raise FacesError(
            f"{person.name} has no identity yet, and this model needs one: connect Face Identity, which makes it from "
            "pictures."
        )
    identity.check_recogniser(RECOGNISER)
    return identity.embedding


def _picture_of(swapper: Swapper, person: Person) -> torch.Tensor:
    if person.picture is None or person.face is None:
        raise FacesError(
            f"{person.name} is an identity without a picture, and {swapper.card.name} looks at pictures: connect a "
            "source picture, or choose another swap model."
        )
    return picture_input(swapper, person.picture, person.face)


def _converted(card: ModelCard, vectors: dict[int, np.ndarray], task: Task, report: Report) -> dict[int, np.ndarray]:
    """The vectors after the swapper's converter, a small network of its own."""
    converter = task.networks.converter
    if converter is None:
        raise ModelFileError(missing_converter(card))
    if converter.spec.card.name != card.converter:
        raise SettingError(f"{converter.spec.name} is no {card.converter}, which {card.name} needs: choose that one.")
    seen = replace(task.swapping.options, precision="auto")  # the user's precision is the swapper's
    work = Work(1, vectors[next(iter(vectors))].size, len(vectors), tiled=False)
    with plan(Job(converter, work, task.budget, task.host, seen, "convert", is_main=False)).open(report) as run:
        items = ((torch.from_numpy(np.asarray(vector, np.float32)),) for vector in vectors.values())
        converted = [outputs[0].float().numpy() for outputs in run.infer(items)]
    return dict(zip(vectors, converted, strict=True))
