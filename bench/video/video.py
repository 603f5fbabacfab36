"""Clips: faces that are followed, memory, being killed, held frames, tracks, cuts, steadiness, speed.

`python3 dev.py bench video [--data FOLDER] [--only PART ...] [--frames N]`. FOLDER holds `portraits/`. The
networks are the bundled restorer, a GFPGAN of its real size with random weights, and a swapper of inswapper's kind.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engines.cache import SESSIONS
from ...engines.host import StandaloneHost
from ...engines.memory import meter, resident
from ...engines.memory.budget import GIB, MIB
from ...models.opening import open_model
from ...video.pipeline import ClipSettings, process_video
from ...video.steps import RestoreStep
from ..quality.quality import DATA
from ..result import at_least, at_most, print_result
from . import clips, followed, kill, speed, steady

HOST = StandaloneHost("cpu")
LONG, EARLY, EVERY = 10_000, 500, 20  # frames; the frame from which memory is watched; seconds between faces
GROWTH, PEAK = 64 * MIB, 700 * MIB
HD_FRAMES = 300
KILLS = 20
HELD_FRAMES, HELD_SHARE, HELD_TIME = 50, 0.6, 0.45
SAMPLE = 0.05  # s

Bars = list[dict[str, Any]]


def bundled() -> Any:
    return open_model(host=HOST)


def constant_memory(data: Path, folder: Path, frames: int) -> Bars:
    """A long clip with a face in every twentieth second: how RSS grows from frame 500 to the end."""
    width, height, side = 320, 180, 150
    (portrait,) = clips.portraits(data / "portraits", 1, side)
    scene, motion = clips.background(width, height, 1), clips.wandering(width, height, side, 2)

    def pictures() -> Iterator[np.ndarray]:
        for index in range(frames):
            shown = [(portrait, motion)] if index // clips.RATE % EVERY == 0 else []
            moved = np.roll(scene, index // 2, 1)
            yield clips.frame_of(shown, moved, index)

    source = clips.write_clip(folder / "long.mp4", pictures(), (width, height))
    levels: dict[str, list[int]] = {"look": [], "work": []}

    def progress(stage: str, done: int, total: int) -> None:
        if stage in levels and done >= EARLY:
            levels[stage].append(resident.resident_bytes())

    host = StandaloneHost("cpu", progress=progress)
    report = process_video(source, folder / "long_out.mp4", [RestoreStep(bundled())], host=host,
                           settings=ClipSettings(ram=GIB))  # fmt: skip
    growth = max(max(levels["look"]), max(levels["work"])) - levels["look"][0]
    same_times = clips.times(folder / "long_out.mp4") == clips.times(source)
    same_sound = clips.sound_packets(folder / "long_out.mp4") == clips.sound_packets(source)
    print(f"{report.as_text()}\ngrowth {growth / MIB:.1f} MiB over {frames} frames", flush=True)
    return [
        at_most(f"growth of RSS over {frames} frames, MiB", round(growth / MIB, 1), GROWTH / MIB),
        at_least("frames out / frames in", report.frames / frames, 1.0),
        at_least("times identical", float(same_times), 1.0),
        at_least("sound byte-identical", float(same_sound), 1.0),
    ]


def high_definition(data: Path, folder: Path, frames: int) -> Bars:
    """1080p with two faces inside 1 GiB: RSS above the state after imports, sampled."""
    width, height, side = 1920, 1080, 420
    people = clips.portraits(data / "portraits", 2, side)
    scene = clips.background(width, height, 3)
    moving = [(people[k], clips.wandering(width, height, side, 4 + k)) for k in range(2)]
    pictures = (clips.frame_of(moving, scene, index) for index in range(frames))
    source = clips.write_clip(folder / "hd.mp4", pictures, (width, height))
    model = bundled()
    SESSIONS.release()
    meter.release_unused(torch.device("cpu"))
    base, peak, stop = resident.resident_bytes(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE):
            peak[0] = max(peak[0], resident.resident_bytes() - base)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    report = process_video(
        source, folder / "hd_out.mp4", [RestoreStep(model)], host=HOST, settings=ClipSettings(ram=GIB)
    )
    stop.set()
    watcher.join()
    print(f"{report.as_text()}\npeak {peak[0] / MIB:.0f} MiB", flush=True)
    return [at_most(f"RSS above imports, 1080p with two faces, {frames} frames, MiB", round(peak[0] / MIB), PEAK / MIB)]


def held(data: Path, folder: Path, frames: int) -> Bars:
    """A clip with repeated frames beside the same without: time, and the bits of the repetitions."""
    width, height, side = 320, 180, 150
    (portrait,) = clips.portraits(data / "portraits", 1, side)
    motion, scene = clips.wandering(width, height, side, 9), clips.background(width, height, 9)
    repeats = set(np.random.default_rng(3).permutation(np.arange(1, frames))[: round(HELD_SHARE * frames)].tolist())
    shown = [0]
    for index in range(1, frames):
        shown.append(shown[-1] if index in repeats else index)
    model, spent = bundled(), {}
    for name, order in (("moving", list(range(frames))), ("held", shown)):
        pictures = (clips.frame_of([(portrait, motion)], scene, index) for index in order)
        source = clips.write_clip(folder / f"{name}.mkv", pictures, (width, height), "ffv1", sound=False)
        process_video(source, folder / "warm.mkv", [RestoreStep(model)], host=HOST,
                      settings=ClipSettings(ram=GIB, stop=2, in_frames=True))  # fmt: skip
        begun = time.perf_counter()
        process_video(
            source, folder / f"{name}_out.mkv", [RestoreStep(model)], host=HOST, settings=ClipSettings(ram=GIB)
        )
        spent[name] = time.perf_counter() - begun
    pictures_out = steady.frames_of(folder / "held_out.mkv")
    pairs = [index for index in range(1, frames) if shown[index] == shown[index - 1]]
    same = all(np.array_equal(pictures_out[index], pictures_out[index - 1]) for index in pairs)
    share = len(pairs) / frames
    print(f"{share:.0%} repeated: {spent['held']:.1f} s beside {spent['moving']:.1f} s", flush=True)
    return [
        at_most(
            f"time with {share:.0%} repeated frames / without", round(spent["held"] / spent["moving"], 3), HELD_TIME
        ),
        at_least("repetitions have the same bits", float(same), 1.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--only", nargs="*", default=[], help="followed, memory, hd, kill, held, tracks, cuts, steady, speed"
    )
    parser.add_argument("--frames", type=int, default=0, help="instead of a part's own number")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts: dict[str, Callable[[], Bars]] = {
            "followed": lambda: followed.followed(args.data),
            "tracks": lambda: steady.tracks(args.data),
            "cuts": lambda: steady.cuts(args.data),
            "steady": lambda: steady.steadiness(args.data, folder, bundled()),
            "held": lambda: held(args.data, folder, args.frames or HELD_FRAMES),
            "hd": lambda: high_definition(args.data, folder, args.frames or HD_FRAMES),
            "memory": lambda: constant_memory(args.data, folder, args.frames or LONG),
            "kill": lambda: kill.killed(args.data, folder, args.frames or KILLS),
            "speed": lambda: speed.speed(args.data, folder, args.frames),
        }
        bars: Bars = []
        for name, part in parts.items():
            if not args.only or name in args.only:
                print(f"-- {name}", flush=True)
                bars += part()
    print_result("video", bars)


if __name__ == "__main__":
    main()
