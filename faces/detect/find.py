"""Finding faces with any detector: frame after frame, the right way up or not, within limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from ...engines.host import Host
from ...errors import SettingError
from ..align import can_align
from ..face import Face, Faces
from .heads import Candidates, joined
from .mtcnn import Check
from .network import as_faces, merged, turned_back

FRAMES_AT_ONCE = 8


class Detector(Protocol):
    """What `Mtcnn` and `NetworkDetector` are."""

    def detect(
        self,
        frames: torch.Tensor,
        score: float = ...,
        min_face: int | None = ...,
        max_faces: int = ...,
        check: Check | None = ...,
    ) -> list[list[Face]]: ...


@dataclass(frozen=True, eq=False)
class Turned:
    """A detector that knows upright faces only, and here sees each frame in all four positions."""

    detector: Detector

    def detect(
        self,
        frames: torch.Tensor,
        score: float = 0.8,
        min_face: int | None = None,
        max_faces: int = 0,
        check: Check | None = None,
    ) -> list[list[Face]]:
        """The faces of each frame, as the detector's own `detect` gives them."""
        found = []
        for index, frame in enumerate(frames):
            shape = frame.shape[:2]
            parts = []
            for turns in range(4):
                view = torch.rot90(frame, turns).contiguous()
                (faces,) = self.detector.detect(view[None], score, min_face, 0, check)
                parts.append(turned_back(as_candidates(faces), shape, turns))
            found.append(as_faces(merged(joined(parts)), index, shape)[: max_faces or None])
        return found


def find_faces(
    frames: torch.Tensor,
    host: Host,
    detector: Detector,
    score: float,
    max_faces: int = 0,
    min_face: int | None = None,
    max_face: int = 0,
) -> Faces:
    """The faces of all frames, each looked at once; only those that can be aligned.

    frames: (B, H, W, C) as `checked_frames` gives them. score: 0..1, least confidence. max_faces: keep so many in
    each frame, 0 for all. min_face, max_face: px of the longer side of the smallest and largest face kept; 0 or None
    sets no limit, but MTCNN looks for none below a 36th of the frame unless told. Raises SettingError.
    """
    if max_face and max_face < (min_face or 0):
        raise SettingError(f"The largest face, {max_face} px, must not be smaller than the smallest, {min_face} px.")
    found: list[tuple[Face, ...]] = []
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        host.check_interrupt()
        chunk = frames[first : first + FRAMES_AT_ONCE]
        for faces in detector.detect(chunk, score, min_face or None, 0, host.check_interrupt):
            fitting = [face for face in faces if can_align(face.landmarks) and within(face, max_face)]
            found.append(tuple(replace(face, frame=len(found)) for face in fitting[: max_faces or None]))
        host.progress("detect", len(found), len(frames))
    return Faces(tuple(found), *frames.shape[1:3])


def within(face: Face, max_face: int) -> bool:
    """Whether the longer side of the face's box has at most max_face px; 0 is no limit."""
    return not max_face or float((face.box[2:] - face.box[:2]).max()) <= max_face


def as_candidates(faces: Iterable[Face]) -> Candidates:
    """Faces as arrays."""
    faces = list(faces)
    boxes = np.array([face.box for face in faces], np.float64).reshape(-1, 4)
    points = np.array([face.landmarks for face in faces], np.float64).reshape(-1, 5, 2)
    return Candidates(boxes, points, np.array([face.score for face in faces]))
