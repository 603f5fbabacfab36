"""Whole frames at 1080p and 4K under a budget of 4 GiB: seconds, and what the card loses for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.cache import SESSIONS
from ...engines.host import StandaloneHost
from ...engines.memory import meter
from ...engines.memory.budget import GIB, MIB, MemoryBudget
from ...engines.memory.report import Report
from ...engines.network import Model
from ...faces.restore import restore_faces, restore_image
from ...models.torch_model import torch_model
from ..memory.card_memory import card_rise
from ..memory.memory import frame_with_faces
from ..result import at_most
from ..twins import save_twin
from .place import Findings, Place, synchronise

BUDGET = MemoryBudget(4 * GIB)
SIZES = {"1080p": (1080, 1920), "4K": (2160, 3840)}
FACES = 8
NETWORKS = ("bundled", "GFPGAN", "CodeFormer")


def measure(place: Place) -> Findings:
    findings, host = Findings(), StandaloneHost(place.device)
    sizes = {"180p": (180, 320)} if place.is_rehearsal else SIZES
    for name in NETWORKS[:1] if place.is_rehearsal else NETWORKS:
        path = BUNDLED_FILE if name == "bundled" else save_twin(name, place.folder / f"{name}.pth")
        model = torch_model(path, name)
        for size, (height, width) in sizes.items():
            frames = frame_with_faces(height, width, FACES)
            works: dict[str, Callable[[], Report]] = {f"{FACES} faces": _faces(frames, model, host)}
            if name == "bundled":
                works["whole frame"] = _whole(frames, model, host)
            for what, work in works.items():
                _measure(place, f"{name}, {size}, {what}", work, findings)
    return findings


def _faces(frames: torch.Tensor, model: Model, host: StandaloneHost) -> Callable[[], Report]:
    return lambda: restore_faces(frames, model, BUDGET, host).report


def _whole(frames: torch.Tensor, model: Model, host: StandaloneHost) -> Callable[[], Report]:
    return lambda: restore_image(frames, model, BUDGET, host)[1]


def _measure(place: Place, what: str, work: Callable[[], Report], findings: Findings) -> None:
    """A cold run, in which the network is loaded and its memory counted, and a warm one, which is timed."""
    SESSIONS.release()
    meter.release_unused(place.device)
    with card_rise(place.device) as card:
        report = work()
        synchronise(place.device)
    start = time.perf_counter()
    work()
    synchronise(place.device)
    seconds = time.perf_counter() - start
    taken = max(card.peak, report.measured_peak)
    findings.rows[what] = (
        f"{seconds:.2f} s a frame, {taken / MIB:.0f} MiB ({report.predicted_peak / MIB:.0f} predicted), "
        f"{report.precision}, {report.enforcement}"
    )
    assert BUDGET.limit is not None
    findings.bars.append(at_most(f"{what}, MiB", round(taken / MIB), BUDGET.limit // MIB))
