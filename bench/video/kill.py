"""kill -9 at random moments of a clip's run, resumed each time: the same bits as in one go.

A moment is chosen by progress, not by seconds, so that each one lies inside the run however busy the machine is: one in
every twentieth of the frames' ways through both passes, and then a part of the time that a frame takes.

`python3 -m slimfusion.bench.video.kill SOURCE TARGET` is the process that is killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ...engines.host import StandaloneHost
from ...engines.memory.budget import GIB
from ...models.opening import open_model
from ...video import look
from ...video.manifest import WorkFolder
from ...video.pipeline import ClipSettings, process_video
from ...video.steps import RestoreStep
from ..result import at_least, at_most
from . import clips

STAGES = ("look", "work")
FRAMES, SEGMENT_SECONDS = 60, 0.2  # ten segments
SEED = 1


def killed(data: Path, folder: Path, kills: int) -> list[dict[str, Any]]:
    """How many of `kills` moments hit the run, and whether its result is that of a run in one go."""
    width, height, side = 320, 180, 150
    (portrait,) = clips.portraits(data / "portraits", 1, side)
    motion, scene = clips.wandering(width, height, side, 7), clips.background(width, height, 7)
    pictures = (clips.frame_of([(portrait, motion)], scene, index) for index in range(FRAMES))
    source = clips.write_clip(folder / "kill.mp4", pictures, (width, height))
    whole, target = folder / "whole.mp4", folder / "killed.mp4"
    begun = time.monotonic()
    if _started(source, whole).wait():
        raise RuntimeError("the uninterrupted run failed")
    frame_seconds = (time.monotonic() - begun) / (len(STAGES) * FRAMES)
    chance, hits, anew = random.Random(SEED), 0, 0
    moments: list[int] = []
    for index in range(kills):
        mark = int((index + chance.random()) / kills * len(STAGES) * FRAMES)
        process = _started(source, target)
        seen = _wait_for(process, mark)
        time.sleep(chance.random() * frame_seconds)
        if process.poll() is None:
            process.kill()
            hits += 1
            moments.append(seen)
        process.wait()
        if target.exists():  # it got through: the next try begins anew
            anew += 1
            if target.read_bytes() != whole.read_bytes():
                break
            target.unlink()
    if not target.exists() and _started(source, target).wait():
        raise RuntimeError("the last run failed")
    same = target.read_bytes() == whole.read_bytes()
    print(f"killed {hits} times at {moments} of {len(STAGES) * FRAMES}, {anew} times too late", flush=True)
    return [
        at_least("kills that hit the run / kills", hits / kills, 1.0),
        at_least(f"byte-identical after {hits} kills", float(same), 1.0),
        at_most("folders left behind", float(WorkFolder(target).path.exists()), 0.0),
    ]


def _started(source: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__, str(source), str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _wait_for(process: subprocess.Popen[bytes], mark: int) -> int:
    """Reads marks until one is `mark` or behind it; returns the last one. Who goes on begins further on than at 0."""
    assert process.stdout is not None
    seen = -1
    for line in process.stdout:
        seen = int(line)
        if seen >= mark:
            break
    return seen


def work(source: str, target: str) -> None:
    """Works on a clip and prints, for each frame, how far both passes are."""
    look.SEGMENT_SECONDS = SEGMENT_SECONDS

    def progress(stage: str, done: int, total: int) -> None:
        if stage in STAGES:
            print(STAGES.index(stage) * total + done, flush=True)

    host = StandaloneHost("cpu", progress=progress)
    process_video(source, target, [RestoreStep(open_model(host=host))], host=host, settings=ClipSettings(ram=GIB))


if __name__ == "__main__":
    work(*sys.argv[1:])
