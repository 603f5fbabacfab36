"""A report as a picture: memory over time against the budget, with the stages named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...opencv import cv2
from .budget import format_bytes
from .report import Report, Span

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 90, 20, 30, 190  # margins around the plot, px
LINE_HEIGHT = 20

# RGB
PAPER, INK, GREY = (24, 26, 30), (226, 228, 232), (110, 116, 126)
CURVE, ALLOWED, PREDICTED = (86, 180, 233), (230, 84, 64), (240, 190, 70)
BANDS = ((44, 62, 80), (58, 78, 58), (80, 62, 44), (70, 50, 80))
FONT, TEXT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.45

Color = tuple[int, int, int]


def report_picture(report: Report) -> torch.Tensor:
    """The chart, (540, 960, 3) float32 0..1 RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    seconds = max([span.end for span in report.timeline] + [moment for moment, _ in report.samples] + [1e-3])
    # A budget far above the use would press the curve into the ground; it is then named in the text alone.
    used = max(report.predicted_peak, report.measured_peak, 1)
    highest = max(used, report.allowed) if report.allowed <= 4 * used else used
    _draw_stages(canvas, stage_bands(report.timeline), seconds)
    _draw_scales(canvas, seconds, highest)
    curve = [(_x(moment, seconds), _y(max(0, level), highest)) for moment, level in report.samples]
    if len(curve) > 1:
        cv2.polylines(canvas, [np.array(curve, np.int32)], False, CURVE, 2, cv2.LINE_AA)
    _draw_level(canvas, report.predicted_peak, highest, PREDICTED, "predicted")
    if report.allowed <= highest:
        _draw_level(canvas, report.allowed, highest, ALLOWED, f"budget, {report.enforcement}")
    for row, line in enumerate(report.as_text().splitlines()):
        _write(canvas, line[:130], LEFT - 70, HEIGHT - BOTTOM + 62 + row * LINE_HEIGHT, INK)
    return torch.from_numpy(canvas.astype(np.float32) / 255)


def stage_bands(timeline: Sequence[Span]) -> list[Span]:
    """The timeline with neighbours of one stage joined, so that a thousand tiles are one band."""
    bands: list[Span] = []
    for span in sorted(timeline, key=lambda span: span.begin):
        if bands and bands[-1].stage == span.stage:
            bands[-1] = Span(span.stage, bands[-1].begin, max(bands[-1].end, span.end))
        else:
            bands.append(span)
    return bands


def _draw_stages(canvas: np.ndarray, bands: Sequence[Span], seconds: float) -> None:
    names = list(dict.fromkeys(band.stage for band in bands))
    written = LEFT
    for band in bands:
        left, right = _x(band.begin, seconds), _x(band.end, seconds)
        color = BANDS[names.index(band.stage) % len(BANDS)]
        cv2.rectangle(canvas, (left, TOP), (right, HEIGHT - BOTTOM), color, -1)
        width = cv2.getTextSize(band.stage, FONT, TEXT_SIZE, 1)[0][0]
        if right - left > width and left >= written:  # a name that has no room would cover another
            _write(canvas, band.stage, left + 2, TOP + 16, GREY)
            written = left + width


def _draw_scales(canvas: np.ndarray, seconds: float, highest: int) -> None:
    for part in range(5):
        level, moment = highest * part // 4, seconds * part / 4
        y, x = _y(level, highest), _x(moment, seconds)
        cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), GREY, 1)
        _write(canvas, format_bytes(level), 8, y + 5, INK)
        _write(canvas, f"{moment:.1f} s", min(x, WIDTH - 60), HEIGHT - BOTTOM + 20, INK)


def _draw_level(canvas: np.ndarray, level: int, highest: int, color: Color, name: str) -> None:
    y = _y(level, highest)
    cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), color, 2)
    label = f"{name} {format_bytes(level)}"
    width = cv2.getTextSize(label, FONT, TEXT_SIZE, 1)[0][0]
    _write(canvas, label, WIDTH - RIGHT - width - 4, y - 5 if y > TOP + 20 else y + 16, color)


def _write(canvas: np.ndarray, text: str, x: int, y: int, color: Color) -> None:
    cv2.putText(canvas, text, (x, y), FONT, TEXT_SIZE, color, 1, cv2.LINE_AA)


def _x(moment: float, seconds: float) -> int:
    return LEFT + round((WIDTH - LEFT - RIGHT) * min(1.0, moment / seconds))


def _y(level: int, highest: int) -> int:
    return HEIGHT - BOTTOM - round((HEIGHT - TOP - BOTTOM) * min(1.0, level / highest))
