"""Options that several commands share, and the values that they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingError
from .models import searched_folders

if TYPE_CHECKING:
    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..faces.detect.settings import DetectionSettings
    from ..faces.identity.keeping import Keeping
    from ..faces.identity.library import ModelLibrary

PICTURES = "pictures, folders, or patterns such as 'photos/*.jpg'"


def picture_options() -> argparse.ArgumentParser:
    """A parent parser: what holds for every command that makes pictures from pictures."""
    parser = argparse.ArgumentParser(add_help=False)
    files = parser.add_argument_group("files")
    files.add_argument("--recursive", action="store_true", help="take subfolders too, and keep their tree in OUT")
    files.add_argument("--resume", action="store_true", help="pass over pictures whose result is there already; "
                       "without, results are replaced")  # fmt: skip
    files.add_argument("--max-pixels", type=float, default=0, metavar="MILLIONS",
                       help="refuse larger pictures (512 million px, or fewer where memory is short)")  # fmt: skip
    files.add_argument("--report", type=Path, help="write what happened to this JSON file")
    memory = parser.add_argument_group("memory and device")
    memory.add_argument("--budget", default="auto", help="memory that may be added, such as 1GiB (auto)")
    memory.add_argument("--mode", default="auto", help="auto, performance, quality or compatibility")
    memory.add_argument("--on-low-memory", default="degrade", help="degrade or fail")
    memory.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu")
    memory.add_argument("--engine", default="auto", help="auto, torch, onnxruntime or tensorrt")
    memory.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    memory.add_argument("--models", type=Path, action="append", default=[], metavar="FOLDER",
                        help="a folder with model files, such as ComfyUI/models; may be given several times. Without, "
                        "the models folder of the ComfyUI around this pack")  # fmt: skip
    detection = parser.add_argument_group("looking for faces")
    detection.add_argument("--detector", default="mtcnn", help="mtcnn, or one of the user's: scrfd, yoloface, yunet")
    detection.add_argument("--score", type=float, default=0.8, help="minimum confidence, 0 to 1 (0.8)")
    detection.add_argument("--min-face", type=int, default=0, metavar="PX",
                           help="smallest face, px of its longer side; 0 for the detector's default")  # fmt: skip
    detection.add_argument("--turned", default="auto", help="faces that lie on their side or upside down: auto (where "
                           "nothing sure is found upright), always or never")  # fmt: skip
    return parser


def add_keep_identity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep-identity", default="off", help="hold back what makes a face less like itself, or less "
                        "like the new person: off, auto or strong (off)")  # fmt: skip


def keeping_from(args: argparse.Namespace) -> Keeping:
    """Raises SettingError. How alike faces stay is looked at where it is kept, or where a report tells it."""
    from ..faces.identity.keeping import Keeping

    return Keeping(args.keep_identity, watch=args.report is not None)


def budget_from(args: argparse.Namespace) -> MemoryBudget:
    from ..engines.memory.budget import MemoryBudget, parse_bytes

    limit = None if args.budget == "auto" else parse_bytes(args.budget)
    return MemoryBudget(limit, args.mode, args.on_low_memory)


def detection_from(args: argparse.Namespace, library: ModelLibrary) -> DetectionSettings:
    from ..faces.detect.settings import DetectionSettings

    find_file = library.detector
    return DetectionSettings(args.detector, args.score, min_face=args.min_face, turned=args.turned, find_file=find_file)


def most_pixels_from(args: argparse.Namespace) -> int:
    """The limit in pixels, 0 for the default. Raises SettingError."""
    if not 0 <= args.max_pixels < 1e6:
        raise SettingError(f"--max-pixels is a number of millions from 0 (as memory allows), not {args.max_pixels:g}.")
    return int(args.max_pixels * 1e6)


def askable_from(args: argparse.Namespace, budget: MemoryBudget, host: StandaloneHost) -> ModelLibrary:
    """The user's model files. Raises SettingError for a folder that does not exist."""
    from ..faces.identity.library import ModelLibrary
    from ..models.library import search

    folders = searched_folders(args.models)
    return ModelLibrary(lambda: search(folders, host=host), budget, host)
