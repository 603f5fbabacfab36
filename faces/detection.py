"""Looking for faces as every way in does it: settings in, faces out, time and memory in the report."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch

from ..engines.host import Host
from ..engines.memory import meter
from ..engines.memory.budget import MemoryBudget, format_bytes
from ..engines.memory.report import Report
from ..engines.run import metered
from ..errors import BudgetError
from .align import can_align
from .detect.find import find_faces
from .detect.settings import DEFAULT_DETECTION, DetectionSettings
from .detectors import opened_detector
from .face import Face, Faces

# What detection takes on the CPU, whose first call makes its threads' memory, whatever the number and size of frames:
# 57 to 129 MiB were measured, 80 for one frame of 1080p, 129 for 32 with eight faces each. The middle is forecast, the
# most must fit.
DETECTION_BYTES, DETECTION_AT_MOST = 95 << 20, 136 << 20


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
    _check_fits(budget, host)
    with contextlib.ExitStack() as stack:
        stack.enter_context(report.stage("detect"))
        if host.device().type == "cpu":  # where detection runs: its memory counts into the budget there
            stack.enter_context(metered(host.device(), report))
            stack.callback(meter.trim)  # the network that comes next must not be paid for on top
            report.predicted_peak = max(report.predicted_peak, DETECTION_BYTES)
        opened = opened_detector(settings, frames, budget, host, report)
        found = stack.enter_context(opened)
        return find_faces(frames, host, found, settings)


def _check_fits(budget: MemoryBudget, host: Host) -> None:
    """Raises BudgetError where detection counts into the budget and does not fit."""
    limit = budget.limit
    if limit is not None and limit < DETECTION_AT_MOST and host.device().type == "cpu":
        raise BudgetError(
            f"Looking for faces needs {format_bytes(DETECTION_AT_MOST)} ({DETECTION_AT_MOST} bytes), but the memory "
            f"budget gives {format_bytes(limit)} ({limit} bytes). Raise the budget.",
            DETECTION_AT_MOST,
            limit,
        )


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
