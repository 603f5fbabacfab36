"""What a run planned, did and took: for the user's eyes, for a workflow, for a bench."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from .budget import MemoryBudget, format_bytes


@dataclass(frozen=True)
class Span:
    """A stretch of one stage. begin, end: seconds since the report was begun."""

    stage: str
    begin: float
    end: float


@dataclass
class Report:
    """Filled while the work goes on. Bytes are on the device, above its level at the start.

    budget: what the user set, None for automatic. allowed: what that meant when the work was planned.
    enforcement: "enforced" where the allocator refuses more than allowed, "watched" where the use is
    predicted and measured. sessions_built: networks that had to be loaded. timeline: what was done when.
    samples: (seconds since the start, bytes).
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
    batch: int = 0
    tile: tuple[int, int] = (0, 0)
    overlap: int = 0
    frames: int = 0
    faces: int = 0
    sessions_built: int = 0
    rungs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    timeline: list[Span] = field(default_factory=list)
    samples: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started = perf_counter()

    def begin(self, budget: MemoryBudget) -> None:
        self.budget, self.mode = budget.limit, budget.mode

    def give_up(self, rung: str) -> None:
        """Notes a step down the ladder, once."""
        if rung not in self.rungs:
            self.rungs.append(rung)

    @property
    def seconds(self) -> dict[str, float]:
        """Time spent in each stage, in the order of their first appearance."""
        spent: dict[str, float] = {}
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

    def add_samples(self, samples: list[tuple[float, int]]) -> None:
        """Adds what a meter has seen, its clock being perf_counter."""
        self.samples += [(moment - self._started, level) for moment, level in samples]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the course of time, for JSON."""
        content = asdict(self)
        del content["samples"], content["timeline"]
        content["seconds"] = {stage: round(spent, 3) for stage, spent in self.seconds.items()}
        return content

    def as_json(self) -> str:
        return json.dumps(self.as_dict())

    def as_text(self) -> str:
        budget = "automatic" if self.budget is None else format_bytes(self.budget)
        stages = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in self.seconds.items())
        lines = [
            f"{self.model} in {self.precision} by {self.engine} on {self.device}, mode {self.mode}",
            f"{self.frames} frames, {self.faces} faces; batch {self.batch}, tile {self.tile[1]}x{self.tile[0]}",
            f"memory: budget {budget}, allowed {format_bytes(self.allowed)} ({self.enforcement}), predicted "
            f"{format_bytes(self.predicted_peak)}, measured {format_bytes(self.measured_peak)}",
            f"time: {stages}" if stages else "nothing was run",
        ]
        lines += [f"given up: {rung}" for rung in self.rungs]
        return "\n".join(lines + self.notes)
