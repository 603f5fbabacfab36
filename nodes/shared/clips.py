"""Clips between ComfyUI's VIDEO and files, and what is seen of them while they are worked on."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from ..host import ComfyHost, temporary_folder

STAGES = ("look", "work", "join")
SHOWN_SECONDS = 0.5  # between two of what is shown of a clip in work
PREVIEW_SIDE, COMPARED_SIDE = 512, 1024  # px


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


class ClipHost(ComfyHost):
    """The host while a clip is worked on: one bar for all of it, with its rate, the time left and a small picture."""

    def __init__(self) -> None:
        super().__init__()
        self._part = ""
        self._first, self._begun, self._said, self._seen = 0, 0.0, 0.0, 0.0
        self._picture: np.ndarray | None = None
        self._pair: tuple[np.ndarray, np.ndarray] | None = None

    def preview(self, before: np.ndarray, after: np.ndarray) -> None:
        """A frame in work: shown with the next progress, and kept as the one to compare until the next is."""
        from ...video.pixels import shown

        if monotonic() - self._seen < SHOWN_SECONDS:
            return
        self._pair = shown(before, COMPARED_SIDE), shown(after, COMPARED_SIDE)
        self._picture = shown(self._pair[1], PREVIEW_SIDE)
        self._seen = monotonic()

    def compared(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The last frame that was seen in work, before and after, (1, h, w, 3) float32 0..1 each; None without one."""
        if self._pair is None:
            return None
        before, after = (torch.from_numpy(picture)[None].float() / 255 for picture in self._pair)
        return before, after

    def progress(self, stage: str, done: int, total: int) -> None:
        if stage not in STAGES:
            return  # what the networks say of their own parts
        now = monotonic()
        if stage != self._part:
            self._part, self._first, self._begun, self._said = stage, done, now, 0.0
        if now - self._said < SHOWN_SECONDS and done < total:
            return
        rate = (done - self._first) / max(1e-3, now - self._begun)
        left = (total - done) / rate if rate > 0 else 0.0
        picture, self._picture = self._picture, None
        self.show_progress(stage, done, total, picture, rate=round(rate, 1), left=round(left, 1))
        self._said = now
