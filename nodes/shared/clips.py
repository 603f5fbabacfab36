"""Clips between ComfyUI's VIDEO and files."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

from ..host import temporary_folder


def clip_file(video: Any) -> tuple[Path, float, float | None]:
    """The file of a VIDEO, and the seconds of it that are meant: from, and to, None for the end.

    One that is no file is written into the host's temporary folder.
    """
    try:
        source = video.get_stream_source()
    except ValueError:  # 0.3.75 cannot write a batch of images into memory
        source = None
    path = Path(source) if isinstance(source, str | Path) else _kept(video, source)
    start, length = 0.0, 0.0
    if hasattr(video, "get_active_trim_window"):  # hosts from 0.13 on cut without writing a file
        start, length = video.get_active_trim_window()
    return path, start, start + length if length else None


def _kept(video: Any, source: Any) -> Path:
    """A VIDEO that is no file as one in the temporary folder, under a name that its content gives it."""
    new = temporary_clip(uuid.uuid4().hex, ".mp4")
    if source is None:
        video.save_to(str(new))
    else:
        new.write_bytes(source.getvalue())
    return new.replace(temporary_clip(hashlib.sha256(new.read_bytes()).hexdigest(), ".mp4"))


def temporary_clip(name: str, ending: str) -> Path:
    """A place for a clip in the host's temporary folder, the same for the same name."""
    folder = temporary_folder() / "slimfusion"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name[:24]}{ending}"
