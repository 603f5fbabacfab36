"""A network in a child process: what it survives a hundred times, what is left of it, and what it costs.

`python3 dev.py bench worker` prints last one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ...engines.memory.budget import MIB
from ...engines.ort.providers import PROVIDERS, Request
from ...engines.ort.runtime import loaded, open_session
from ...engines.ort.task import OnnxTask
from ...engines.worker.parent import Worker
from ...engines.worker.process import Patience
from ...errors import BudgetError, SlimFusionError
from .. import twins
from ..result import at_least, at_most, print_result
from .misbehaving import Misbehaving

TIMES = 100
PARENTS = 10
ROUNDS = 8
NAMED_MEMORY = Path("/dev/shm")
IMPATIENT = Patience(start=60.0, run=1.0, silent=1.0)
REQUEST = Request(budget=None)
PAUSE_SECONDS = 0.3  # onnxruntime's threads go on spinning for a while after a run
BUDGET = 128 * MIB
STUCK = "keep_python_from_running"


class Outcome:
    """Counts of one way to fail: how often it did, and how often the result was right in the end.

    said: how often the user was told a sentence with the bytes first, and had to ask again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.happened = self.right = self.said = 0

    def bars(self, times: int) -> list[dict[str, Any]]:
        print(
            f"{self.name}: happened {self.happened} of {times} times, {self.right} right in the end, "
            f"{self.said} sentences on the way",
            flush=True,
        )
        return [
            at_least(f"{self.name} in mid-run, times", self.happened, times),
            at_least(f"{self.name}, right results in the end", self.right, times),
        ]


def exported(module: torch.nn.Module, example: torch.Tensor, path: Path, **options: Any) -> Path:
    """Writes an ONNX file of what the module makes of its first output."""

    class Bare(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> Any:
            result = module(batch, **options)
            return result[0] if isinstance(result, tuple) else result

    # torch's older exporter needs no packages beyond onnx.
    torch.onnx.export(Bare(), (example,), str(path), opset_version=17, dynamo=False)
    return path


def onnx_settings(path: Path) -> dict[str, Any]:
    return {"model": str(path), "provider": "cpu", "request": asdict(REQUEST)}


def in_process(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The same file with the same settings in this process."""
    session = open_session(str(path), PROVIDERS["cpu"], REQUEST)
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def killed(folder: Path, times: int) -> Outcome:
    """onnxruntime at work on a stack of convolutions, killed at a random moment of it."""
    outcome = Outcome("killed")
    layers = [torch.nn.Conv2d(3, 64, 3, padding=1), *(torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(4))]
    batch = torch.rand(1, 3, 160, 160)
    path = exported(torch.nn.Sequential(*layers).requires_grad_(False), batch, folder / "stack.onnx")
    given = batch.numpy()
    expected = in_process(path)(given)
    with Worker(OnnxTask, onnx_settings(path)) as worker:
        worker.run([given])
        start = time.perf_counter()
        worker.run([given])
        seconds = time.perf_counter() - start
        draw = random.Random(0)
        while outcome.happened < times:
            deaths = worker.deaths
            worker.start()
            killer = threading.Timer(draw.uniform(0.05, 0.8) * seconds, kill, [psutil.Process(worker.pid)])
            killer.start()
            (result,) = worker.run([given])
            killer.join()
            if worker.deaths > deaths:  # otherwise it came after the end of the run
                outcome.happened += 1
                outcome.right += np.array_equal(result, expected)
    return outcome


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # killed after the end of the run before
        process.kill()


def misbehaved(name: str, ways: tuple[str, ...], folder: Path, times: int) -> Outcome:
    """Tasks that fail in mid-run once, in turn in each of some ways, and are right when asked again."""
    outcome = Outcome(name)
    given = np.random.default_rng(0).random((3, 512, 512), np.float32)
    once = folder / "once"
    for turn in range(times):
        once.touch()
        settings = {"how": ways[turn % len(ways)], "once": str(once)}
        with Worker(Misbehaving, settings, BUDGET, patience=IMPATIENT) as worker:
            try:
                (result,) = worker.run([given])
            except SlimFusionError as error:
                outcome.said += isinstance(error, BudgetError) and error.needed > error.given == BUDGET
                (result,) = worker.run([given])
            outcome.happened += not once.exists()
            outcome.right += np.array_equal(result, given * 2)
    return outcome


def orphan_bars(folder: Path, times: int) -> list[dict[str, Any]]:
    """Children that are there twenty seconds after their parent was killed in the middle of a run."""
    left = 0
    once = folder / "once"
    for turn in range(times):
        once.touch()
        how = ("hang", STUCK)[turn % 2]
        command = [sys.executable, "-m", f"{__package__}.worker", "--orphan", how, str(once)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            while once.exists():
                time.sleep(0.01)
            parent.kill()
        end = time.monotonic() + 20.0
        while psutil.pid_exists(pid) and time.monotonic() < end:
            time.sleep(0.05)
        left += psutil.pid_exists(pid)
    return [at_most(f"orphans of {times} parents killed in mid-run", left, 0)]


def be_killed(how: str, once: str) -> None:
    """The part of the parent that is killed."""
    with Worker(Misbehaving, {"how": how, "once": once}, patience=Patience(silent=1.0)) as worker:
        worker.start()
        print(worker.pid, flush=True)
        worker.run([np.ones(3)])


def overhead_bars(folder: Path) -> list[dict[str, Any]]:
    """One GFPGAN face in a worker and in this process, in turn; the best of each, since others use the machine.

    The processors' seconds are printed beside: waiting for other programs is not in them.
    """
    batch = torch.rand(1, 3, 512, 512)
    options = {"return_rgb": False, "randomize_noise": False}
    path = exported(twins.gfpgan(), batch, folder / "gfpgan.onnx", **options)
    here, given = in_process(path), batch.numpy()
    seconds: dict[str, list[float]] = {"here": [], "worker": []}
    busy: dict[str, list[float]] = {"here": [], "worker": []}
    with Worker(OnnxTask, onnx_settings(path), budget=4096 * MIB, frugal=False) as worker:  # as where there is room
        start = time.perf_counter()
        worker.start()
        print(f"worker started and GFPGAN loaded in {time.perf_counter() - start:.2f} s", flush=True)
        works = {"here": here, "worker": lambda batch: worker.run([batch])[0]}
        results = {name: work(given) for name, work in works.items()}
        for _ in range(ROUNDS):
            for name, work in works.items():
                time.sleep(PAUSE_SECONDS)
                start, busy_before = time.perf_counter(), processor_seconds(worker)
                work(given)
                seconds[name].append(time.perf_counter() - start)
                busy[name].append(processor_seconds(worker) - busy_before)
        print(f"peak {worker.peak_bytes / MIB:.0f} MiB, held {worker.held_bytes / MIB:.0f} MiB", flush=True)
    best = {name: min(values) for name, values in seconds.items()}
    least = {name: min(values) for name, values in busy.items()}
    for name in works:
        print(f"GFPGAN face, {name}: {best[name]:.3f} s, {least[name]:.2f} s of processors", flush=True)
    difference = float(np.abs(results["here"] - results["worker"]).max())
    return [
        at_most("GFPGAN face, time in a worker against this process", round(best["worker"] / best["here"], 4), 1.05),
        at_most("GFPGAN face, largest difference", difference, 0.0),
    ]


def processor_seconds(worker: Worker) -> float:
    """What this process and the worker's child have used so far."""
    times = [process.cpu_times() for process in (psutil.Process(), psutil.Process(worker.pid))]
    return float(sum(each.user + each.system for each in times))


def present() -> tuple[set[str], int]:
    named = {path.name for path in NAMED_MEMORY.iterdir()} if NAMED_MEMORY.exists() else set()
    return named, psutil.Process().num_fds() if os.name == "posix" else 0


WAYS: dict[str, Callable[[Path, int], list[dict[str, Any]]]] = {
    "killed": lambda folder, times: killed(folder, times).bars(times),
    "hung": lambda folder, times: misbehaved("hung", ("hang", STUCK), folder, times).bars(times),
    "crashed": lambda folder, times: misbehaved("crashed", ("crash", "leave"), folder, times).bars(times),
    "over": lambda folder, times: misbehaved("over budget", ("eat", "stuff_unseen"), folder, times).bars(times),
    "orphans": lambda folder, times: orphan_bars(folder, min(PARENTS, times)),
}


def failure_bars(ways: list[str], folder: Path, times: int) -> list[dict[str, Any]]:
    """Some ways to fail, and what is there after them that was not there before."""
    loaded()  # onnxruntime opens files of its own when it is imported
    named, descriptors = present()
    measured = [bar for way in ways for bar in WAYS[way](folder, times)]
    time.sleep(1.0)
    named_now, descriptors_now = present()
    alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [
        *measured,
        at_most("children left", len(alive), 0),
        at_most("names of shared memory left", len(named_now - named), 0),
        at_most("descriptors left (shared memory and pipes)", max(0, descriptors_now - descriptors), 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=TIMES, help="repetitions of each way to fail")
    parser.add_argument("--only", nargs="+", choices=[*WAYS, "overhead"], default=[*WAYS, "overhead"])
    parser.add_argument("--orphan", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.orphan:
        be_killed(*args.orphan)
        return
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        ways = [way for way in WAYS if way in args.only]
        if ways:
            measured += failure_bars(ways, Path(folder), args.times)
        if "overhead" in args.only:
            measured += overhead_bars(Path(folder))
    print_result("worker", measured)


if __name__ == "__main__":
    main()
