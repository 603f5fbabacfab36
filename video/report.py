"""What was done to a clip, in numbers and sentences; among them how steady its faces are.

Warping error (Lai et al., "Learning Blind Video Temporal Consistency", 2018) inside the faces: the frame before is
brought to the next one by the optical flow of the source, and the difference is averaged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import opencv
from ..engines.memory.budget import format_bytes
from ..engines.memory.report import Report, Span, counted
from ..opencv import cv2

MOST_NOTES = 40
SIDE = 128  # px that a face is measured at
AROUND = 1.2  # times its box


@dataclass
class ClipReport:
    """frames: in the result, as many as in the source. faces: in all of them. shots, tracks: how many. held: frames
    that repeat the one before. reused: faces whose region did not change. filled: faces that were missed between two
    sightings. repeated: frames that stand in for damaged ones. resumed: segments that were there already.

    flicker: the warping error inside faces beside the source's own; None without faces. jitter_source, jitter: px,
    root mean square of the second differences of the points as detected and as used. seconds: this try took. memory: of
    the networks.
    """

    source: str
    target: str
    frames: int = 0
    faces: int = 0
    shots: int = 0
    tracks: int = 0
    held: int = 0
    reused: int = 0
    filled: int = 0
    repeated: int = 0
    resumed: int = 0
    codec: str = ""
    chunk: int = 0
    frames_a_second: float = 0.0
    seconds: float = 0.0
    peak_ram: int = 0
    flicker: float | None = None
    jitter_source: float | None = None
    jitter: float | None = None
    notes: list[str] = field(default_factory=list)
    memory: Report = field(default_factory=Report)

    def note(self, text: str) -> None:
        """Adds a sentence, once, as long as there are few."""
        if text not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(text)

    def as_dict(self) -> dict[str, Any]:
        content = {name: value for name, value in asdict(self).items() if name != "memory"}
        return {**content, "memory": self.memory.as_dict()}

    def as_json(self) -> str:
        return json.dumps(self.as_dict())

    def as_text(self) -> str:
        return "\n".join([*self.as_lines(), self.memory.as_text()])

    def as_lines(self) -> list[str]:
        """Everything but the networks."""
        lines = [
            f"{counted(self.frames, 'frame')}, {counted(self.faces, 'face')}, {counted(self.shots, 'shot')}, "
            f"{counted(self.tracks, 'track')}; {self.codec}, {self.frames_a_second:.2f} frames a second",
            f"reused: {counted(self.held, 'frame')}, {counted(self.reused, 'face')}; filled: "
            f"{counted(self.filled, 'face')}; stood in for damaged ones: {counted(self.repeated, 'frame')}",
        ]
        if self.flicker is not None:
            lines.append(f"steadiness: faces flicker {self.flicker:.2f} times as much as in the source")
        if self.jitter is not None and self.jitter_source is not None:
            lines.append(f"points jitter by {self.jitter:.2f} px, as detected by {self.jitter_source:.2f} px")
        if self.resumed:
            lines.append(f"gone on behind {counted(self.resumed, 'segment')}")
        lines.append(
            f"memory: at most {format_bytes(self.peak_ram)} more RAM, chunks of {counted(self.chunk, 'frame')}"
        )
        return [*lines, *self.notes]

    def add(self, report: Report) -> None:
        """Adds what a run of a network says: the last one's plan, the highest peak, all seconds."""
        total = self.memory
        for name in ("model", "device", "engine", "precision", "mode", "enforcement", "batch", "tile", "overlap"):
            if value := getattr(report, name):
                setattr(total, name, value)
        total.budget, total.allowed = report.budget, report.allowed or total.allowed
        total.predicted_peak = max(total.predicted_peak, report.predicted_peak)
        total.measured_peak = max(total.measured_peak, report.measured_peak)
        total.sessions_built += report.sessions_built
        for degradation in report.degradations:
            total.note_degradation(degradation)
        for note in report.notes:
            if note not in total.notes and len(total.notes) < MOST_NOTES:
                total.notes.append(note)
        self.add_seconds(report.seconds)

    def add_seconds(self, seconds: dict[str, float]) -> None:
        """Time of stages, each drawn as one span."""
        spent = self.memory.seconds
        for stage, more in seconds.items():
            spent[stage] = spent.get(stage, 0.0) + more
        self.memory.timeline, begin = [], 0.0
        for stage, length in spent.items():
            self.memory.timeline.append(Span(stage, begin, begin + length))
            begin += length


@dataclass
class Flicker:
    """Sums over faces in frames that follow each other: mean differences 0..1 of the source and the result."""

    source: float = 0.0
    result: float = 0.0
    pairs: int = 0

    @property
    def ratio(self) -> float | None:
        """The result's warping error beside the source's own; None where no face was seen twice."""
        return None if not self.pairs or self.source <= 0 else self.result / self.source


@dataclass(frozen=True, eq=False)
class _Seen:
    region: tuple[int, int, int, int]
    frame: int
    source: np.ndarray
    result: np.ndarray


class FlickerMeter:
    """Told of every face of every frame in order, within one segment."""

    def __init__(self) -> None:
        self.sums = Flicker()
        self._before: dict[int, _Seen] = {}

    def add(self, frame: int, track: int, box: np.ndarray, source: np.ndarray, result: np.ndarray) -> None:
        """frame: its index. source: (H, W, 3) uint8 or uint16. result: (H, W, 3) float32 0..1, a multiple as large."""
        if not opencv.is_whole():
            return  # optical flow is in OpenCV alone: the report then says nothing of flicker
        before = self._before.get(track)
        if before is not None and before.frame == frame - 1:
            now = _grey(source, before.region), _grey(result, before.region, len(result) // len(source))
            flow = _flow(before.source, now[0])
            self.sums.source += _difference(before.source, now[0], flow)
            self.sums.result += _difference(before.result, now[1], flow)
            self.sums.pairs += 1
        region = _region(box, source.shape)
        scale = len(result) // len(source)
        self._before[track] = _Seen(region, frame, _grey(source, region), _grey(result, region, scale))


def _region(box: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of whole pixels inside the picture."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2 * AROUND
    low = np.clip(np.floor(centre - half), 0, [shape[1] - 1, shape[0] - 1]).astype(int)
    high = np.clip(np.ceil(centre + half), low + 1, [shape[1], shape[0]]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _grey(picture: np.ndarray, region: tuple[int, int, int, int], scale: int = 1) -> np.ndarray:
    """(SIDE, SIDE) uint8 of a region."""
    x0, y0, x1, y1 = (value * scale for value in region)
    part = np.ascontiguousarray(picture[y0:y1, x0:x1, :3])
    if part.dtype == np.uint16:
        part = (part >> 8).astype(np.uint8)
    elif part.dtype != np.uint8:
        part = np.rint(part.clip(0, 1) * 255).astype(np.uint8)
    return cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _flow(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, 2): where each pixel of the one lies in the other. DIS (Kroeger et al., 2016)."""
    flow = np.zeros((*one.shape, 2), np.float32)
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(one, other, flow)


def _difference(one: np.ndarray, other: np.ndarray, flow: np.ndarray) -> float:
    """Mean absolute difference 0..1 between a picture and the next one brought back by the flow."""
    y, x = np.mgrid[: one.shape[0], : one.shape[1]].astype(np.float32)
    back = cv2.remap(other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(back.astype(np.float32) - one).mean() / 255)


def jitter(frames: np.ndarray, points: np.ndarray) -> tuple[float, int]:
    """The sum of squared second differences of a track's points (n, 5, 2) px, and of how many values."""
    follows = (np.diff(frames[:-1]) == 1) & (np.diff(frames[1:]) == 1) if len(frames) > 2 else np.zeros(0, bool)
    if not follows.any():
        return 0.0, 0
    second = (points[2:] - 2 * points[1:-1] + points[:-2])[follows]
    return float((second.astype(np.float64) ** 2).sum()), int(second.size)
