"""Frames a second: beside the same steps on frames that lie in RAM, and beside the usual recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def speed(data: Path, folder: Path, frames: int) -> list[dict[str, Any]]:
    return []
