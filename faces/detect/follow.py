"""Faces in frames that follow one another: some frames are searched whole, the others where faces were or will be.

A face that is found in a whole frame is followed from frame to frame, forward and, where it was not known before,
backward, in a cut-out that the cascade goes through in a tenth of the time of a frame. Where a face that was there is
not found again, the whole frame is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.report import Report
from ..face import Face, Faces
from ..frames import as_floats
from .boxes import iou
from .detection import detect_faces, detection_bytes, opened_mtcnn
from .find import Search
from .mtcnn import Mtcnn, smallest_face
from .settings import DetectionSettings
from .views import SAME_FACE, rank

NEAR = 1.5  # sides of a face that its centre may move by from one frame to the next
MOST_RATIO = 1.6  # of the sides of one face in two frames that follow each other
SMALLER = 0.6  # sides of the known face: the smallest that is looked for near it
EDGE = 2  # px: a box that ends so near the edge of a cut-out goes on outside it

Found = tuple[Face, ...]


@dataclass(frozen=True, eq=False)
class Clues:
    """What is known of frames before they are searched.

    whole: of each frame, whether all of it is to be searched. before: (n, 4) boxes of the faces in the frame before the
    first one.
    """

    whole: Sequence[bool]
    before: np.ndarray


def can_follow(settings: DetectionSettings) -> bool:
    """Whether the detector takes less time for a cut-out: the users' networks take all pictures at one size."""
    return settings.detector == "mtcnn"


def follow_faces(
    pictures: Sequence[np.ndarray],
    clues: Clues,
    host: Host,
    settings: DetectionSettings,
    budget: MemoryBudget,
    report: Report,
) -> Faces:
    """The faces of pictures (H, W, 3 or 4) uint8 or uint16 that follow one another, numbered as `detect_faces` does.

    The rest is as in `detect_faces`.
    """
    if not can_follow(settings):
        return detect_faces(as_floats(pictures), host, settings, budget, report)
    height, width = pictures[0].shape[:2]
    nbytes = detection_bytes(height, width, settings)
    with opened_mtcnn(len(pictures), nbytes, budget, host, report) as detector, report.stage("detect"):
        following = _Following(pictures, detector, settings, host, list(clues.whole))
        following.forward(clues.before)
        following.backward()
    return Faces(tuple(following.found), height, width)


def unmatched(last: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Indices of the boxes (n, 4) that none of the next frame's (m, 4) continues; each of those continues one."""
    if not len(last) or not len(boxes):
        return np.arange(len(last))
    sides, others = _sides(last), _sides(boxes)
    distances = np.linalg.norm(_centres(last)[:, None] - _centres(boxes)[None], axis=2)
    far = distances / np.maximum(sides[:, None], others[None])
    ratio = np.maximum(sides[:, None] / others[None], others[None] / sides[:, None])
    impossible = 2 * NEAR * min(len(last), len(boxes)) + 1  # dearer than any pairs that fit
    cost = np.where((far <= NEAR) & (ratio <= MOST_RATIO), far, impossible)
    rows, columns = linear_sum_assignment(cost)
    return np.setdiff1d(np.arange(len(last)), rows[cost[rows, columns] < impossible])


def regions(last: np.ndarray, height: int, width: int) -> list[tuple[slice, slice, float]]:
    """Where faces with the boxes (n, 4) may be one frame on: rows, columns, and px of the smallest face there.

    Regions that overlap are one, so that no face is found in parts.
    """
    margin = NEAR * _sides(last)[:, None]
    areas = np.concatenate([last[:, :2] - margin, last[:, 2:] + margin], 1)
    todo = list(zip(areas, _sides(last).tolist(), strict=True))
    result: list[tuple[np.ndarray, float]] = []
    while todo:
        area, side = todo.pop()
        for index, (other, least) in enumerate(result):
            if iou(area, other[None], of_smaller=True)[0] > 0:
                del result[index]
                both = np.concatenate([np.minimum(area, other)[:2], np.maximum(area, other)[2:]])
                todo.append((both, min(side, least)))
                break
        else:
            result.append((area, side))
    cut = []
    for area, side in result:
        x0, y0, x1, y1 = np.concatenate([np.floor(area[:2]), np.ceil(area[2:])]).astype(int).tolist()
        cut.append((slice(max(0, y0), min(height, y1)), slice(max(0, x0), min(width, x1)), SMALLER * side))
    return cut


@dataclass(eq=False)
class _Following:
    """The frames while their faces are looked for. whole: which have been, or are to be, searched everywhere."""

    pictures: Sequence[np.ndarray]
    detector: Mtcnn
    settings: DetectionSettings
    host: Host
    whole: list[bool]

    def __post_init__(self) -> None:
        self.found: list[Found] = [()] * len(self.pictures)
        self._everywhere = Search(self.detector, self.settings, self.host.check_interrupt)

    def forward(self, before: np.ndarray) -> None:
        """From frame to frame, with the faces of the one before."""
        last = before
        for index in range(len(self.pictures)):
            self.host.check_interrupt()
            if self.whole[index]:
                self.search(index)
            else:
                self.found[index] = self.near(index, last)
                if len(unmatched(last, _boxes(self.found[index]))):
                    self.search(index)
            last = _boxes(self.found[index])

    def backward(self) -> None:
        """From the last frame to the first, with the faces that are not known yet where they come from."""
        for index in range(len(self.pictures) - 2, -1, -1):
            self.host.check_interrupt()
            if self.whole[index]:
                continue
            after = _boxes(self.found[index + 1])
            new = after[unmatched(after, _boxes(self.found[index]))]
            if not len(new):
                continue
            self.found[index] = self.distinct([*self.found[index], *self.near(index, new)])
            if len(unmatched(after, _boxes(self.found[index]))):
                self.search(index)

    def search(self, index: int) -> None:
        """All of a frame."""
        self.whole[index] = True
        (frame,) = as_floats(self.pictures[index : index + 1])
        self.found[index] = self._everywhere.faces(frame, index)

    def near(self, index: int, boxes: np.ndarray) -> Found:
        """What is found around the places of boxes (n, 4)."""
        picture = self.pictures[index]
        height, width = picture.shape[:2]
        usual = smallest_face((height, width), self.settings.min_face or None)
        faces: list[Face] = []
        for rows, columns, least in regions(boxes, height, width):
            (part,) = as_floats([picture[rows, columns]])
            settings = replace(self.settings, min_face=max(usual, int(least)), max_face=0, max_faces=0)
            corner = np.array([columns.start, rows.start], np.float32)
            for face in Search(self.detector, settings, self.host.check_interrupt).faces(part, index):
                shifted = replace(face, box=face.box + np.tile(corner, 2), landmarks=face.landmarks + corner)
                if not _cut_off(face.box, part.shape, shifted.box, picture.shape):
                    faces.append(shifted)
        return self.distinct(faces)

    def distinct(self, faces: Sequence[Face]) -> Found:
        """Each face once, as many as the settings allow, in the order of their numbers."""
        chosen: list[Face] = []
        for face in sorted(faces, key=rank):
            if not chosen or iou(face.box, _boxes(chosen), of_smaller=False).max() < SAME_FACE:
                chosen.append(face)
        return self._everywhere.chosen(chosen)


def _cut_off(inner: np.ndarray, part: Sequence[int], box: np.ndarray, frame: Sequence[int]) -> bool:
    """Whether a box ends at an edge of the cut-out where the frame goes on: a part of a face, perhaps."""
    ends = np.array([part[1], part[0], part[1], part[0]]) * [0, 0, 1, 1]
    limits = np.array([frame[1], frame[0], frame[1], frame[0]]) * [0, 0, 1, 1]
    at_edge = np.abs(inner - ends) < EDGE
    return bool((at_edge & (np.abs(box - limits) >= EDGE)).any())


def _boxes(faces: Sequence[Face]) -> np.ndarray:
    return np.array([face.box for face in faces], np.float32).reshape(-1, 4)


def _centres(boxes: np.ndarray) -> np.ndarray:
    centres: np.ndarray = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _sides(boxes: np.ndarray) -> np.ndarray:
    """px of the longer sides (n,)."""
    sides: np.ndarray = np.maximum(1, (boxes[:, 2:] - boxes[:, :2]).max(1))
    return sides
