"""Where a part of the GPU bench works, and what it hands back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import twins


class Skipped(Exception):
    """A part cannot be done here; the message says why."""


@dataclass(frozen=True)
class Place:
    """device: that is measured. is_rehearsal: on the processor, in small, to see that every part runs. folder: for
    files that are made. seconds: that the part may take."""

    device: torch.device
    is_rehearsal: bool
    folder: Path
    seconds: float

    def network(self, name: str) -> torch.nn.Module:
        """A twin of a public network on the processor, in a rehearsal a small one of the same kind."""
        if self.is_rehearsal:
            return twins.gfpgan(out_size=128, narrow=1 / 16, num_style_feat=32)
        return twins.network(name)

    def side(self) -> int:
        """px of a face."""
        return 128 if self.is_rehearsal else 512


@dataclass
class Findings:
    """bars: with limits. rows: figures for the table, by name. notes: sentences."""

    bars: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, str | float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best_seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The shortest of some runs, the first, which warms up, not counted."""
    work()
    found = []
    for _ in range(rounds):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return min(found)
