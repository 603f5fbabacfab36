"""What was done to a clip, in numbers and sentences."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..engines.memory.budget import format_bytes
from ..engines.memory.report import Report, Span, counted

MOST_NOTES = 40


@dataclass
class ClipReport:
    """frames: in the result, as many as in the source. faces: in all of them. shots, tracks: how many. held: frames
    that repeat the one before. reused: faces whose region did not change. filled: faces that were missed between two
    sightings. repeated: frames that stand in for damaged ones. resumed: segments that were there already.

    flicker: the warping error inside faces beside the source's own; None without faces. jitter_source, jitter: px,
    root mean square of the second differences of the points as detected and as used. seconds: of each stage. memory:
    of the networks.
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
        return "\n".join([*lines, *self.notes, self.memory.as_text()])

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
