"""What is done to a clip's frames, one step after the other. Each is a value: made once, used for any clip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ..engines.host import Host
from ..engines.job import DEFAULTS, Options
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..engines.network import Model
from ..errors import SettingError
from ..faces.detect.settings import SMALLEST_CHANGED, DetectionSettings
from ..faces.face import Face, Faces
from ..faces.identity.people import Person, named
from ..faces.identity.select import parse_indices
from ..faces.restore import AS_USUAL, SMALLEST_ENLARGED, Restoring, restore_faces, restore_image
from ..faces.swap.swap import swap_faces
from ..faces.swap.task import Networks, Swapping
from ..faces.upscale import scaled_faces

ALL_BECOME_THE_FIRST = Swapping()


@dataclass(frozen=True, eq=False)
class TrackedFace(Face):
    """A face of a track. track: its number. filled: not seen here, but before and behind."""

    track: int = -1
    filled: bool = False


@dataclass(frozen=True, eq=False)
class RestoreStep:
    """Restores faces. restoring: how; its faces and mask are not used. tracks: which, such as "0, 2"; empty for all.

    Raises SettingError.
    """

    model: Model
    restoring: Restoring = AS_USUAL
    tracks: str = ""

    def __post_init__(self) -> None:
        _check_model(self.model, "Restore")
        parse_indices(self.tracks)

    @property
    def scale(self) -> int:
        return 1

    def numbers(self) -> set[int]:
        """The tracks that are named; none for all."""
        return set(parse_indices(self.tracks))

    def described(self) -> dict[str, Any]:
        """What makes its result, for a fingerprint."""
        return {"step": "restore", "model": repr(self.model.key), "strength": self.restoring.strength,
                "options": asdict(self.restoring.options), "tracks": sorted(self.numbers())}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SwapStep:
    """Puts people into faces. swapping: how; its faces and mask are not used. swapping.people says which track becomes
    whom; empty: all become the first person. Raises SettingError.
    """

    people: tuple[Person, ...]
    networks: Networks
    swapping: Swapping = ALL_BECOME_THE_FIRST

    def __post_init__(self) -> None:
        if not self.people:
            raise SettingError("A swap step has nobody to put into the faces: name a source picture or an identity.")
        for name in self.swapping.mapping.values():
            named(self.people, name)

    @property
    def scale(self) -> int:
        return 1

    def numbers(self) -> set[int]:
        return set(self.swapping.mapping)

    def described(self) -> dict[str, Any]:
        swapper, swapping = self.networks.swapper, self.swapping
        names = ("strength", "colour", "boost", "shape", "texture", "people")
        return {"step": "swap", "who": [_of_person(person) for person in self.people],
                "model": None if swapper is None else repr(swapper.key), "options": asdict(swapping.options),
                **{name: getattr(swapping, name) for name in names}}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ImageStep:
    """Runs an image network such as an upscaler over whole frames. Raises SettingError."""

    model: Model
    options: Options = DEFAULTS

    def __post_init__(self) -> None:
        _check_model(self.model, "Image")
        if self.model.spec.card.is_face_restorer:
            raise SettingError(f"{self.model.spec.name} knows aligned faces only: use it in a Restore Step.")

    @property
    def scale(self) -> int:
        return self.model.spec.scale

    def numbers(self) -> set[int]:
        return set()

    def described(self) -> dict[str, Any]:
        return {"step": "image", "model": repr(self.model.key), "options": asdict(self.options)}


Step = RestoreStep | SwapStep | ImageStep


@dataclass(frozen=True, eq=False)
class Conditions:
    """What steps work under. detection: says how small a face may be to be changed."""

    budget: MemoryBudget
    host: Host
    detection: DetectionSettings


@dataclass(frozen=True, eq=False)
class Worked:
    """frames: (B, H, W, C) float32 0..1. mask: (B, H, W) bool, what was changed. reports: of each run."""

    frames: torch.Tensor
    mask: np.ndarray
    reports: tuple[Report, ...]


def check_steps(steps: Sequence[Step]) -> None:
    """Raises SettingError."""
    if not steps:
        raise SettingError("There is nothing to do: add a Restore, Swap or Image step.")


def check_tracks(steps: Sequence[Step], tracks: set[int]) -> None:
    """Raises SettingError for a track that a step names and the clip does not have."""
    for step in steps:
        missing = sorted(step.numbers() - tracks)
        if missing:
            words = f"tracks 0 to {max(tracks)}" if tracks else "no tracks: no face was found"
            raise SettingError(
                f"There is no track {', '.join(map(str, missing))} in this clip, which has {words}. Scan it first."
            )


def needs_faces(steps: Sequence[Step]) -> bool:
    return any(not isinstance(step, ImageStep) for step in steps)


def total_scale(steps: Sequence[Step]) -> int:
    return int(np.prod([step.scale for step in steps]))


def work(steps: Sequence[Step], frames: torch.Tensor, faces: Faces, under: Conditions) -> Worked:
    """Takes frames (B, H, W, C) float32 0..1 through all steps; they may be overwritten. faces: theirs, all tracked."""
    mask = np.zeros(tuple(frames.shape[:3]), bool)
    reports: list[Report] = []
    for step in steps:
        if isinstance(step, ImageStep):
            frames, report = restore_image(frames, step.model, under.budget, under.host, step.options)
            faces, mask = scaled_faces(faces, step.scale), np.ones(tuple(frames.shape[:3]), bool)
            reports.append(report)
            continue
        for wanted, person in _jobs(step):
            subset = [index for index, of_frame in enumerate(faces.frames) if any(map(wanted, of_frame))]
            if not subset:
                continue
            mine = _renumbered(faces, subset, wanted)
            part = frames[subset] if len(subset) < len(frames) else frames
            done = _run(step, person, part, mine, under)
            reports.append(done[2])
            if len(subset) < len(frames):
                frames[subset] = done[0]
            else:
                frames = done[0]
            mask[subset] |= done[1].numpy() > 0
    return Worked(frames, mask, tuple(reports))


def _jobs(step: RestoreStep | SwapStep) -> list[tuple[Any, Person | None]]:
    """Which faces, and for a swap the person that they become: one call of `faces` each."""
    if isinstance(step, RestoreStep):
        numbers = step.numbers()
        return [(lambda face: not numbers or face.track in numbers, None)]
    if not step.swapping.mapping:
        return [(lambda face: True, step.people[0])]
    by_person: dict[int, set[int]] = {}
    for track, name in step.swapping.mapping.items():
        by_person.setdefault(named(step.people, name), set()).add(track)
    return [
        (lambda face, tracks=tracks: face.track in tracks, step.people[person]) for person, tracks in by_person.items()
    ]


def _renumbered(faces: Faces, subset: list[int], wanted: Any) -> Faces:
    frames = tuple(
        tuple(replace(face, frame=place) for face in faces.frames[index] if wanted(face))
        for place, index in enumerate(subset)
    )
    return Faces(frames, faces.height, faces.width)


def _run(
    step: RestoreStep | SwapStep, person: Person | None, frames: torch.Tensor, faces: Faces, under: Conditions
) -> tuple[torch.Tensor, torch.Tensor, Report]:
    detection, budget, host = under.detection, under.budget, under.host
    if isinstance(step, RestoreStep):
        usual = SMALLEST_ENLARGED if step.model.spec.card.face_side else SMALLEST_CHANGED
        least = replace(detection, min_face=detection.smallest_changed(False, usual))
        restoring = replace(step.restoring, faces=faces, mask=None, detection=least)
        restored = restore_faces(frames, step.model, budget, host, restoring)
        return restored.frames, restored.mask, restored.report
    assert person is not None
    least = replace(detection, min_face=detection.smallest_changed(False))
    swapping = replace(step.swapping, people="", faces=faces, mask=None, detection=least)
    swapped = swap_faces(frames, [person], step.networks, budget, host, swapping)
    return swapped.frames, swapped.mask, swapped.report


def _check_model(model: Model | None, name: str) -> None:
    if model is None:
        raise SettingError(f"A {name} step needs a model: choose one, such as the bundled network.")


def _of_person(person: Person) -> str:
    digest = hashlib.sha256(person.name.encode(errors="replace"))
    if person.identity is not None:
        digest.update(np.ascontiguousarray(person.identity.embedding).tobytes())
    if person.picture is not None and person.face is not None:
        digest.update(np.ascontiguousarray(person.picture).tobytes())
        digest.update(np.ascontiguousarray(person.face.landmarks).tobytes())
    return digest.hexdigest()
