"""A look at a clip before it is worked on: its shots, who is in it, and where that is in doubt."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.host import Host, StandaloneHost
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report, counted
from ..faces.align import crop_region, upright_region
from ..faces.detect.boxes import iou
from ..faces.frames import as_floats
from ..opencv import cv2
from .formats import AS_SOURCE, CONTAINERS, choose_encoding
from .look import Looking, Sightings, look
from .manifest import WorkFolder
from .pipeline import DEFAULT_SETTINGS, ClipSettings, plan_memory, span_of
from .pixels import to_pixels
from .places import Places, arrange
from .read import Clip, moments, open_clip
from .report import ClipReport
from .tracks import MOST_UNLIKE, unlikeness, vector_of

PICTURE_SIDE = 160  # px of a person's picture
COLUMNS = 6
MOST_PICTURES = 60
TWICE_UNLIKE = 0.1  # looks of two faces in one frame that are taken for one person
TWICE_OVERLAP = 0.3
_LINE = 22  # px of a line of text


@dataclass(frozen=True)
class Doubt:
    """Something to look at. kind: "lost", "twice" or "changed". first, last: frames. track: its number."""

    kind: str
    track: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Person:
    """A track. first, last, best: frames; best is the one of its picture. sightings: frames that it was seen in.

    picture: (s, s, 3) uint8 RGB.
    """

    track: int
    shot: int
    first: int
    last: int
    sightings: int
    best: int
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class Scan:
    """shots: the first frame of each. times: seconds of each frame. people: by track. seconds: it took. memory: of the
    detector.
    """

    source: str
    shots: tuple[int, ...]
    times: np.ndarray
    people: tuple[Person, ...]
    doubts: tuple[Doubt, ...]
    seconds: float = 0.0
    memory: Report = field(default_factory=Report)

    def as_dict(self) -> dict[str, Any]:
        people = [
            {**{name: getattr(person, name) for name in ("track", "shot", "first", "last", "sightings", "best")},
             "begins": self._at(person.first), "ends": self._at(person.last)}
            for person in self.people
        ]  # fmt: skip
        shots = [{"first": first, "begins": self._at(first)} for first in self.shots]
        return {"source": self.source, "frames": len(self.times), "shots": shots, "people": people,
                "doubts": [asdict(doubt) for doubt in self.doubts]}  # fmt: skip

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2)

    def as_text(self) -> str:
        """A table."""
        counts = (len(self.times), "frame"), (len(self.shots), "shot"), (len(self.people), "track")
        lines = [", ".join(counted(*item) for item in counts), "track  shot   frames              seen  seconds"]
        for item in self.people:
            frames = f"{item.first}-{item.last}"
            lines.append(f"{item.track:>5}  {item.shot:>4}   {frames:<16}  {item.sightings:>6}  "
                         f"{self._at(item.first):.2f}-{self._at(item.last):.2f}")  # fmt: skip
        said = {"lost": "is not seen", "twice": "looks like another face there", "changed": "may change its person"}
        lines += [
            f"track {item.track} {said[item.kind]} in {item.first}-{item.last}, from {self._at(item.first):.2f} s"
            for item in self.doubts
        ]
        return "\n".join(lines)

    def _at(self, frame: int) -> float:
        return round(float(self.times[frame]), 3)

    def sheet(self) -> np.ndarray:
        """All people with their numbers on one picture: (H, W, 3) uint8 RGB."""
        canvas = self.pictures(_LINE)
        for index, person in enumerate(self.people[:MOST_PICTURES]):
            top, left = index // COLUMNS * (PICTURE_SIDE + _LINE), index % COLUMNS * PICTURE_SIDE
            text = f"{person.track}: {person.first}-{person.last}"
            where = left + 4, top + PICTURE_SIDE + _LINE - 6
            cv2.putText(canvas, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
        return canvas

    def pictures(self, below: int = 0) -> np.ndarray:
        """Their pictures in rows of at most COLUMNS: (H, W, 3) uint8 RGB, with `below` px of ground under each."""
        people = self.people[:MOST_PICTURES]
        columns, rows = min(COLUMNS, max(1, len(people))), max(1, -(-len(people) // COLUMNS))
        canvas = np.full((rows * (PICTURE_SIDE + below), columns * PICTURE_SIDE, 3), 24, np.uint8)
        for index, person in enumerate(people):
            top, left = index // COLUMNS * (PICTURE_SIDE + below), index % COLUMNS * PICTURE_SIDE
            canvas[top : top + PICTURE_SIDE, left : left + PICTURE_SIDE] = person.picture
        return canvas


def scan_video(
    source: str | Path,
    budget: MemoryBudget | None = None,
    host: Host | None = None,
    settings: ClipSettings = DEFAULT_SETTINGS,
) -> Scan:
    """Looks at a clip and says who is in it. Raises ClipError, SettingError, OutputError, BudgetError."""
    host, budget = host or StandaloneHost(), budget or MemoryBudget()
    begun, report = time.monotonic(), ClipReport(str(source), "")
    clip = open_clip(Path(source), settings.rate)
    ending = clip.path.suffix.lower()
    encoding, _ = choose_encoding(clip, ending if ending in CONTAINERS else ".mkv", AS_SOURCE, None, 1)
    with tempfile.TemporaryDirectory() as place:
        folder = WorkFolder(Path(place) / "scan.mp4")
        with folder.held():
            chunk, budget = plan_memory(clip, 1, budget, host, settings.ram, folder)
            looking = Looking(clip, encoding.pixels, span_of(clip, settings), chunk, settings.detection, budget, host)
            look(looking, folder, report.add)

            def sightings() -> Iterator[Sightings]:
                return (Sightings.load(folder.looked(index)) for index in sorted(folder.manifest.looked))

            places = arrange(sightings, settings.steadiness)
            doubts = (*_lost(places), *_in_doubt(places, sightings()))
    times = np.array([float(int(pts) * clip.time_base) for pts in places.pts])
    order = tuple(sorted(doubts, key=lambda doubt: (doubt.first, doubt.track)))
    shots, people = tuple(places.begun.tolist()), tuple(_people(clip, places, host))
    return Scan(str(source), shots, times, people, order, time.monotonic() - begun, report.memory)


def _people(clip: Clip, places: Places, host: Host) -> list[Person]:
    result: list[Person] = []
    for track in sorted(places.tracks):
        rows = np.flatnonzero((places.track == track) & ~places.filled)
        best = rows[int(np.argmax([_worth(places, int(row)) for row in rows]))]
        frame = int(places.frame[best])
        shot = int(np.searchsorted(places.begun, frame, "right") - 1)
        span = int(places.frame[rows[0]]), int(places.frame[rows[-1]])
        picture = np.zeros((PICTURE_SIDE, PICTURE_SIDE, 3), np.uint8)
        if len(result) < MOST_PICTURES:
            picture = _picture(clip, places, int(best))
        result.append(Person(track, shot, *span, len(rows), frame, picture))
        host.check_interrupt()
    return result


def _worth(places: Places, row: int) -> float:
    """How well a face shows who it is: large, sure, from the front."""
    left, right, nose = places.points[row][:3].astype(np.float64)
    axis = right - left
    turned = abs(float((nose - left) @ axis) / max(1e-6, float(axis @ axis)) - 0.5)
    side = float((places.box[row][2:] - places.box[row][:2]).max())
    return float(places.score[row]) * min(side, 256.0) * max(0.05, 1 - 2 * turned)


def _picture(clip: Clip, places: Places, row: int) -> np.ndarray:
    moment = next(moments(clip, int(places.pts[places.frame[row]])))
    picture = as_floats([to_pixels(moment.frame, clip)])[0].numpy()
    x0, y0, side = upright_region(places.face(row, 0), "ffhq_512", 2)
    crop = crop_region(picture, x0, y0, side, side)
    small = cv2.resize(crop, (PICTURE_SIDE, PICTURE_SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small.clip(0, 1) * 255).astype(np.uint8)


def _lost(places: Places) -> Iterator[Doubt]:
    """Where a track goes on after frames in which it was not seen."""
    for track in sorted(places.tracks):
        frames = places.frame[(places.track == track) & ~places.filled]
        for index in np.flatnonzero(np.diff(frames) > 1):
            yield Doubt("lost", track, int(frames[index]) + 1, int(frames[index + 1]) - 1)


def _in_doubt(places: Places, segments: Iterator[Sightings]) -> Sequence[Doubt]:
    """Where one person seems to be there twice, and where a track looks unlike itself."""
    result: list[Doubt] = []
    last: dict[int, np.ndarray] = {}
    base = row = 0
    for segment in segments:
        for index in range(len(segment.pts)):
            rows = range(*np.searchsorted(segment.frame, [index, index + 1]))
            looks = [vector_of(segment.look[item]) for item in rows]
            tracks = [int(places.of_sighting[row + item]) for item in range(len(rows))]
            for place, (track, vector) in enumerate(zip(tracks, looks, strict=True)):
                if track in last and unlikeness(last[track], vector) > MOST_UNLIKE:
                    _add(result, "changed", track, base + index)
                last[track] = vector
                for other in range(place):
                    alike = unlikeness(looks[other], vector) < TWICE_UNLIKE
                    box, beside = segment.box[rows[place]], segment.box[rows[other]]
                    if alike or iou(box, beside[None], of_smaller=False)[0] > TWICE_OVERLAP:
                        _add(result, "twice", track, base + index)
            row += len(rows)
        base += len(segment.pts)
    return result


def _add(result: list[Doubt], kind: str, track: int, frame: int) -> None:
    """Adds a frame, to what is said of the frames before it where it follows them."""
    for index in range(len(result) - 1, -1, -1):
        old = result[index]
        if (old.kind, old.track) == (kind, track):
            if old.last >= frame - 1:
                result[index] = replace(old, last=frame)
                return
            break
    result.append(Doubt(kind, track, frame, frame))
