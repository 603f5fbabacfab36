"""`slimfusion doctor`: what works here, what does not, and the command that mends it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import SettingError

PROBLEM = 1
ROOT = Path(__file__).resolve().parent.parent


def add(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="say what works here, and the command that mends what does not")
    parser.add_argument(
        "--models",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="search this folder for models; may be given several times (those of the ComfyUI around this folder)",
    )
    parser.add_argument("--hash", action="store_true", help="also compute the SHA-256 of every model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Returns 1 when there is a problem; advice is none."""
    from ..engines.doctor import as_dict, as_text, examine

    for folder in args.models or []:
        if not folder.is_dir():
            raise SettingError(f"There is no folder {folder} to search for models. Check the path.")
    findings = examine(args.models or comfyui_models(ROOT), args.hash, progress)
    progress("")
    content = as_dict(findings)
    print(json.dumps(content, indent=2) if args.json else as_text(findings))
    return 0 if content["ok"] else PROBLEM


def progress(stage: str) -> None:
    """One line on a terminal that is written over; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r{f'looking at {stage} ...' if stage else '':<79.79}\r", end="", file=sys.stderr, flush=True)


def comfyui_models(root: Path) -> list[Path]:
    """The model folders of the ComfyUI in whose custom_nodes this folder lies; none elsewhere."""
    if root.parent.name != "custom_nodes":
        return []
    models = root.parent.parent / "models"
    return [folder for name in ("facerestore_models", "upscale_models") if (folder := models / name).is_dir()]
