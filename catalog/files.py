"""Which model files a user has, and which one a name means."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import ModelFileError
from .opening import Stamp, is_regular

BUNDLED = "SlimFusion restorer (bundled)"
BUNDLED_FILE = Path(__file__).resolve().parent.parent / "weights" / "slim_restorer.safetensors"
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")


def model_path(name: str, folders: Iterable[Path] = ()) -> Path:
    """The file that a name from the list, a file name or a path means, for who may name any. Raises ModelFileError."""
    if name == BUNDLED:
        return BUNDLED_FILE
    try:
        chosen = Path(name).expanduser()
    except RuntimeError as error:  # ~somebody, whom the system does not know
        raise ModelFileError(f"The model {name!r} names a user's folder that does not exist.") from error
    if os.path.lexists(chosen):
        return _regular(chosen)
    return _in_folders(name, list(folders), "looked for it as a path and in")


def offered_model(name: str, folders: Iterable[Path]) -> Path:
    """The file that a name from the list means, and no other file of the disk. Raises ModelFileError."""
    if name == BUNDLED:
        return BUNDLED_FILE
    if not isinstance(name, str) or not is_plain(name) or not name.lower().endswith(SUFFIXES):
        raise ModelFileError(
            f"{name!r} is not the name of a model in the model folders. Choose one from the list, or put the file into "
            "one of these folders first."
        )
    return _in_folders(name, list(folders), "looked in")


def _in_folders(name: str, folders: list[Path], looked: str) -> Path:
    places = (
        [place for place in (folder / name for folder in folders) if os.path.lexists(place)] if is_plain(name) else []
    )
    if places:
        return _regular(next((place for place in places if is_regular(place)), places[0]))
    searched = ", ".join(str(folder) for folder in folders) or "no model folder"
    raise ModelFileError(
        f"The model {name!r} was not found ({looked} {searched}). Put the file there, or choose {BUNDLED!r}, which is "
        "always present."
    )


def _regular(path: Path) -> Path:
    """Links are followed and not resolved: a model is named as the link is. Raises ModelFileError."""
    Stamp.of(path)
    return Path(os.path.abspath(path))


def is_plain(name: str) -> bool:
    """Whether a name stays in a folder that it is appended to, on every system: no root, no drive, no way up."""
    ways = PurePosixPath(name), PureWindowsPath(name)
    outside = any(way.root or way.drive or way.anchor or ".." in way.parts for way in ways)
    return bool(name.strip()) and "\0" not in name and not outside
