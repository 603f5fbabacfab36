"""Looking for faces as every way in does it: settings in, faces out, time and memory in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.report import Report
from ...errors import BudgetError
from ..align import can_align
from ..face import Face, Faces
from .area import TABLE_BYTES
from .detectors import MTCNN, open_mtcnn, open_network_detector
from .find import Detector, find_faces
from .mtcnn import BASE_FACE, CELL, P_PIXELS_AT_ONCE, STRIDE, Mtcnn
from .settings import DEFAULT_DETECTION, DetectionSettings

# What detection takes on the CPU, whatever the number of frames and faces; what is freed goes back at once meanwhile.
# Measured in fresh processes: 33 to 40 MiB at 512 px, 51 at 720p, 68 to 82 at 1080p, 80 to 82 turned as well, 55 to 69
# at 4K, 61 to 72 down to faces of 24 px, 52 at 8K, 67 to 81 down to faces of 12 px, 51 at 12000 x 8000; the more with
# crowds and noise. The base is 16 at a first look at one upright face, 28 where turned frames are looked at after it
# (three quarters of it are pages of torch's own code, which are read when they are first run), none in later runs.
BASE_BYTES = 20 << 20
SUM_PIXEL = 12  # bytes of a table of sums
PIECE_PIXEL = 110  # bytes of P-net for each pixel of a piece of its input: 108 to 112 on four sizes of frames, warm
CUT_PIXEL = 36  # bytes of a pixel that is cut out: whole sums, their differences, what the network is given
LINE_PIXEL = 24  # bytes of the two lines of sums that are taken for each row of a level
LEVEL_PIXEL = 0.5  # bytes of the pyramid's largest level: candidates
PATCHES = 10 << 20  # bytes of the patches that R-net or O-net looks at together
TURNED_BYTES = 6 << 20

T = TypeVar("T")


def detection_bytes(height: int, width: int, settings: DetectionSettings) -> int:
    """Forecast bytes that looking at frames of a size takes on the CPU."""
    smallest = settings.min_face or max(24, min(height, width) // 36)
    shrink = max(1, smallest // BASE_FACE)
    shrunk_to = smallest / (CELL * shrink)  # pixels of the table for each of the largest level's, along a side
    across = int(width * CELL / max(CELL, smallest))
    level = int(height * width * (CELL / max(CELL, smallest)) ** 2)
    piece = min(level, P_PIXELS_AT_ONCE + (CELL - STRIDE) * across)
    table = SUM_PIXEL * (height // shrink) * (width // shrink)
    cut = LINE_PIXEL * shrunk_to
    if table > TABLE_BYTES:  # rows of the frame are read, in 8 bits, and summed for each piece
        table, cut = 0, cut + SUM_PIXEL * shrunk_to**2
    at_work = max(PATCHES, int(piece * max(PIECE_PIXEL, cut + CUT_PIXEL)))
    turned = TURNED_BYTES if settings.turned == "always" else 0
    return BASE_BYTES + turned + table + at_work + int(LEVEL_PIXEL * level)


def detect_faces(
    frames: torch.Tensor,
    host: Host,
    settings: DetectionSettings = DEFAULT_DETECTION,
    budget: MemoryBudget | None = None,
    report: Report | None = None,
) -> Faces:
    """The faces of all frames (B, H, W, C), as `checked_frames` returns them.

    budget: for detection itself; None is automatic. report: given the time and memory that it took. Raises
    SettingError, ModelFileError for a detector whose file is not there, BudgetError.
    """
    report, budget = report or Report(), budget or MemoryBudget()
    if settings.detector == MTCNN:
        nbytes = detection_bytes(int(frames.shape[1]), int(frames.shape[2]), settings)
        opened: contextlib.AbstractContextManager[Detector] = opened_mtcnn(len(frames), nbytes, budget, host, report)
    else:
        opened = _said(open_network_detector(settings, frames, budget, host, report))
    with opened as detector, report.stage("detect"):
        return find_faces(frames, host, detector, settings)


def opened_mtcnn(
    frames: int, nbytes: int, budget: MemoryBudget, host: Host, report: Report
) -> contextlib.AbstractContextManager[Mtcnn]:
    """MTCNN for the duration of a block; what it raises for want of memory says that it is detection."""
    return _said(open_mtcnn(frames, nbytes, budget, host, report))


@contextlib.contextmanager
def _said(opened: contextlib.AbstractContextManager[T]) -> Iterator[T]:
    try:
        with opened as detector:
            yield detector
    except BudgetError as error:
        raise BudgetError(f"Face detection: {error}", error.needed, error.given) from error


def changeable(faces: Sequence[Face], smallest: int, report: Report) -> list[Face]:
    """The faces that a restorer or swapper changes: with points that can be aligned, and large enough.

    smallest: px of the longer side. report: told how many are left as they were, and why.
    """
    aligned = [face for face in faces if can_align(face.landmarks)]
    if left := len(faces) - len(aligned):
        report.notes.append(f"faces with unusable landmarks, not changed: {left}")
    large = [face for face in aligned if face.side >= smallest]
    if small := len(aligned) - len(large):
        report.notes.append(f"faces smaller than {smallest} px, not changed: {small}")
    return large
