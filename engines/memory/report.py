"""What a run planned, did and took: for the user's eyes, for a workflow, for a bench."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import torch

from .budget import MemoryBudget, format_bytes
from .planner import Plan
from .samples import Sample, thinned

# Spans that are kept: a film has several for each of its frames.
MOST_SPANS, JOINED = 2000, 3


@dataclass(frozen=True)
class Span:
    """A stretch of one stage. begin, end: seconds since the report was begun."""

    stage: str
    begin: float
    end: float


@dataclass(frozen=True)
class FaceLikeness:
    """How alike one face stayed, -1..1, on the scale of a recogniser on which people are told apart at about 0.3.

    frame: of the batch. face: its number in the frame. itself: by step, how alike the face is to what came in.
    person: by step, how alike to who was wanted there; empty where nobody was. held_back: 0..1, how much of the change
    was taken back to keep the likeness.
    """

    frame: int
    face: int
    itself: dict[str, float]
    person: dict[str, float] = field(default_factory=dict)
    held_back: float = 0.0


@dataclass
class Report:
    """Filled while the work goes on. Bytes are on the device, above its level at the start.

    budget: what the user set, None for automatic. allowed: what that meant when the work was planned.
    enforcement: "enforced" where the allocator refuses more than allowed, "watched" where the use is predicted and
    measured, "predicted" where the device does not tell its use. planning_bytes: what planning and detection took in
    RAM and keep, part of both peaks.
    sessions_built: networks that had to be loaded. timeline: what was done when. samples: (seconds since the start,
    bytes), thinned where there are many. likeness: of the first faces, where it was asked for.
    """

    model: str = ""
    device: str = ""
    engine: str = ""
    precision: str = ""
    mode: str = ""
    enforcement: str = "watched"
    budget: int | None = None
    allowed: int = 0
    predicted_peak: int = 0
    measured_peak: int = 0
    planning_bytes: int = 0
    batch: int = 0
    tile: tuple[int, int] = (0, 0)
    overlap: int = 0
    frames: int = 0
    faces: int = 0
    sessions_built: int = 0
    degradations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    timeline: list[Span] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    likeness: list[FaceLikeness] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started = perf_counter()
        self._joined: dict[str, float] = {}  # seconds of each stage that the timeline has too many or too few

    def begin(self, budget: MemoryBudget) -> None:
        self.budget, self.mode = budget.limit, budget.mode

    def note_degradation(self, degradation: str) -> None:
        """Notes a step down the ladder, once."""
        if degradation not in self.degradations:
            self.degradations.append(degradation)

    def describe_plan(self, plan: Plan, device: torch.device, is_main: bool, staying: int = 0) -> None:
        """Takes in what will be done.

        is_main: its figures are the report's; of other work only the memory counts. staying: bytes of our other
        sessions, which the budget holds too.
        """
        planning = self.planning_on(device) + staying
        self.predicted_peak = max(self.predicted_peak, plan.predicted_peak + planning)
        for degradation in plan.degradations:
            self.note_degradation(degradation)
        if is_main:
            self.allowed = plan.allowed + planning
            self.precision, self.batch, self.tile, self.overlap = plan.precision, plan.batch, plan.tile, plan.overlap

    def planning_on(self, device: torch.device) -> int:
        """What planning and the work before have taken on a device and keep: they work on the CPU."""
        return self.planning_bytes if device.type == "cpu" else 0

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent in each stage, in the order of their first appearance."""
        spent = dict(self._joined)
        for span in self.timeline:
            spent[span.stage] = spent.get(span.stage, 0.0) + span.end - span.begin
        return spent

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Puts the block on the timeline."""
        begin = perf_counter() - self._started
        try:
            yield
        finally:
            self.timeline.append(Span(name, begin, perf_counter() - self._started))
            if len(self.timeline) >= 2 * MOST_SPANS:
                self._shorten_timeline()

    def _shorten_timeline(self) -> None:
        """Makes one span of every three, named after the longest of them; the seconds of each stage stay exact."""
        spent, old = self.seconds, sorted(self.timeline, key=lambda span: span.begin)
        groups = [old[i : i + JOINED] for i in range(0, len(old), JOINED)]
        self.timeline = [
            Span(max(group, key=lambda span: span.end - span.begin).stage, group[0].begin, group[-1].end)
            for group in groups
        ]
        drawn = dict.fromkeys(spent, 0.0)
        for span in self.timeline:
            drawn[span.stage] += span.end - span.begin
        self._joined = {stage: spent[stage] - drawn[stage] for stage in spent}

    def add_samples(self, samples: list[Sample]) -> None:
        """Adds what a meter has seen, its clock being perf_counter."""
        self.samples = thinned(self.samples + [(moment - self._started, level) for moment, level in samples])

    def as_dict(self) -> dict[str, Any]:
        """Everything but the course of time, for JSON."""
        content = asdict(self)
        del content["samples"], content["timeline"]
        content["seconds"] = {stage: round(spent, 3) for stage, spent in self.seconds.items()}
        return content

    def as_json(self) -> str:
        return json.dumps(self.as_dict())

    def as_text(self) -> str:
        stages = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in self.seconds.items())
        lines = [self._what_ran(), self._how_much(), self._memory(), f"time: {stages}" if stages else ""]
        lines += [f"given up: {degradation}" for degradation in self.degradations]
        lines += likeness_lines(self.likeness)
        return "\n".join([line for line in lines if line] + self.notes)

    @property
    def _has_run(self) -> bool:
        """Whether a network was opened: without a face none is."""
        return bool(self.engine and self.device)

    def _what_ran(self) -> str:
        if not self._has_run:
            return f"nothing was run{f' with {self.model}' if self.model else ''}"
        return f"{self.model} in {self.precision} by {self.engine} on {self.device}, mode {self.mode}"

    def _how_much(self) -> str:
        counts = f"{counted(self.frames, 'frame')}, {counted(self.faces, 'face')}"
        return counts + (f"; batch {self.batch}, tile {self.tile[1]}x{self.tile[0]}" if self._has_run else "")

    def _memory(self) -> str:
        parts = ["budget automatic" if self.budget is None else f"budget {format_bytes(self.budget)}"]
        if self._has_run:
            parts.append(f"allowed {format_bytes(self.allowed)} ({self.enforcement})")
        if self._has_run or self.predicted_peak:
            parts.append(f"predicted {format_bytes(self.predicted_peak)}")
        if self.enforcement == "predicted":
            parts.append("not measured")
        elif self._has_run or self.measured_peak:
            parts.append(f"measured {format_bytes(self.measured_peak)}")
        return f"memory: {', '.join(parts)}"


def likeness_lines(rows: Sequence[FaceLikeness]) -> list[str]:
    """What became of the faces' likeness, for people: the least and the mean of each step, and who was held back."""
    lines = []
    for name, tables in (("itself", [row.itself for row in rows]), ("the person", [row.person for row in rows])):
        steps = dict.fromkeys(step for table in tables for step in table)
        told = []
        for step in steps:
            values = [table[step] for table in tables if step in table]
            least = f", least {min(values):.2f}" if len(values) > 1 else ""
            told.append(f"{step} {sum(values) / len(values):.2f}{least}")
        if told:
            lines.append(f"likeness to {name}: {'; '.join(told)}")
    lines += [
        f"face {row.face} of frame {row.frame}: {row.held_back:.0%} of the change was held back to keep the likeness"
        for row in rows
        if row.held_back > 0
    ]
    return lines


def counted(number: int, what: str) -> str:
    """A number of things in words: "1 frame", "2 frames"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
