"""Finding faces with any detector: frame after frame, the right way up or not, numbered by their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from ...engines.host import Host
from ..align import can_align
from ..face import Face, Faces
from .mtcnn import Check
from .settings import DetectionSettings
from .views import Detections, Look, as_faces, joined, merged

FRAMES_AT_ONCE = 8
ALL_TURNS = (0, 1, 2, 3)  # quarters
TURNED_SCORE = 0.97  # least score of a face in a turned frame that was tried without being asked for
EMPTY_FRAMES = 8  # of so many frames in a row without a face, one is tried turned
SAME_COLUMN = 0.25  # sides of the smaller face that two centres lie apart across, at most, one above the other


class Detector(Protocol):
    """What `Mtcnn` and `NetworkDetector` are."""

    def look(
        self,
        frames: torch.Tensor,
        turns: Sequence[int] = ...,
        score: float = ...,
        min_face: int | None = ...,
        check: Check | None = ...,
    ) -> list[Look]: ...


def find_faces(frames: torch.Tensor, host: Host, detector: Detector, settings: DetectionSettings) -> Faces:
    """The faces of all frames, from left to right; only those that can be aligned.

    frames: (B, H, W, C) as `checked_frames` returns them. Raises SettingError.
    """
    search = Search(detector, settings, host.check_interrupt)
    per_frame: list[tuple[Face, ...]] = []
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        host.check_interrupt()
        chunk = frames[first : first + FRAMES_AT_ONCE]
        for frame, look in zip(chunk, search.looks(chunk), strict=True):
            per_frame.append(search.seen(frame, look, len(per_frame)))
        host.progress("detect", len(per_frame), len(frames))
    return Faces(tuple(per_frame), *frames.shape[1:3])


@dataclass(eq=False)
class Search:
    """A search of frame after frame. It looks at turned frames where an upright look leaves doubt, as seldom as a clip
    without lying faces allows.

    last: the turn that found the last face. vain: frames in a row whose turned looks showed no face.
    """

    detector: Detector
    settings: DetectionSettings
    check: Check
    last: int = 0
    vain: int = 0

    def faces(self, frame: torch.Tensor, index: int) -> tuple[Face, ...]:
        """The faces of a frame (H, W, C), which is number `index` of its batch."""
        (look,) = self.looks(frame[None])
        return self.seen(frame, look, index)

    def looks(self, frames: torch.Tensor) -> list[Look]:
        """A first look at frames (B, H, W, C)."""
        turns = ALL_TURNS if self.settings.turned == "always" else (0,)
        return self.detector.look(frames, turns, self.settings.score, self.settings.min_face or None, self.check)

    def seen(self, frame: torch.Tensor, look: Look, index: int) -> tuple[Face, ...]:
        """The faces of a frame whose first look is known."""
        candidates = self._turned(frame, look) if self.settings.turned == "auto" else look.detections
        faces = as_faces(candidates, index, frame.shape[:2])
        return self.chosen([face for face in faces if can_align(face.landmarks)])

    def chosen(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Those of a frame's faces, best first, that the settings ask for, in the order of their numbers."""
        fitting = [face for face in faces if within(face, self.settings.max_face)]
        return tuple(by_place(fitting[: self.settings.max_faces or None]))

    def _turned(self, frame: torch.Tensor, look: Look) -> Detections:
        """The candidates of a frame (H, W, C) whose upright look is known."""
        detections, shown = look.detections, False
        if len(detections) and not look.dropped and not look.doubtful:
            self.vain = 0
            return detections
        everywhere = self.vain % EMPTY_FRAMES == 0 or look.dropped > 0
        turns = ALL_TURNS[1:] if everywhere else (self.last,) if self.last else ()
        for turn in sorted(turns, key=lambda turn: turn != self.last):
            seen = merged(joined([detections, self._look(frame, turn)]))
            if len(seen) > len(detections):
                self.last, detections, shown = turn, seen, True
            if shown and not look.dropped:
                break
        self.vain = 0 if shown else self.vain + 1
        return detections

    def _look(self, frame: torch.Tensor, turn: int) -> Detections:
        least = max(TURNED_SCORE, self.settings.score)
        (look,) = self.detector.look(frame[None], (turn,), least, self.settings.min_face or None, self.check)
        return look.detections


def within(face: Face, max_face: int) -> bool:
    """Whether the longer side of the face's box has at most max_face px; 0 is no limit."""
    return not max_face or face.side <= max_face


def by_place(faces: Sequence[Face]) -> list[Face]:
    """Faces of one frame in the order of their numbers: from left to right, one above the other from the top down.

    Scores do not count, so that a tilted or unsharp face keeps its number. A face belongs to the column of the first
    face to the left whose centre is less than SAME_COLUMN of a side away across.
    """
    columns: list[list[Face]] = []
    for face in sorted(faces, key=_centre):
        first = columns[-1][0] if columns else None
        if first is not None and _centre(face)[0] - _centre(first)[0] <= SAME_COLUMN * min(face.side, first.side):
            columns[-1].append(face)
        else:
            columns.append([face])
    return [face for column in columns for face in sorted(column, key=lambda face: _centre(face)[1])]


def _centre(face: Face) -> tuple[float, float]:
    return float(face.box[0] + face.box[2]) / 2, float(face.box[1] + face.box[3]) / 2
