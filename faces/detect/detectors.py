"""The detectors that a user can choose: MTCNN, which is always there, and networks among the user's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache

import torch

from ...engines.host import Host
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.planning import Job
from ...engines.run import open_run
from ...errors import SettingError
from ...models.opening import blueprint_from_path
from .find import ALL_TURNS, Detector
from .mtcnn import Mtcnn
from .network import SIDE, NetworkDetector
from .settings import DetectionSettings

MTCNN = "mtcnn"


@lru_cache(maxsize=1)
def detector() -> Mtcnn:
    """The detector that is always there: 2 MB of weights, read once."""
    return Mtcnn()


@contextlib.contextmanager
def opened_detector(
    settings: DetectionSettings, frames: torch.Tensor, budget: MemoryBudget, host: Host, report: Report
) -> Iterator[Detector]:
    """The detector of the settings, ready for a batch (B, H, W, C).

    MTCNN needs no tiles: it looks at frames of any size as they are. Raises SettingError, ModelFileError, BudgetError.
    """
    if settings.detector == MTCNN:
        yield detector()
        return
    if settings.find_file is None:
        raise SettingError(
            f"The detector {settings.detector} needs a model file, and nothing was given to find it with. Choose "
            "mtcnn, which needs none, or give find_file."
        )
    found = settings.find_file(settings.detector)
    assert found.family is not None
    blueprint = blueprint_from_path(found.path, found.path.name, host, budget=budget)
    size = blueprint.spec.size or (SIDE, SIDE)
    turns = (0,) if settings.turned == "never" else ALL_TURNS
    height, width = frames.shape[1:3]
    views = len(NetworkDetector(found.family, iter, size, settings.tiled).views(height, width, turns))
    work = Work(*size, len(frames) * views, tiled=False)
    with open_run(Job(blueprint, work, budget, host, stage="detect"), report) as run:
        yield NetworkDetector(found.family, run.infer, size, settings.tiled)
