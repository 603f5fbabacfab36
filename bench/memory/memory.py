"""Whether the budget is kept: every cell in a fresh process, by the operating system's own account.

`python3 dev.py bench memory [--full] [--cells N]` prints last one line of JSON. A cell is a network, a
budget, a frame size and a number of faces. It has two good ends: a picture, with memory that never rose above
the budget; or the sentence that it cannot fit, before anything was taken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...catalog.files import BUNDLED_FILE
from ...engines.host import StandaloneHost
from ...engines.memory import meter
from ...engines.memory.budget import MIB, MemoryBudget
from ...errors import BudgetError
from ..result import at_least, at_most, print_result
from ..twins import save_twin
from . import give_back, low_memory_forwards
from . import rows as memory_rows
from .card_memory import card_rise
from .rows import ROWS, Row

BUDGETS = (512, 1024, 1536, 2048, 4096)  # MiB
NETWORKS = ("bundled", "GFPGAN", "RestoreFormer", "CodeFormer")
FRAMES = {"720p": (720, 1280), "4K": (2160, 3840), "8K": (4320, 7680)}
FACES = (1, 8)
UPSCALER = "ESRGAN"
SMALL = {"180p": (180, 320)}  # for the upscaler, which takes many minutes at 720p

# What a refusal may take on its way to its sentence: reading the file's shapes and probing the twin.
REFUSAL_BYTES = 32 * MIB
SECONDS_PER_CELL = 900
JUDGED_BYTES = 40 * MIB  # measured: below it what a process does for itself is more than what is forecast


@dataclass(frozen=True)
class Cell:
    """budget in MiB. whole: the frame itself is restored, not its faces."""

    network: str
    budget: int
    frame: str
    faces: int
    whole: bool = False

    def __str__(self) -> str:
        what = "whole frame" if self.whole else f"{self.faces} faces"
        return f"{self.network}, {self.budget} MiB, {self.frame}, {what}"


def all_cells() -> list[Cell]:
    faces = [Cell(*each) for each in product(NETWORKS, BUDGETS, FRAMES, FACES)]
    return faces + [Cell(UPSCALER, budget, "720p", 0, whole=True) for budget in BUDGETS]


def spread_of_cells() -> list[Cell]:
    """Every network with every budget, sizes and numbers of faces taken in turn, the dear ones with one face."""
    chosen = []
    for network, budgets in zip(NETWORKS, (BUDGETS,) * len(NETWORKS), strict=True):
        for index, budget in enumerate(budgets):
            frame = list(FRAMES)[(index + NETWORKS.index(network)) % len(FRAMES)]
            chosen.append(Cell(network, budget, frame, 8 if network == "bundled" or index == 0 else 1))
    chosen += [Cell("bundled", 512, frame, 1) for frame in FRAMES]
    chosen += [Cell("bundled", 512, "4K", 0, whole=True), Cell(UPSCALER, 512, "180p", 0, whole=True)]
    return chosen


def frame_with_faces(height: int, width: int, faces: int) -> torch.Tensor:
    """(1, H, W, 3) float32: so many portraits of one astronaut on grey."""
    import cv2
    from skimage import data

    frame = np.full((1, height, width, 3), 0.5, np.float32)
    columns, rows = (1, 1) if faces == 1 else (4, 2)
    side = min(width // columns, height // rows)
    portrait = cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    for index in range(faces):
        y, x = index // columns * side, index % columns * side
        frame[0, y : y + side, x : x + side] = portrait
    return torch.from_numpy(frame)


def run_cell(cell: Cell, weights: Path) -> dict[str, Any]:
    """Restores in this process and says what it took. Frames in and out are not counted."""
    from ...faces.restore import restore_faces, restore_image
    from ...models.torch_model import torch_model

    host = StandaloneHost()
    device = host.device()
    if device.type != "cpu":
        # The context, which is there before any budget, with the libraries that belong to it.
        torch.conv2d(*torch.ones(2, 1, 8, 8, 8, device=device))
    frames = frame_with_faces(*(FRAMES | SMALL)[cell.frame], cell.faces)
    budget = MemoryBudget(cell.budget * MIB)
    blueprint = torch_model(weights, cell.network)
    meter.release_unused(device)
    result: dict[str, Any] = {"cell": asdict(cell)}
    with card_rise(device) as card, meter.peak(device) as measured:
        try:
            if cell.whole:
                out, report = restore_image(frames, blueprint, budget, host)
                outputs = out.nbytes
            else:
                restored = restore_faces(frames, blueprint, budget, host)
                outputs, report = restored.frames.nbytes + restored.mask.nbytes, restored.report
        except BudgetError as error:
            result["refusal"] = str(error)
    if "refusal" not in result:
        result["report"] = report.as_dict()
    else:
        outputs = 0 if cell.whole else frames.nbytes + frames[..., 0].nbytes
    if device.type == "cpu":
        result["rise"] = max(0, measured.peak - outputs)
    else:  # what torch's allocator took, or more where the card lost more
        result["rise"] = max(measured.peak, card.peak)
    return result


def run_row(row: Row) -> dict[str, Any]:
    """Does a row's work in this process, on the CPU, and says what it took. Frames in and out are not counted."""
    result: dict[str, Any] = {"cell": {"row": row.name, "budget": row.budget}}
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        work = row.prepare(memory_rows.budget_of(row), Path(folder))
        meter.release_unused(cpu)
        outputs = 0
        with meter.peak(cpu) as measured:
            try:
                done = work()
                outputs, result["report"] = done.outputs, done.report.as_dict()
            except BudgetError as error:
                result["refusal"] = str(error)
    return {**result, "rise": max(0, measured.peak - outputs)}


def in_fresh_process(cell: Cell, weights: Path) -> dict[str, Any]:
    arguments = ["--cell", json.dumps(asdict(cell)), "--weights", str(weights)]
    return _in_fresh_process(arguments, asdict(cell))


def row_in_fresh_process(row: Row) -> dict[str, Any]:
    return _in_fresh_process(["--row", row.name], {"row": row.name, "budget": row.budget})


def _in_fresh_process(arguments: list[str], cell: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "slimfusion.bench.memory.memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_PER_CELL)
    if done.returncode != 0:
        return {"cell": cell, "failure": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.splitlines()[-1])


def kept(outcome: dict[str, Any]) -> bool:
    """Whether a cell ended in one of its two good ends."""
    if "failure" in outcome:
        return False
    limit = REFUSAL_BYTES if "refusal" in outcome else outcome["cell"]["budget"] * MIB
    return bool(outcome["rise"] <= limit)


def said(outcome: dict[str, Any]) -> str:
    if "failure" in outcome:
        return f"FAILED {outcome['failure']}"
    verdict = "kept" if kept(outcome) else "EXCEEDED"
    if "refusal" in outcome:
        return f"{verdict}, refused at {outcome['rise'] / MIB:.0f} MiB"
    report = outcome["report"]
    return (
        f"{verdict}: {outcome['rise'] / MIB:.0f} MiB; the run predicted {report['predicted_peak'] / MIB:.0f}, "
        f"measured {report['measured_peak'] / MIB:.0f}, {report['precision']}, "
        f"{sum(report['seconds'].values()):.1f} s"
    )


def measured_cells(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        files = {"bundled": BUNDLED_FILE}
        for cell in cells:
            if cell.network not in files:
                files[cell.network] = save_twin(cell.network, Path(folder) / f"{cell.network}.pth")
            outcomes.append(in_fresh_process(cell, files[cell.network]))
            print(f"{cell}: {said(outcomes[-1])}", flush=True)
    return outcomes


def measured_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    outcomes = []
    for row in rows:
        outcomes.append(row_in_fresh_process(row))
        print(f"{row.name}, {row.budget} MiB: {said(outcomes[-1])}", flush=True)
    return outcomes


def bars(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    restored = [each["report"] for each in outcomes if "report" in each]
    judged = [report for report in restored if report["measured_peak"] >= JUDGED_BYTES]
    ratios = [report["predicted_peak"] / report["measured_peak"] for report in judged]
    share = sum(map(kept, outcomes)) / max(1, len(outcomes))
    return [
        at_least("cells measured", len(outcomes), 24),
        at_least("share of cells that kept the budget", share, 1.0),
        at_most("largest prediction / measured", round(max(ratios, default=1.0), 3), 1.25),
        at_least("smallest prediction / measured", round(min(ratios, default=1.0), 3), 0.8),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every cell instead of a spread")
    parser.add_argument("--only", default="", help="cells whose description contains this")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(run_cell(Cell(**json.loads(args.cell)), args.weights)))
        return
    if args.row:
        print(json.dumps(run_row(memory_rows.row(args.row))))
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    cells = [cell for cell in (all_cells() if args.full else spread_of_cells()) if args.only in str(cell)]
    rows = [row for row in ROWS if args.only in row.name and (args.full or args.only or not row.is_long)]
    measured = bars(measured_cells(cells) + measured_rows(rows))
    print_result("memory", measured if args.only else measured + low_memory_forwards.bars() + give_back.bars())


if __name__ == "__main__":
    main()
