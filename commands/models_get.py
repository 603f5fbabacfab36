"""`slimfusion models get`: one model file, downloaded because the user asked for it and accepted its licence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..catalog.known import KNOWN, KnownFile
from ..errors import DependencyError, DownloadError, SettingError
from .models import COMFYUI_MODELS, existing, terms
from .progress import ProgressBar

WORDS = ("models", "get")
NAME = " ".join(WORDS)
SHOWN_HASH = 8  # digits of a hash that tell files of one name apart


def add(commands: Any) -> None:
    parser = commands.add_parser(NAME, help="download one known model file, its licence accepted and its hash checked")
    parser.add_argument("name", metavar="NAME", help="of a file that `slimfusion models` lists")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="a folder of models, such as ComfyUI/models, below "
                        "which the file gets its place; without, that of the ComfyUI around this pack")  # fmt: skip
    parser.add_argument("--accept-licence", action="store_true", help="you have read the licence and accept it")
    parser.add_argument("--sha256", default="", metavar="START", help="the first digits of the hash, where several "
                        "files have this name")  # fmt: skip
    parser.add_argument("--mirror", action="append", default=[], metavar="URL", help="an address of this very file to "
                        "try first; may be given several times")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Downloads a file, or says what it takes. Raises SettingError, DownloadError, OutputError, DependencyError."""
    file = chosen_file(args.name, args.sha256)
    urls = (*args.mirror, *file.urls)
    if not file.sha256 or not urls:
        missing = "no address of its own" if file.sha256 else "no hash that a download could be checked by"
        raise DownloadError(f"{file.name} has {missing}. {by_hand(file)}")
    target = models_folder(args.to) / file.folder / file.name
    size = "of a size that is not known" if file.size is None else f"{file.size} bytes"
    print(f"{file.name}  {file.card.name} ({file.card.kind}), {size}, from {file.source}")
    print(f"Licence: {terms(file)}")
    print(f"Goes to: {target}", flush=True)
    if not args.accept_licence:
        raise SettingError("Nothing was downloaded. Read the licence at the source, and add --accept-licence.")
    try:
        from .fetching import Wanted, fetch
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"This copy has no code that uses the network, as ComfyUI's registry wants it. {by_hand(file)}"
        ) from error

    bar = ProgressBar(1)
    bar.begin(file.name)
    try:
        new = fetch(Wanted(target, urls, file.sha256, file.size), lambda done, total: bar("get", done, total or done))
    except DownloadError as error:
        raise DownloadError(f"{error} {by_hand(file)}") from error
    finally:
        bar.clear()
    print("It is there, and its hash is right." if new else "It was there already, and its hash is right.")
    return 0


def chosen_file(name: str, start: str) -> KnownFile:
    """The known file of a name. start: of its hash. Raises SettingError for none or several."""
    same = [file for file in KNOWN if file.name.lower() == name.lower()]
    if not same:
        raise SettingError(f"No known file is called {name!r}. `slimfusion models` lists those that can be had.")
    fitting = [file for file in same if file.sha256.startswith(start.lower())]
    if len(fitting) != 1:
        choices = "; ".join(f"{file.sha256[:SHOWN_HASH] or 'no hash'} from {file.source}" for file in same)
        raise SettingError(f"{len(same)} known files are called {name!r}. Choose one with --sha256: {choices}.")
    return fitting[0]


def models_folder(folder: Path | None) -> Path:
    """The folder of models, which exists. Raises SettingError."""
    if folder is not None:
        return existing([folder])[0]
    if not COMFYUI_MODELS.is_dir():
        raise SettingError("This pack does not lie in a ComfyUI. Name a folder of models with --to.")
    return COMFYUI_MODELS


def by_hand(file: KnownFile) -> str:
    return f"Get it from {file.source} ({terms(file)}) and put it into models/{file.folder}."
