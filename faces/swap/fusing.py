"""Fusing faces without a network: landmarks, meshes and pyramids, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ...engines.job import Job
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.plan import plan
from ...errors import BudgetError, FacesError
from ...models.built_in import ON_CPU, BuiltInModel
from .. import warp
from ..face import Face
from ..fuse import classic
from ..identity.people import Person, is_profile
from ..paste import Canvas
from .task import Task, find_hidden, with_points

NO_MODEL = "no model (classic fusion)"


FUSION_MODEL = BuiltInModel(NO_MODEL, object, traits=replace(ON_CPU, engine="meshes and pyramids"))


def fuse_pairs(frames: torch.Tensor, result: torch.Tensor, painted: torch.Tensor, task: Task, report: Report) -> None:
    """Without a network, on the CPU."""
    turned = [face for face, _ in task.pairs if is_profile(face.landmarks)]
    if turned:
        report.notes.append(f"{len(turned)} faces are seen from the side and were not changed")
    pairs = [(face, person) for face, person in task.pairs if not is_profile(face.landmarks)]
    if not pairs:
        return
    pairs = with_points(frames, pairs, task.networks.landmarks, report)
    people = [task.people[index] for index in sorted({person for _, person in pairs})]
    sources = dict(zip(sorted({person for _, person in pairs}), _sources(people, task, report), strict=True))
    hidden = find_hidden(frames, pairs, task.networks, report)
    faces = [face for face, _ in pairs]
    wanted = {person: task.vector_of(person) for person in sources}
    nbytes = task.swapping.keeping.bytes_for(0) + classic.fusion_bytes(
        faces, frames.shape[1], frames.shape[2], task.swapping.weights.shape
    )
    work = Work(1, 1, len(pairs), tiled=False, after_bytes=nbytes)
    try:
        with plan(Job(FUSION_MODEL, work, task.budget, task.host, stage="fuse")).open(report):
            for done, ((face, person), unseen) in enumerate(zip(pairs, hidden, strict=True)):
                task.host.check_interrupt()
                with report.stage("fuse"):
                    frame, points = result[face.frame].numpy(), face.landmarks68
                    assert points is not None
                    cover = None if unseen is None else unseen.cover(frame, warp.mesh_points(points))
                    canvas = Canvas(frame, task.mask_of(face), painted[face.frame].numpy())
                    classic.fuse(canvas, points, sources[person], task.swapping.weights, cover)
                task.witness.begin(face, frames[face.frame].numpy(), wanted[person])
                task.witness.step(face, "pasted", frame, face.landmarks)
                task.host.progress("fuse", done + 1, len(pairs))
    except BudgetError as error:
        largest = max(float((face.box[2:] - face.box[:2]).max()) for face in faces)
        raise BudgetError(
            f"Blending a face of {largest:.0f} px needs {error.needed} bytes, but the memory budget gives "
            f"{error.given}. Raise the budget, or use a smaller image.",
            error.needed,
            error.given,
        ) from error


def _sources(people: Sequence[Person], task: Task, report: Report) -> list[classic.Source]:
    """What the people give to a fusion. Raises FacesError for one without a picture."""
    shown: list[tuple[np.ndarray, Face]] = []
    for person in people:
        if person.picture is None or person.face is None:
            raise FacesError(
                f"{person.name} is an identity without a picture, and blending without a model needs one: connect a "
                "source picture, or load a swap model."
            )
        shown.append((person.picture, person.face))
    if any(face.landmarks68 is None for _, face in shown) and task.networks.landmarks is None:
        raise FacesError("A source has no 68 points, which blending without a model needs: detect them first.")
    unknown = [shown_face for shown_face in shown if shown_face[1].landmarks68 is None]
    point_sets = iter(() if task.networks.landmarks is None else task.networks.landmarks(unknown, report))
    return [
        classic.Source(picture, next(point_sets) if face.landmarks68 is None else face.landmarks68)
        for picture, face in shown
    ]
