"""Clips whose truth is known: portraits that move over a background by motions that are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...distill.data import read_picture, resized
from ...opencv import cv2

Image = np.ndarray
RATE = 30


def portraits(folder: Path, count: int, side: int, first: int = 0) -> list[Image]:
    """The first pictures of a folder, (side, side, 3) uint8 RGB. All are square."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png", ".webp"))
    return [resized(read_picture(path), side) for path in paths[first : first + count]]


def background(width: int, height: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 160, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True, eq=False)
class Motion:
    """How a portrait moves: its affine (2, 3) from its own px to the frame's at a time in frames."""

    affine: Callable[[float], np.ndarray]


def wandering(width: int, height: int, side: int, seed: int, speed: float = 1.0) -> Motion:
    """Translation, scale and rotation, all smooth."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 4)

    def affine(time: float) -> np.ndarray:
        t = time * speed
        scale = 0.9 + 0.1 * np.sin(t / 29 + phases[2])
        angle = 0.15 * np.sin(t / 37 + phases[3])
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        x = width * (0.5 + 0.3 * np.sin(t / 23 + phases[0]))
        y = height * (0.5 + 0.15 * np.sin(t / 31 + phases[1]))
        middle = (side - 1) / 2
        return np.array([[cosine, -sine, x - cosine * middle + sine * middle],
                         [sine, cosine, y - sine * middle - cosine * middle]])  # fmt: skip

    return Motion(affine)


def drawn(canvas: Image, portrait: Image, affine: np.ndarray) -> None:
    """Puts a portrait into a frame, in place, with a soft round edge."""
    side = len(portrait)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]]) @ affine[:, :2].T + affine[:, 2]
    limits = np.array([canvas.shape[1], canvas.shape[0]])
    low = np.clip(np.floor(corners.min(0)), 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, limits).astype(int)
    if (high <= low).any():
        return
    inside = np.column_stack([affine[:, :2], affine[:, 2] - low])
    size = int(high[0] - low[0]), int(high[1] - low[1])
    moved = cv2.warpAffine(portrait, inside, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(_oval(side), inside, size, flags=cv2.INTER_LINEAR)[..., None]
    part = canvas[low[1] : high[1], low[0] : high[0]]
    part[:] = np.rint(part * (1 - mask) + moved * mask).astype(np.uint8)


@lru_cache(maxsize=8)
def _oval(side: int) -> np.ndarray:
    """(side, side) float32 0..1, soft at its edge."""
    y, x = np.mgrid[:side, :side]
    return np.clip((1 - np.hypot((x - side / 2) / (side * 0.42), (y - side / 2) / (side * 0.5))) * 12, 0, 1).astype(
        np.float32
    )


def frame_of(faces: Sequence[tuple[Image, Motion]], scene: Image, time: float) -> Image:
    canvas = scene.copy()
    for portrait, motion in faces:
        drawn(canvas, portrait, motion.affine(time))
    return canvas


def write_clip(path: Path, frames: Any, size: tuple[int, int], codec: str = "libx264", sound: bool = True) -> Path:
    """frames: (height, width, 3) uint8 each, one after the other. size: width, height."""
    options = {"crf": "14", "preset": "veryfast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=RATE, options=options)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        noise: Any = None
        if sound:
            noise = container.add_stream("aac", rate=48000)
            noise.layout = "mono"
        for count, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = count
            container.mux(video.encode(frame))
            if noise is not None:
                container.mux(noise.encode(_second(count + 1, Fraction(48000, RATE))))
        container.mux(video.encode(None))
        if noise is not None:
            container.mux(noise.encode(None))
    return path


def _second(index: int, length: Fraction) -> av.AudioFrame:
    """A frame's worth of sound."""
    start, stop = int((index - 1) * length), int(index * length)
    wave = (np.sin(np.arange(start, stop) * 0.05) * 0.3).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
    frame.sample_rate, frame.pts = 48000, start
    return frame


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in container.decode(video=0)]


def sound_packets(path: Path) -> list[tuple[Any, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
