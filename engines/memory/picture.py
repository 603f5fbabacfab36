"""A report as a picture: memory over time against the budget, with the stages named."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch

from ...opencv import cv2
from .budget import MIB, format_bytes
from .report import Report, Span

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 90, 20, 30, 250  # margins around the plot, px
LINE_HEIGHT = 20
LETTERS = 112  # of a line of text that fit
ROWS = 9  # lines of text that fit

# RGB. The paper is dark and drawn with the picture, so it reads the same on a light page and on a dark one.
PAPER, INK, GREY = (24, 26, 30), (226, 228, 232), (110, 116, 126)
CURVE, ALLOWED, PREDICTED = (86, 180, 233), (240, 110, 90), (240, 190, 70)
BANDS = ((44, 62, 80), (58, 78, 58), (80, 62, 44), (70, 50, 80), (36, 76, 76), (84, 48, 56))
TEXT_SIZE = 0.45

# A budget up to so many times the use is inside the chart; one beyond it would press the curve into the ground.
BUDGET_SHOWN = 4
LEAST_AXIS = 4 * MIB  # so that the marks of an empty chart differ

Color = tuple[int, int, int]


def report_picture(report: Report) -> torch.Tensor:
    """The chart, (600, 960, 3) float32 0..1 RGB."""
    canvas = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    seconds = max([span.end for span in report.timeline] + [moment for moment, _ in report.samples] + [1e-3])
    highest, shows_budget = _axis(report)
    _draw_stages(canvas, stage_bands(report.timeline), seconds)
    _draw_scales(canvas, seconds, highest)
    curve = [(_x(moment, seconds), _y(max(0, level), highest)) for moment, level in report.samples]
    if len(curve) > 1:
        cv2.polylines(canvas, [np.array(curve, np.int32)], False, CURVE, 2, cv2.LINE_AA)
    if report.predicted_peak:
        _draw_level(canvas, report.predicted_peak, highest, PREDICTED)
        _write_level(canvas, report.predicted_peak, highest, PREDICTED, "predicted", LEFT + 4)
    if report.allowed:
        _draw_budget(canvas, report, highest, shows_budget)
    for row, line in enumerate(_lines(report)):
        _write(canvas, line, LEFT - 70, HEIGHT - BOTTOM + 68 + row * LINE_HEIGHT, INK)
    return torch.from_numpy(canvas.astype(np.float32) / 255)


def _axis(report: Report) -> tuple[int, bool]:
    """The bytes at the top of the chart, and whether the budget's line is inside."""
    highest_sample = max((level for _, level in report.samples), default=0)
    used = max(report.predicted_peak, report.measured_peak, highest_sample, LEAST_AXIS)
    shows_budget = 0 < report.allowed <= BUDGET_SHOWN * used
    return (max(used, report.allowed) if shows_budget else used), shows_budget


def _lines(report: Report) -> list[str]:
    """The text, as far as there is room for it."""
    lines = [part for line in report.as_text().splitlines() for part in textwrap.wrap(line, LETTERS)]
    return lines if len(lines) <= ROWS else [*lines[: ROWS - 1], "(more in the text output)"]


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
    """The bands, and below the chart which colour is which stage: most bands are too narrow for a name."""
    names = list(dict.fromkeys(band.stage for band in bands))
    for band in bands:
        color = BANDS[names.index(band.stage) % len(BANDS)]
        cv2.rectangle(canvas, (_x(band.begin, seconds), TOP), (_x(band.end, seconds), HEIGHT - BOTTOM), color, -1)
    x, y = LEFT, HEIGHT - BOTTOM + 42
    for index, name in enumerate(names):
        cv2.rectangle(canvas, (x, y - 10), (x + 12, y + 2), BANDS[index % len(BANDS)], -1)
        cv2.rectangle(canvas, (x, y - 10), (x + 12, y + 2), GREY, 1)
        _write(canvas, name, x + 18, y, INK)
        x += 18 + _text_width(name) + 22


def _draw_scales(canvas: np.ndarray, seconds: float, highest: int) -> None:
    for part in range(5):
        level, moment = highest * part // 4, seconds * part / 4
        y, x = _y(level, highest), _x(moment, seconds)
        cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), GREY, 1)
        _write(canvas, format_bytes(level), 8, y + 5, INK)
        text = f"{moment:.1f} s" if seconds >= 2 else f"{moment * 1000:.0f} ms"
        _write(canvas, text, min(x, WIDTH - 8 - _text_width(text)), HEIGHT - BOTTOM + 20, INK)


def _draw_budget(canvas: np.ndarray, report: Report, highest: int, shows_budget: bool) -> None:
    name = f"budget, {report.enforcement},"
    if shows_budget:
        _draw_level(canvas, report.allowed, highest, ALLOWED)
        width = _text_width(f"{name} {format_bytes(report.allowed)}")
        _write_level(canvas, report.allowed, highest, ALLOWED, name, WIDTH - RIGHT - width - 4)
        return
    label = f"{name} {format_bytes(report.allowed)}: above this chart"
    x = WIDTH - RIGHT - _text_width(label) - 4
    _write(canvas, label, x, TOP - 12, ALLOWED)
    cv2.arrowedLine(canvas, (x - 12, TOP - 8), (x - 12, TOP - 24), ALLOWED, 2, cv2.LINE_AA, tipLength=0.4)


def _draw_level(canvas: np.ndarray, level: int, highest: int, color: Color) -> None:
    y = _y(level, highest)
    cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), color, 2)


def _write_level(canvas: np.ndarray, level: int, highest: int, color: Color, name: str, x: int) -> None:
    y = _y(level, highest)
    _write(canvas, f"{name} {format_bytes(level)}", x, y - 6 if y > TOP + 20 else y + 17, color)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SIZE, 1)[0][0])


def _write(canvas: np.ndarray, text: str, x: int, y: int, color: Color) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, TEXT_SIZE, color, 1, cv2.LINE_AA)


def _x(moment: float, seconds: float) -> int:
    return LEFT + round((WIDTH - LEFT - RIGHT) * min(1.0, moment / seconds))


def _y(level: int, highest: int) -> int:
    return HEIGHT - BOTTOM - round((HEIGHT - TOP - BOTTOM) * min(1.0, level / highest))
