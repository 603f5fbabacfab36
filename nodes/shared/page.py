"""What nodes tell the page, where js/ shows it: a line under the node, the report behind it, pictures, the gauge.

Everything goes as JSON in a node's `ui`, so that a program that queues a prompt reads it in the history too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from ...engines.cache import SESSIONS
from ...engines.memory import meter
from ...engines.memory.budget import MemoryBudget, allowed_bytes
from ...engines.memory.report import Report
from ...faces.face import Face, Faces
from ..host import ComfyHost, answer_at, temporary_picture

if TYPE_CHECKING:
    from ...video.report import ClipReport
    from ...video.scan import Scan

Tone = Literal["ok", "warn"]
Ui = dict[str, list[Any]]

MEMORY_ROUTE = "/slimfusion/memory"


def line_ui(what: str, tone: Tone = "ok", **values: Any) -> Ui:
    """A sentence for the page by its key in js/words.js, with the values that stand in it."""
    return {"slimfusion_line": [json.dumps({"what": what, "tone": tone, **values})]}


def work_ui(what: str, report: Report, seconds: float, tone: Tone = "ok", **values: Any) -> Ui:
    """A sentence about work, with the seconds it took, its memory and what was given up."""
    degradations = report.degradations
    done = {"seconds": round(seconds, 3), "peak": report.measured_peak, "given": degradations}
    return line_ui(what, "warn" if degradations else tone, **values, **done)


def report_ui(report: Report) -> Ui:
    """What a node that ran a network sends: the figures for programs and the page, the same as text for people."""
    return {"slimfusion_report": [report.as_json()], "text": [report.as_text()]}


def clip_ui(report: ClipReport, has_faces: bool, compared: tuple[torch.Tensor, torch.Tensor] | None) -> Ui:
    """What a clip's report says. has_faces: whether faces were looked for. compared: a frame before and after."""
    figures = {**report.as_dict(), "counts_faces": has_faces}
    shown: Ui = {"slimfusion_report": [json.dumps(figures)], "text": [report.as_text()]}
    return shown if compared is None else shown | compare_ui(*compared)


def compare_ui(before: torch.Tensor, after: torch.Tensor) -> Ui:
    """The first frame before and after, (B, H, W, C) float32 0..1, for the slider on the report."""
    if not len(before) or not len(after):
        return {}
    pair = {"before": temporary_picture(before), "after": temporary_picture(after)}
    return {"slimfusion_compare": [json.dumps(pair)]}


def faces_ui(frames: torch.Tensor, faces: Faces) -> Ui:
    """The first frame that has faces, and their boxes in parts of its sides, for clicking at."""
    index = next((number for number, faces_of_frame in enumerate(faces.frames) if faces_of_frame), None)
    if index is None:
        return {}
    boxes = relative_boxes(faces.frames[index], faces.height, faces.width)
    shown = {
        "picture": temporary_picture(frames[index : index + 1]),
        "ratio": round(faces.width / faces.height, 4),
        "frame": index,
        "boxes": boxes,
    }
    return {"slimfusion_faces": [json.dumps(shown)]}


def people_ui(scan: Scan) -> Ui:
    """Everybody in a clip by their best pictures, for clicking at. columns, rows: how the pictures lie in one."""
    if not scan.people:
        return {}
    pictures = scan.pictures()
    tracks = scan.as_dict()["people"]
    doubts: dict[int, list[str]] = {}
    for doubt in scan.doubts:
        kinds = doubts.setdefault(doubt.track, [])
        kinds += [] if doubt.kind in kinds else [doubt.kind]
    side = len(scan.people[0].picture)
    shown = {
        "picture": temporary_picture(torch.from_numpy(pictures)[None].float() / 255),
        "columns": pictures.shape[1] // side,
        "rows": pictures.shape[0] // side,
        "people": [
            {name: track[name] for name in ("track", "begins", "ends")} | {"doubts": doubts.get(track["track"], [])}
            for track in tracks
        ],
    }
    return {"slimfusion_people": [json.dumps(shown)]}


def relative_boxes(faces: Sequence[Face], height: int, width: int) -> list[list[float]]:
    """x0 y0 x1 y1 of each face, 0..1 of the frame."""
    return [
        [round(float(value) / side, 4) for value, side in zip(face.box, (width, height) * 2, strict=True)]
        for face in faces
    ]


def memory_now(query: Mapping[str, str]) -> dict[str, Any]:
    """What the live gauge draws, in bytes on the host's device.

    ours: what this pack takes now, weights included. peak: the most of it since the page asked with `anew`.
    automatic: what a budget of 0 would mean now.
    """
    device = ComfyHost().device()
    total, free = meter.total_and_free(device)
    held = SESSIONS.held_bytes(device)
    ours, peak = (max(amount, held) for amount in meter.watched(device, "anew" in query))
    automatic = allowed_bytes(MemoryBudget(), total, free, ours)
    return {"device": str(device), "total": total, "free": free, "ours": ours, "peak": peak, "automatic": automatic}


def serve_page() -> None:
    """Answers what the page asks for."""
    answer_at(MEMORY_ROUTE, memory_now)
