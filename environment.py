"""The only door to the process's variables, and to the pip of the Python that runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where weights for training and measuring are kept, outside the package.

    It follows XDG_CACHE_HOME, which counts only where it is absolute, as the XDG Base Directory Specification says.
    """
    chosen = Path(os.getenv("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "slimfusion"


def forbid_telemetry() -> None:
    """Keeps onnxruntime, which since 1.32 reports to its maker, from doing so; it looks once, when it is imported."""
    if os.getenv("ORT_DISABLE_TELEMETRY") is None:
        os.putenv("ORT_DISABLE_TELEMETRY", "1")  # its native code asks the system, not Python


def pip(words: str) -> str:
    """A pip command for the Python that runs now, which is often not the one that `pip` alone would mean."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable or "python"
    return f"{python} -m pip {words}"
