"""Whether memory comes back, and what tiles cost: the second half of the memory bench.

`python -m slimfusion.bench.memory.give_back` prints last one line of JSON; the memory bench includes it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.cache import SESSIONS
from ...engines.host import StandaloneHost
from ...engines.memory import meter
from ...engines.memory.budget import GIB, MIB, MemoryBudget
from ...engines.network import Model
from ...engines.session import Session
from ...faces.restore import restore_image
from ...models.torch_model import torch_model
from ..engines.tiles import frame_work, tile_shape, time_ratio
from ..result import at_most, print_result
from ..twins import save_twin

CPU = torch.device("cpu")
RUNS = 50
TILE = 512


def level() -> int:
    """This process's resident set after everything unused was given back."""
    meter.release_unused(CPU)
    return meter.used_bytes(CPU)


def restored_once(blueprint: Model, frames: torch.Tensor) -> int:
    """Restores and says how many sessions had to be built."""
    _, report = restore_image(frames, blueprint, MemoryBudget(GIB), StandaloneHost("cpu"))
    return report.sessions_built


def give_back_bars(folder: Path) -> list[dict[str, Any]]:
    """Level after release, drift over alternating models, sessions of a warm run."""
    frames = torch.rand(1, 128, 128, 3)
    models = [torch_model(BUNDLED_FILE), torch_model(save_twin("ESRGAN", folder / "esrgan.pth"))]
    restored_once(models[0], frames[:, :64, :64])  # what torch makes for itself at its first call stays
    SESSIONS.release()
    before = level()
    restored_once(models[0], frames)
    warm = restored_once(models[0], frames)
    SESSIONS.release()
    left = level() - before
    levels = []
    for run in range(RUNS):
        restored_once(models[run % 2], frames)
        if run % 10 >= 8:
            levels.append(level())
    drift = max(levels[-2] - levels[2], levels[-1] - levels[3])  # each model against itself, once both are warm
    SESSIONS.release()
    return [
        at_most("MiB above the first level after release", round(left / MIB, 1), 32),
        at_most(f"MiB of drift over {RUNS} alternating runs", round(drift / MIB, 1), 16),
        at_most("sessions built in a warm second run", warm, 0),
    ]


def rise(work: Callable[[], torch.Tensor]) -> int:
    """Bytes that the work adds where memory is scarce; the less of two: the first also pays for what threads keep."""
    peaks = []
    for _ in range(2):
        meter.release_unused(CPU)
        with meter.returning_freed(), meter.peak(CPU) as measured:
            work()
        peaks.append(measured.peak)
    return min(peaks)


def tile_bars() -> list[dict[str, Any]]:
    """Time of tiles against the whole 4K frame, and memory at 8K against 4K, whose equal tiles are a little smaller."""
    session = Session(torch_model(BUNDLED_FILE), CPU, "fp32")
    session.open()
    ratio = time_ratio(session, 2160, 3840, TILE)
    sizes = ((2160, 3840), (4320, 7680))
    at_4k, at_8k = (rise(frame_work(session, *size, TILE)) for size in sizes)
    tile_4k, tile_8k = (math.prod(tile_shape(session.model.spec, *size, TILE)) for size in sizes)
    print(f"memory of tiles: {at_4k / MIB:.0f} MiB at 4K, {at_8k / MIB:.0f} MiB at 8K", flush=True)
    session.close()
    return [
        at_most("4K in tiles of 512, time against the whole frame", ratio, 1.15),
        at_most("peak memory at 8K against 4K", round(at_8k / at_4k, 3), 1.05),
        at_most("peak memory a pixel of tile, at 8K against 4K", round(at_8k / tile_8k / (at_4k / tile_4k), 3), 1.05),
    ]


def bars() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return give_back_bars(Path(folder)) + tile_bars()


if __name__ == "__main__":
    print_result("give_back", bars())
