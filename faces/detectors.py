"""The detectors that a user can choose: MTCNN, which is always there, and networks among the user's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ..engines.memory.planner import Work
from ..engines.planning import Job
from ..engines.run import open_run
from ..errors import SettingError
from .ask import Askable
from .detect.find import Detector, Turned
from .detect.network import SIDE, NetworkDetector
from .networks import blueprint_from_path
from .restore import detector

MTCNN = "mtcnn"
DETECTORS = (MTCNN, "scrfd", "yoloface", "yunet")  # the others by their family in the catalogue


@contextlib.contextmanager
def opened_detector(
    name: str, frames: torch.Tensor, askable: Askable, turned: bool = False, tiled: bool = True
) -> Iterator[Detector]:
    """A detector of DETECTORS, ready for a batch (B, H, W, C).

    turned: it sees each frame in all four positions. tiled: where it shrinks large frames, it sees them in tiles too;
    MTCNN needs none, it looks at frames of any size as they are. Raises SettingError, ModelFileError, BudgetError.
    """
    if name not in DETECTORS:
        raise SettingError(f"There is no detector {name!r}. Choose one of {', '.join(DETECTORS)}.")
    if name == MTCNN:
        yield Turned(detector()) if turned else detector()
        return
    found = askable.file("detector", (name,))
    assert found.family is not None
    blueprint = blueprint_from_path(found.path, found.path.name, askable.host, mode=askable.budget.mode)
    size = blueprint.spec.size or (SIDE, SIDE)
    views = len(NetworkDetector(found.family, iter, size, turned, tiled).views(*frames.shape[1:3]))
    work = Work(*size, len(frames) * views, tiled=False)
    with open_run(Job(blueprint, work, askable.budget, askable.host, stage="detect"), askable.report) as run:
        yield NetworkDetector(found.family, run.infer, size, turned, tiled)
