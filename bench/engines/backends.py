"""One network in every engine: the same picture, and what onnxruntime takes for it.

`python3 dev.py bench backends [--twins GFPGAN,RestoreFormer,CodeFormer]` exports the bundled network and
random-weight twins of public ones, runs each under torch from its weights, under torch from its ONNX file and by every
provider of onnxruntime that runs here, and prints last one line of JSON. The worker process has a bench of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.cache import SessionCache
from ...engines.host import StandaloneHost
from ...engines.job import Job, Options
from ...engines.memory.budget import MIB, MemoryBudget
from ...engines.memory.costs import CostStore
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.network import Model
from ...engines.ort import runtime
from ...engines.ort.probe import probed
from ...engines.ort.providers import Request
from ...engines.ort.task import OnnxTask
from ...engines.plan import plan
from ...engines.worker.parent import Worker
from ...errors import BudgetError
from ...models.export import export
from ...models.opening import Opening, open_model
from ...models.torch_model import torch_model
from .. import twins
from ..result import at_least, at_most, print_result

ALLOWED = {"fp32": 1.0, "bf16": 2.0, "fp16": 2.0}  # of 255
SIDE = 256  # px of the picture for the bundled network, which takes any size
ARENA_RUNS = 20
ARENA_MIB = 350
HOST = StandaloneHost("cpu")


def result_of(blueprint: Model, picture: torch.Tensor, precision: str) -> torch.Tensor:
    """What the product's own way makes of (3, s, s) float32 in 0..1."""
    side = picture.shape[-1]
    sessions = SessionCache()
    job = Job(
        blueprint, Work(side, side, 1, False), MemoryBudget(mode="performance"), HOST, Options(precision=precision)
    )
    try:
        with plan(job, sessions, CostStore()).open(Report()) as run:
            (result,) = run.crops([picture])
            return result
    finally:
        sessions.release()


def engines_of(name: str, weights: Path, onnx: Path) -> Iterator[tuple[str, Callable[[], Model], str]]:
    """Each way to run a network: what it is called, its blueprint, the precision."""
    of_weights, of_file = torch_model(weights), open_model(onnx, host=HOST, opening=Opening("torch"))
    for precision in of_weights.spec.precisions:
        if precision == "bf16":
            yield f"{name}, torch {precision}", lambda: of_weights, precision
    for precision in ("fp32", "bf16"):
        yield f"{name}, ONNX in torch {precision}", lambda: of_file, precision
    running = [key for key in (*runtime.installed().offered, "cpu") if probed(key).ran]
    print(f"onnxruntime runs here on {', '.join(dict.fromkeys(running))}", flush=True)
    yield f"{name}, onnxruntime", lambda: open_model(onnx, host=HOST, opening=Opening("onnxruntime")), "fp32"


def parity_bars(name: str, weights: Path, onnx: Path) -> list[dict[str, Any]]:
    """Largest differences from the weights under torch in fp32, in units of 1/255."""
    side = 512 if name != "bundled" else SIDE
    picture = torch.rand(3, side, side, generator=torch.Generator().manual_seed(1))
    expected = result_of(torch_model(weights), picture, "fp32")
    bars = []
    for what, blueprint, precision in engines_of(name, weights, onnx):
        difference = float((result_of(blueprint(), picture, precision) - expected).abs().max()) * 255
        print(f"{what}: at most {difference:.3f}/255 from torch fp32", flush=True)
        bars.append(at_most(f"{what}, difference of 255", round(difference, 4), ALLOWED[precision]))
    return bars


def arena_bars(onnx: Path) -> list[dict[str, Any]]:
    """What onnxruntime takes for a face beside the weights, and that a limit holds: it is a refusal."""
    given = torch.rand(1, 3, 512, 512).numpy()
    settings = {"model": str(onnx), "provider": "cpu"}
    taken, peak = [], 0
    with Worker(OnnxTask, {**settings, "request": asdict(Request(2048 * MIB))}) as worker:
        worker.start()
        loaded = worker.held_bytes
        for _ in range(ARENA_RUNS):
            worker.run([given])
            taken.append((worker.peak_bytes - loaded) / MIB)
        peak = worker.peak_bytes
    print(f"taken over {ARENA_RUNS} runs: {min(taken):.0f} to {max(taken):.0f} MiB beside {loaded / MIB:.0f} MiB")
    bars = [at_most(f"GFPGAN, MiB beside the weights over {ARENA_RUNS} runs", round(max(taken), 1), ARENA_MIB)]
    refused = 0
    for share in (0.4, 0.6, 0.8):
        limit = int(peak * share)
        with Worker(OnnxTask, {**settings, "request": asdict(Request(limit))}, limit) as worker:
            try:
                worker.run([given])
            except BudgetError:
                refused += 1
            taken_mib, limit_mib = worker.peak_bytes >> 20, limit >> 20
            bars.append(at_most(f"GFPGAN limited to {limit_mib} MiB, MiB taken", taken_mib, limit_mib))
    bars.append(at_least("GFPGAN in too little, sentences", refused, 3))
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench backends", description=__doc__)
    parser.add_argument("--twins", default="GFPGAN", help="GFPGAN, RestoreFormer, CodeFormer, with commas; or none")
    names = [name for name in parser.parse_args().twins.split(",") if name in twins.NAMES]
    bars: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = {"bundled": BUNDLED_FILE} | {
            name: twins.save_twin(name, Path(folder) / f"{name}.pth") for name in names
        }
        for name, weights in files.items():
            onnx = Path(folder) / f"{name}.onnx"
            export(torch_model(weights), "fp32", onnx, batch=None if name == "bundled" else 1)
            bars += parity_bars(name, weights, onnx)
            if name == "GFPGAN":
                bars += arena_bars(onnx)
            if name != "bundled":
                onnx.unlink()
    print_result("backends", bars)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
