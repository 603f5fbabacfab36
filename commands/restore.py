"""`slimfusion restore`: the faces of pictures, or whole pictures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog.files import BUNDLED, model_path
from ..errors import BudgetError, FacesError, ImageError, OutputError
from .progress import ProgressBar

if TYPE_CHECKING:
    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..engines.memory.report import Report
    from ..engines.session import Blueprint

SOME_FAILED, NOTHING_DONE = 1, 2


def add(commands: Any) -> None:
    parser = commands.add_parser("restore", help="restore the faces of pictures, or whole pictures")
    parser.add_argument("source", help="a picture, a folder, or a pattern such as 'photos/*.jpg'")
    parser.add_argument("out", type=Path, help="the picture to write, or a folder for several")
    parser.add_argument("--model", default=BUNDLED, help="a model file; the bundled network without")
    parser.add_argument("--whole", action="store_true", help="restore whole pictures instead of their faces")
    parser.add_argument("--budget", default="auto", help="memory that may be added, such as 1GiB (auto)")
    parser.add_argument("--mode", default="auto", help="auto, performance, quality or compatibility")
    parser.add_argument("--on-low-memory", default="degrade", help="degrade or fail")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu")
    parser.add_argument("--engine", default="auto", help="auto, torch, onnxruntime or tensorrt")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    parser.add_argument("--strength", type=float, default=1.0, help="0 to 1, how much of the restored face")
    parser.add_argument("--fidelity", type=float, default=0.5, help="0 sharp to 1 faithful, where known")
    parser.add_argument("--tile", type=int, default=0, help="side of a tile in px; 0 as the budget allows")
    parser.add_argument("--overlap", type=int, default=32, help="px over which tiles crossfade")
    parser.add_argument("--report", type=Path, help="write what happened to this JSON file")


def run(args: argparse.Namespace) -> int:
    """Restores every picture of the source; one that fails is named and the rest goes on."""
    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget, parse_bytes
    from ..faces.networks import blueprint_from_path
    from ..faces.picture_files import picture_paths

    paths = picture_paths(args.source)
    limit = None if args.budget == "auto" else parse_bytes(args.budget)
    budget = MemoryBudget(limit, args.mode, args.on_low_memory)
    bar = ProgressBar(len(paths))
    host = StandaloneHost(args.device, bar)
    name = Path(args.model).name
    blueprint = blueprint_from_path(model_path(args.model, []), name, host, args.engine, args.precision, budget.mode)
    reports: dict[str, Report] = {}
    failed = 0
    for path, target in zip(paths, targets(paths, args.out), strict=True):
        bar.begin(path.name)
        try:
            reports[str(path)] = restore_one(path, target, blueprint, budget, host, args)
        except (ImageError, FacesError, BudgetError, OutputError) as error:
            failed += 1
            bar.clear()
            print(f"slimfusion: {error}", file=sys.stderr)
            continue
        bar.clear()
        print(f"{path} -> {target}\n{reports[str(path)].as_text()}")
    if args.report:
        write_report(args.report, reports)
    if failed == len(paths):
        return NOTHING_DONE
    return SOME_FAILED if failed else 0


def restore_one(
    path: Path,
    target: Path,
    blueprint: Blueprint,
    budget: MemoryBudget,
    host: StandaloneHost,
    args: argparse.Namespace,
) -> Report:
    from ..engines.planning import Options
    from ..faces.picture_files import read_picture, write_picture
    from ..faces.restore import restore_faces, restore_image

    picture = read_picture(path)
    frames = picture.pixels[None]
    options = Options(args.precision, args.tile, args.overlap, args.fidelity)
    if args.whole:
        frames, report = restore_image(frames, blueprint, budget, host, options)
    else:
        restored = restore_faces(frames, blueprint, budget, host, strength=args.strength, options=options)
        frames, report = restored.frames, restored.report
    write_picture(target, frames[0], picture.depth)
    return report


def targets(paths: list[Path], out: Path) -> list[Path]:
    """Where each picture goes: into the folder `out`, or to the file `out` when it is one for one.

    Raises OutputError before any work is done when a result could not be written or would overwrite its source.
    """
    from ..faces.picture_files import SUFFIXES

    found = [out] if len(paths) == 1 and out.suffix and not out.is_dir() else [out / path.name for path in paths]
    if found != [out] and out.is_file():
        raise OutputError(f"{out} is a file, but {len(paths)} pictures need a folder. Name a folder.")
    if found == [out] and out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out.name} has no ending of a picture; use one of {', '.join(SUFFIXES)}.")
    names = [target.name for target in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OutputError(f"Several pictures are called {twice[0]}: restore their folders one by one.")
    for path, target in zip(paths, found, strict=True):
        if path.resolve() == target.resolve():
            raise OutputError(f"{target} is the picture itself and would be overwritten. Choose another place.")
    return found


def write_report(path: Path, reports: dict[str, Report]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({name: report.as_dict() for name, report in reports.items()}, indent=2))
    except OSError as error:
        raise OutputError(f"The report {path} cannot be written ({error.strerror}).") from error
