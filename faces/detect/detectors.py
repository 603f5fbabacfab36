"""The detectors that a user can choose: MTCNN, which is always there, and networks among the user's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from ...engines.host import Host
from ...engines.job import Job
from ...engines.memory import meter
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.plan import plan
from ...errors import SettingError
from ...models.built_in import BuiltInModel
from ...models.opening import Opening, open_model
from .find import ALL_TURNS, Detector
from .mtcnn import Mtcnn
from .network import SIDE, NetworkDetector
from .settings import DetectionSettings

MTCNN = "mtcnn"
MTCNN_BYTES = 2 << 20  # of weights
MTCNN_MODEL = BuiltInModel("MTCNN", Mtcnn, MTCNN_BYTES)


@contextlib.contextmanager
def open_mtcnn(frames: int, nbytes: int, budget: MemoryBudget, host: Host, report: Report) -> Iterator[Mtcnn]:
    """MTCNN for the duration of the block. nbytes: what its work takes beside the weights. Raises BudgetError."""
    work = Work(1, 1, frames, tiled=False, after_bytes=nbytes)
    job = Job(MTCNN_MODEL, work, budget, host, stage="detect", is_main=False)
    # What is freed goes back at once: the gaps of kept memory took up to half as much again.
    with plan(job).open(report) as run, meter.returning_freed():
        yield MTCNN_MODEL.of(run)


@contextlib.contextmanager
def open_network_detector(
    settings: DetectionSettings, frames: torch.Tensor, budget: MemoryBudget, host: Host, report: Report
) -> Iterator[Detector]:
    """The user's file of the settings' detector, for a batch (B, H, W, C).

    Raises SettingError, ModelFileError, BudgetError.
    """
    if settings.find_file is None:
        raise SettingError(
            f"The detector {settings.detector} needs a model file, and nothing was given to find it with. Choose "
            "mtcnn, which needs none, or give find_file."
        )
    file = settings.find_file(settings.detector)
    assert file.card is not None
    model = open_model(file.path, host=host, opening=Opening(budget=budget))
    size = model.spec.size or (SIDE, SIDE)
    turns = (0,) if settings.turned == "never" else ALL_TURNS
    height, width = frames.shape[1:3]
    views = len(NetworkDetector(file.card, iter, size, settings.tiled).views(height, width, turns))
    work = Work(*size, len(frames) * views, tiled=False)
    with plan(Job(model, work, budget, host, stage="detect", is_main=False)).open(report) as run:
        yield NetworkDetector(file.card, run.infer, size, settings.tiled)
