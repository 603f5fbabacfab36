"""`slimfusion models`: which model files are there, which are not, and on which terms. Nothing is downloaded."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..catalog.found import Found, missing
from ..catalog.known import MODEL_SUBFOLDERS, KnownFile
from ..catalog.page import models_page
from ..errors import SettingError

# Where the pack lies inside ComfyUI: custom_nodes/<pack>, beside models.
COMFYUI = Path(__file__).resolve().parents[3]
_COMFYUI_MODELS = COMFYUI / "models"
_TERMS = {True: "commercial use allowed", False: "no commercial use", None: "commercial use unclear"}


def add(commands: Any) -> None:
    parser = commands.add_parser("models", help="list the model files that are there and those that are not")
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="folders to search, such as ComfyUI/models; without, the models folder of the ComfyUI around this pack",
    )
    parser.add_argument("--commercial", action="store_true", help="only files that a business may use")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cards", action="store_true", help="print what each known model takes and returns instead")


def run(args: argparse.Namespace) -> int:
    """Prints what was found and what is missing, or the cards."""
    if args.cards:
        print(models_page(), end="")
        return 0
    from ..models.library import search

    folders = searched_folders(args.folders)
    files = search(folders)
    absent = missing(files)
    if args.commercial:
        files = tuple(file for file in files if file.commercial or file.state in ("damaged", "refused"))
        absent = tuple(file for file in absent if file.commercial)
    if args.json:
        rows, lacking = [described(file) for file in files], [described_known(file) for file in absent]
        print(json.dumps({"found": rows, "missing": lacking}))
    else:
        print("\n".join(text(files, absent, folders)))
    return 0


def searched_folders(folders: list[Path]) -> list[Path]:
    """The folders to search: inside a folder of models only those that hold what this program may use.

    Raises SettingError for one that does not exist.
    """
    folders = []
    for folder in existing(folders) or [_COMFYUI_MODELS] * _COMFYUI_MODELS.is_dir():
        inside = [folder / name for name in MODEL_SUBFOLDERS if (folder / name).is_dir()]
        folders += inside or [folder]
    return folders


def existing(folders: list[Path]) -> list[Path]:
    """The folders, with ~ for somebody's home. Raises SettingError for one that does not exist."""
    with contextlib.suppress(RuntimeError):  # there is no such home, and the folder is named below
        folders = [folder.expanduser() for folder in folders]
    for folder in folders:
        if not folder.is_dir():
            raise SettingError(f"There is no folder {folder}. Name a folder with model files.")
    return folders


def described(file: Found) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "size": file.size,
        "state": file.state,
        "name": None if file.known_file is None else file.known_file.name,
        "family": None if file.card is None else file.card.name,
        "kind": None if file.card is None else file.card.kind,
        "sha256": None if file.known_file is None else file.known_file.sha256,
        "licence": file.licence,
        "commercial": file.commercial,
        "note": file.note,
    }


def described_known(file: KnownFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "family": file.card.name,
        "licence": file.licence,
        "commercial": file.commercial,
        "source": file.source,
        "size": file.size,
        "sha256": file.sha256,
    }


def text(files: Iterable[Found], absent: Iterable[KnownFile], folders: Iterable[Path]) -> Iterable[str]:
    places = ", ".join(map(str, folders))
    yield f"Searched: {places or 'nothing; this pack does not lie in a ComfyUI, so name a folder'}"
    yield ""
    files = list(files)
    yield "There:" if files else "No model file was found."
    for file in files:
        what = "" if file.card is None else f"  {file.card.name} ({file.card.kind})"
        yield f"  {file.state:<10} {file.path}  {file.size} bytes{what}"
        if file.known_file is not None:
            yield f"             {terms(file.known_file)}; sha256 {file.known_file.sha256 or 'not known'}"
        if file.note:
            yield f"             {file.note}"
    yield ""
    yield "Not there (nothing is downloaded; get what you want and put it into the folder named):"
    for lacking in absent:
        size = "size not known" if lacking.size is None else f"{lacking.size} bytes"
        yield f"  {lacking.name}  {lacking.card.name} ({lacking.card.kind})  {size}"
        yield f"             {terms(lacking)}; sha256 {lacking.sha256 or 'not known'}"
        yield f"             {lacking.source} -> {lacking.folder}"


def terms(file: KnownFile) -> str:
    return f"{file.licence}: {_TERMS[file.commercial]}"
