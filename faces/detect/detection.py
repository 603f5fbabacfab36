"""Looking for faces as every way in does it: settings in, faces out, time and memory in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

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
from .mtcnn import BASE_FACE, CELL, P_PIXELS_AT_ONCE
from .settings import DEFAULT_DETECTION, DetectionSettings

# What detection takes on the CPU, whose first call makes its threads' memory, whatever the number of frames. Fitted to
# 46 MiB at 512 px, 68 at 720p, 109 to 115 at 1080p, 85 at 4K, 149 to 159 at 8K, 192 at 8K down to faces of 12 px.
BASE_BYTES = 33 << 20
TABLE_PIXEL = 15  # bytes: a frame's table of sums, and its 8 bits
PIECE_PIXEL = 150  # bytes of P-net's input, piece by piece
LEVEL_PIXEL = 4  # bytes of the pyramid's largest level: candidates
PATCH_PIXEL, PATCH_SIDE = 40, 192  # bytes, and px of the table: the largest patch that is read from the frame itself
TURNED_BYTES = 8 << 20


def detection_bytes(height: int, width: int, settings: DetectionSettings) -> int:
    """Forecast bytes that looking at frames of a size takes on the CPU."""
    smallest = settings.min_face or max(24, min(height, width) // 36)
    shrink = max(1, smallest // BASE_FACE)
    level = int(height * width * (CELL / max(CELL, smallest)) ** 2)
    table = min(height * width // shrink**2, TABLE_BYTES // 12)
    patch = min(height, width, PATCH_SIDE * shrink) ** 2 if shrink > 1 else 0
    turned = TURNED_BYTES if settings.turned == "always" else 0
    pieces = PIECE_PIXEL * min(level, P_PIXELS_AT_ONCE) + LEVEL_PIXEL * level
    return BASE_BYTES + turned + TABLE_PIXEL * table + PATCH_PIXEL * patch + pieces


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
        opened: contextlib.AbstractContextManager[Detector] = open_mtcnn(len(frames), nbytes, budget, host, report)
    else:
        opened = open_network_detector(settings, frames, budget, host, report)
    try:
        with opened as detector, report.stage("detect"):
            return find_faces(frames, host, detector, settings)
    except BudgetError as error:
        raise BudgetError(f"Looking for faces: {error}", error.needed, error.given) from error


def changeable(faces: Sequence[Face], smallest: int, report: Report) -> list[Face]:
    """The faces that a restorer or swapper changes: with points that can be aligned, and large enough.

    smallest: px of the longer side. report: told how many are left as they were, and why.
    """
    aligned = [face for face in faces if can_align(face.landmarks)]
    if left := len(faces) - len(aligned):
        report.notes.append(f"faces whose points coincide or are no numbers, left as they were: {left}")
    large = [face for face in aligned if face.side >= smallest]
    if small := len(aligned) - len(large):
        report.notes.append(f"faces smaller than {smallest} px, left as they were: {small}")
    return large
