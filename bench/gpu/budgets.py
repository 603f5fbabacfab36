"""The memory matrix on the card: every cell in a fresh process, held by the allocator; and how good predictions are."""

from __future__ import annotations

import time
from typing import Any

from ...catalog.files import BUNDLED_FILE
from ..memory import memory
from ..result import at_least, at_most
from ..twins import save_twin
from .place import Findings, Place

REHEARSED = (memory.Cell("bundled", 512, "720p", 1),)
LEAST = 20  # cells, of 25


def measure(place: Place) -> Findings:
    """As many cells as there is time for, every network and budget among the first."""
    cells = REHEARSED if place.is_rehearsal else _by_turns(memory.spread_of_cells())
    begin, files, findings = time.monotonic(), {"bundled": BUNDLED_FILE}, Findings()
    outcomes: list[dict[str, Any]] = []
    for cell in cells:
        if time.monotonic() - begin > place.seconds * 0.8:
            findings.notes.append(f"time for {len(outcomes)} of {len(cells)} cells")
            break
        if cell.network not in files:
            files[cell.network] = save_twin(cell.network, place.folder / f"{cell.network}.pth")
        outcome = memory.in_fresh_process(cell, files[cell.network])
        print(f"{cell}: {memory.said(outcome)}", flush=True)
        outcomes.append(outcome)
        findings.rows[str(cell)] = memory.said(outcome)
    findings.bars += bars(outcomes, "watched" if place.is_rehearsal else "enforced", 1 if place.is_rehearsal else LEAST)
    return findings


def _by_turns(cells: list[memory.Cell]) -> list[memory.Cell]:
    """The cells of each network in turn, so that a bench that is cut short has seen them all."""
    names = list(dict.fromkeys(cell.network for cell in cells))
    queues = {name: [cell for cell in cells if cell.network == name] for name in names}
    longest = max(map(len, queues.values()))
    return [queues[name][i] for i in range(longest) for name in names if i < len(queues[name])]


def bars(outcomes: list[dict[str, Any]], wanted: str, least: int) -> list[dict[str, Any]]:
    """What every cell must be, and the prediction against what was measured."""
    reports = [outcome["report"] for outcome in outcomes if "report" in outcome]
    ratios = [report["predicted_peak"] / max(1, report["measured_peak"]) for report in reports]
    held = [report["enforcement"] == wanted for report in reports]
    return [
        at_least("memory cells measured", len(outcomes), least),
        at_least("share of cells that kept the budget", sum(map(memory.kept, outcomes)) / max(1, len(outcomes)), 1.0),
        at_least(f"share of runs that were {wanted}", sum(held) / max(1, len(held)), 1.0),
        at_most("largest prediction / measured", round(max(ratios, default=1.0), 3), 1.25),
        at_least("smallest prediction / measured", round(min(ratios, default=1.0), 3), 0.8),
    ]
