"""The single door to OpenCV: `from .opencv import cv2` is its module, or what stands for it where it is not there.

It is not among the requirements of the pack (see requirements.txt). Every node runs without it, slower on large
pictures, and a clip's flicker is not measured: see stand_in.py. What the command line reads and writes pictures with
says on its first use what to install, and Doctor can be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from ..environment import pip
from ..errors import DependencyError

# The wheels that bring the module cv2, of which any is good, and which overwrite one another.
WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
HEADLESS = "opencv-python-headless"  # needs no display libraries, which servers do not have
BEFORE_NUMPY_2 = '"opencv-python-headless<4.12"'  # later ones ask pip for numpy 2


def owners() -> dict[str, str]:
    """The versions of the installed wheels that bring cv2, by name."""
    versions = {}
    for name in WHEELS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def fitting_wheel() -> str:
    """What to give to pip so that it brings OpenCV and leaves numpy as it is."""
    try:
        return BEFORE_NUMPY_2 if int(metadata.version("numpy").split(".")[0]) < 2 else HEADLESS
    except (metadata.PackageNotFoundError, ValueError):
        return HEADLESS


class StandIn:
    """Taken for the module cv2 where that does not load. sentence: why it does not, and what to type."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __getattr__(self, name: str) -> Any:
        from .stand_in import PARTS  # scipy and torch take a moment, which who has OpenCV need not wait for

        if name not in PARTS:
            raise DependencyError(self._sentence)
        return PARTS[name]


def is_whole() -> bool:
    """Whether OpenCV itself is used, with all that it can do."""
    return not isinstance(cv2, StandIn)


def mend(wheels: Sequence[str], contrib: bool = False) -> str:
    """The commands that put one whole OpenCV there, one a line. wheels: those that are installed, see `owners`.

    contrib: with the modules that only this one has; they are kept where they are.
    """
    kind = "contrib-python" if contrib or any("contrib" in name for name in wheels) else "python"
    wanted = fitting_wheel().replace("opencv-python", f"opencv-{kind}")
    away = f"{pip('uninstall -y ' + ' '.join(wheels))}\n" if wheels else ""
    return f"{away}{pip(f'install {wanted}')}"


def sentence_of(error: Exception | None) -> str:
    """What is wrong, and the command. error: of the import; None for a module that is there in part."""
    wheels = owners()
    commands = mend(list(wheels)).replace("\n", ", then ")
    if not wheels and isinstance(error, ModuleNotFoundError):
        return f"OpenCV is not installed. Type: {commands}"
    if error is not None:  # such as the desktop build without libGL on a server
        return f"OpenCV does not load ({error}). Type: {commands}"
    return f"OpenCV is installed only in part (no warpAffine). Type: {commands}"


try:
    import cv2
except ImportError as error:
    cv2: Any = StandIn(sentence_of(error))  # type: ignore[no-redef]
else:
    if not hasattr(cv2, "warpAffine"):  # removing one of two OpenCV packages leaves an empty folder that imports
        cv2 = StandIn(sentence_of(None))  # type: ignore[assignment]
