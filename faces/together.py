"""The faces of many pictures in one run: those of whoever asks go through the network side by side.

A run for each picture plans anew and gives the network one or two faces at a time. Here the pictures are looked at one
by one, and the faces of all of them are one run's work, as many at a time as the budget allows. What comes out is what
`restore_faces` makes of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..engines.host import Host, StandaloneHost
from ..engines.memory.budget import AUTOMATIC, MemoryBudget
from ..engines.memory.report import Report
from ..engines.network import Model
from ..errors import SettingError
from .detect.detection import changeable, detect_faces
from .face import Face, Faces
from .frames import checked_frames
from .identity.guard import witness
from .restore import AS_USUAL, Restored, Restoring, Task, check_restores, smallest_for, way_of


def restore_together(
    pictures: Sequence[torch.Tensor],
    model: Model,
    budget: MemoryBudget = AUTOMATIC,
    host: Host | None = None,
    restoring: Restoring = AS_USUAL,
) -> list[Restored]:
    """Restores the faces of pictures of any sizes, in their order.

    pictures: (H, W, C) or (1, H, W, C) 0..1 each, as `checked_frames` takes them. restoring: for all of them, without
    faces or mask. Each report tells its picture's faces and notes, and of the run what all share: plan, memory, time.
    Raises as `restore_faces`.
    """
    if restoring.faces is not None or restoring.mask is not None:
        raise SettingError("Faces and masks belong to one picture: restore it by itself.")
    host = host or StandaloneHost()
    check_restores(model)
    frames = [_one(checked_frames(picture)) for picture in pictures]
    reports = [Report() for _ in frames]
    detected = [
        _faces_of(frame, place, host, restoring, budget, report)
        for place, (frame, report) in enumerate(zip(frames, reports, strict=True))
    ]
    smallest = smallest_for(model, restoring.detection, detected=False)
    usable = [
        face for faces, report in zip(detected, reports, strict=True) for face in changeable(faces, smallest, report)
    ]
    results = [frame.clone() for frame in frames]
    painted = [torch.zeros(frame.shape[:2]) for frame in frames]
    run = Report()
    run.begin(budget)
    run.model = model.spec.name
    run.planning_bytes = max((report.planning_bytes for report in reports), default=0)
    if usable and restoring.strength > 0:
        everybody = Faces(tuple(detected), 0, 0)
        with witness(restoring.keeping, everybody, budget, host, run) as seeing:
            task = Task(usable, model, budget, host, None, restoring, seeing)
            way_of(model)(frames, results, painted, task, run)
    return [
        Restored(
            results[place][None], painted[place][None], _own(faces, frames[place]), _told(run, report, place, faces)
        )
        for place, (faces, report) in enumerate(zip(detected, reports, strict=True))
    ]


def _one(frames: torch.Tensor) -> torch.Tensor:
    """The only frame of a batch. Raises SettingError."""
    if len(frames) != 1:
        raise SettingError(
            f"Pictures that are restored together are single ones, and this is a batch of {len(frames)}."
        )
    return frames[0]


def _faces_of(
    frame: torch.Tensor, place: int, host: Host, restoring: Restoring, budget: MemoryBudget, report: Report
) -> tuple[Face, ...]:
    """The faces of a picture (H, W, C), whose frame is its place among the pictures."""
    report.begin(budget)
    (faces,) = detect_faces(frame[None], host, restoring.detection, budget, report).frames
    return tuple(replace(face, frame=place) for face in faces)


def _own(faces: Sequence[Face], frame: torch.Tensor) -> Faces:
    """The faces of one picture (H, W, C) as those of a batch of one."""
    height, width = (int(side) for side in frame.shape[:2])
    return Faces((tuple(replace(face, frame=0) for face in faces),), height, width)


def _told(run: Report, own: Report, place: int, faces: Sequence[Face]) -> Report:
    """What a picture's report says: of the run, of its own faces, and of who else was in the run."""
    report = replace(
        run,
        frames=1,
        faces=len(faces),
        predicted_peak=max(run.predicted_peak, own.predicted_peak),
        measured_peak=max(run.measured_peak, own.measured_peak),
        degradations=[*dict.fromkeys([*own.degradations, *run.degradations])],
        notes=[*own.notes, *run.notes],
        timeline=[*own.timeline, *run.timeline],
        likeness=[replace(row, frame=0) for row in run.likeness if row.frame == place],
    )
    if not faces:
        report.notes.append("no face was found: all frames are unchanged")
    return report
