"""Faces that are followed through a clip beside faces that are searched for in all of every frame.

Clips of portraits that wander, small ones, fast ones, tilted ones, some that come in and leave in the middle, one that
is hidden for a while: how many of the faces that whole frames show are found, and in what share of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...engines.host import StandaloneHost
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.report import Report
from ...faces.detect.boxes import iou
from ...faces.detect.detection import detect_faces
from ...faces.detect.follow import Clues, follow_faces
from ...faces.detect.settings import DEFAULT_DETECTION
from ...faces.face import Face
from ...faces.frames import as_floats
from ...opencv import cv2
from ...video.look import FOLLOWED
from ..result import at_least, at_most
from . import clips

Bars = list[dict[str, Any]]
Found = Sequence[Face]
HOST = StandaloneHost("cpu")
FRAMES, WIDTH, HEIGHT = 32, 1920, 1080
SAME = 0.5  # least overlap of one face's boxes
RECALL, TIME = 0.995, 0.5


@dataclass(frozen=True)
class Kind:
    """A clip. sides: px of the portraits. speed: of their motion. shown: whether a portrait is there, by its number and
    the frame's. tilt: radians that every portrait is turned by.
    """

    name: str
    sides: tuple[int, ...]
    speed: float = 1.0
    shown: Callable[[int, int], bool] = lambda _portrait, _frame: True
    tilt: float = 0.0


KINDS = (
    Kind("two", (420, 420)),
    Kind("small", (110, 130, 150)),
    Kind("fast", (300, 200), speed=3.0),
    Kind("tilted", (300, 260), tilt=0.6),
    Kind("come and go", (300, 220, 260), shown=lambda portrait, frame: (frame // 7 + portrait) % 3 > 0),
    Kind("hidden", (320, 200), shown=lambda portrait, frame: portrait > 0 or not 10 <= frame < 20),
)


def followed(data: Path) -> Bars:
    """Recall and time over all kinds of clip."""
    hits = faces = 0
    spent = {"whole": 0.0, "followed": 0.0}
    for number, kind in enumerate(KINDS):
        pictures = _pictures(data, kind, number)
        begun = time.process_time()
        whole = [found for picture in pictures for found in detect_faces(as_floats([picture]), HOST).frames]
        between = time.process_time()
        near = _followed(pictures)
        ended = time.process_time()
        spent["whole"] += between - begun
        spent["followed"] += ended - between
        known = [_is_found(face, others) for some, others in zip(whole, near, strict=True) for face in some]
        more = sum(not _is_found(face, some) for some, others in zip(whole, near, strict=True) for face in others)
        hits, faces = hits + sum(known), faces + len(known)
        print(f"{kind.name:<12} {sum(known)} of {len(known)} faces, {more} more; {between - begun:.1f} s whole, "
              f"{ended - between:.1f} s followed", flush=True)  # fmt: skip
    return [
        at_least("faces of whole frames that are found", round(hits / faces, 4), RECALL),
        at_most("time of following / of whole frames", round(spent["followed"] / spent["whole"], 3), TIME),
    ]


def _pictures(data: Path, kind: Kind, number: int) -> list[np.ndarray]:
    portraits = clips.portraits(data / "portraits", len(kind.sides), max(kind.sides), first=10 * number)
    scene = clips.background(WIDTH, HEIGHT, number)
    moving = []
    for index, side in enumerate(kind.sides):
        motion = clips.wandering(WIDTH, HEIGHT, side, 40 * number + index, kind.speed)
        moving.append((_tilted(portraits[index], side, kind.tilt), motion))
    pictures = []
    for frame in range(FRAMES):
        there = [each for portrait, each in enumerate(moving) if kind.shown(portrait, frame)]
        pictures.append(np.ascontiguousarray(clips.frame_of(there, scene, frame)))
    return pictures


def _tilted(portrait: np.ndarray, side: int, tilt: float) -> np.ndarray:
    """A portrait of another side, turned about its middle."""
    scale, middle = side / portrait.shape[0], portrait.shape[0] / 2
    affine = cv2.getRotationMatrix2D((middle, middle), np.degrees(tilt), scale)
    affine[:, 2] += side / 2 - middle
    return np.asarray(cv2.warpAffine(portrait, affine, (side, side), borderMode=cv2.BORDER_REFLECT))


def _followed(pictures: list[np.ndarray]) -> list[Found]:
    """As a segment of a clip is gone through, without a cut."""
    found: list[Found] = []
    before = np.zeros((0, 4), np.float32)
    for first in range(0, len(pictures), FOLLOWED):
        some = pictures[first : first + FOLLOWED]
        whole = [index == len(some) - 1 or first + index == 0 for index in range(len(some))]
        clues = Clues(whole, before)
        frames = follow_faces(some, clues, HOST, DEFAULT_DETECTION, MemoryBudget(), Report()).frames
        before = np.array([face.box for face in frames[-1]], np.float32).reshape(-1, 4)
        found += frames
    return found


def _is_found(face: Face, others: Found) -> bool:
    boxes = np.array([other.box for other in others], np.float32).reshape(-1, 4)
    return len(boxes) > 0 and float(iou(face.box, boxes, of_smaller=False).max()) > SAME
