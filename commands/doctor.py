"""`slimfusion doctor`: what works here, what does not, and the command that mends it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .models import COMFYUI, existing, searched_folders
from .pictures import counted

if TYPE_CHECKING:
    from ..doctor.finding import Finding


PROBLEM = 1
STATE_FOLDERS = ("user/__slimfusion", "__slimfusion")  # where the nodes keep it, under ComfyUI or its user folder


def add(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="say what works here, and the command that mends what does not")
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="folders to search for models, such as ComfyUI/models; without, those of the ComfyUI around this pack",
    )
    parser.add_argument("--hash", action="store_true", help="also compute the SHA-256 of every model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="instead, forget what earlier runs in ComfyUI measured of the models' memory, such as after a new "
        "driver; FOLDER may be ComfyUI, its models or its user folder",
    )


def run(args: argparse.Namespace) -> int:
    """Returns 1 when there is a problem; advice is none."""
    if args.forget:
        return forget(args.folders)
    from ..doctor.examine import as_dict, as_text, examine

    folders = searched_folders(args.folders)

    def models() -> Iterator[Finding]:
        from ..doctor.model_findings import model_findings  # needs torch, which may be what is broken

        return model_findings(folders, args.hash)

    findings = examine(models, progress)
    progress("")
    content = as_dict(findings)
    print(json.dumps(content, indent=2) if args.json else as_text(findings))
    return 0 if content["ok"] else PROBLEM


def forget(folders: list[Path]) -> int:
    """Forgets what ComfyUI's runs have measured; those that run now will notice. Raises SettingError, OutputError."""
    from ..engines.memory.factors import FILE, Factors

    named = existing(folders) or [COMFYUI]
    places = [place / inside for folder in named for place in (folder, folder.parent) for inside in STATE_FOLDERS]
    kept_in = [place for place in dict.fromkeys(places) if (place / FILE).is_file()]
    for place in kept_in:
        count = Factors().forget(place)
        print(f"forgot {counted(count, 'measurement')} of memory ({place / FILE})")
    if not kept_in:
        print(f"nothing was measured yet: there is no {FILE} at {' or '.join(map(str, places))}")
    return 0


def progress(stage: str) -> None:
    """One line on a terminal that is written over; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r{f'looking at {stage} ...' if stage else '':<79.79}\r", end="", file=sys.stderr, flush=True)
