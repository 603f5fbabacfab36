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
    there = search(folders)
    absent = missing(there)
    if args.commercial:
        there = tuple(file for file in there if file.commercial or file.state in ("damaged", "refused"))
        absent = tuple(file for file in absent if file.commercial)
    if args.json:
        found, lacking = [described(file) for file in there], [described_known(file) for file in absent]
        print(json.dumps({"found": found, "missing": lacking}))
    else:
        print("\n".join(text(there, absent, folders)))
    return 0


def searched_folders(given: list[Path]) -> list[Path]:
    """The folders to search: inside a folder of models only those that hold what this program may use.

    Raises SettingError for one that does not exist.
    """
    folders = []
    for folder in existing(given) or [_COMFYUI_MODELS] * _COMFYUI_MODELS.is_dir():
        inside = [folder / name for name in MODEL_SUBFOLDERS if (folder / name).is_dir()]
        folders += inside or [folder]
    return folders


def existing(given: list[Path]) -> list[Path]:
    """The folders, with ~ for somebody's home. Raises SettingError for one that does not exist."""
    with contextlib.suppress(RuntimeError):  # there is no such home, and the folder is named below
        given = [folder.expanduser() for folder in given]
    for folder in given:
        if not folder.is_dir():
            raise SettingError(f"There is no folder {folder}. Name a folder with model files.")
    return given


def described(found: Found) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "size": found.size,
        "state": found.state,
        "name": None if found.known_file is None else found.known_file.name,
        "family": None if found.card is None else found.card.name,
        "kind": None if found.card is None else found.card.kind,
        "sha256": None if found.known_file is None else found.known_file.sha256,
        "licence": found.licence,
        "commercial": found.commercial,
        "note": found.note,
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


def text(there: Iterable[Found], absent: Iterable[KnownFile], folders: Iterable[Path]) -> Iterable[str]:
    places = ", ".join(map(str, folders))
    yield f"Searched: {places or 'nothing; this pack does not lie in a ComfyUI, so name a folder'}"
    yield ""
    there = list(there)
    yield "There:" if there else "No model file was found."
    for found in there:
        what = "" if found.card is None else f"  {found.card.name} ({found.card.kind})"
        yield f"  {found.state:<10} {found.path}  {found.size} bytes{what}"
        if found.known_file is not None:
            yield f"             {terms(found.known_file)}; sha256 {found.known_file.sha256 or 'not known'}"
        if found.note:
            yield f"             {found.note}"
    yield ""
    yield "Not there (nothing is downloaded; get what you want and put it into the folder named):"
    for file in absent:
        size = "size not known" if file.size is None else f"{file.size} bytes"
        yield f"  {file.name}  {file.card.name} ({file.card.kind})  {size}"
        yield f"             {terms(file)}; sha256 {file.sha256 or 'not known'}"
        yield f"             {file.source} -> {file.folder}"


def terms(file: KnownFile) -> str:
    return f"{file.licence}: {_TERMS[file.commercial]}"
