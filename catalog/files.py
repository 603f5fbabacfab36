"""Which model files a user has, and which one a name means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import ModelFileError
from .found import leads_out

BUNDLED = "SlimFusion restorer (bundled)"
BUNDLED_FILE = Path(__file__).resolve().parent.parent / "weights" / "slim_restorer.safetensors"
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")


def model_path(name: str, folders: Iterable[Path]) -> Path:
    """The file that a name from the list, a file name or a path means. Raises ModelFileError."""
    if name == BUNDLED:
        return BUNDLED_FILE
    folders = list(folders)
    try:
        chosen = Path(name).expanduser()
    except RuntimeError as error:
        raise ModelFileError(f"The model {name!r} names a user's folder that does not exist.") from error
    if chosen.is_file():
        return chosen.resolve()
    for candidate in (folder / name for folder in folders):
        if candidate.is_file():
            if leads_out(candidate, folders):
                raise ModelFileError(
                    f"{candidate} is a link to {candidate.resolve()}, outside the model folders, and was not opened. "
                    "Put the file itself there, or name its folder in extra_model_paths.yaml."
                )
            return candidate.resolve()
    places = ", ".join(str(folder) for folder in folders) or "no model folder"
    raise ModelFileError(
        f"The model {name!r} was not found (looked for it as a path and in {places}). Put the file there, "
        f"or choose {BUNDLED!r}, which is always present."
    )
