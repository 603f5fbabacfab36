"""A report as a picture: what was used of the budget, over time, with the stages named.

It is read in a node that is some 300 px wide, so the text is large and little: 24 of 640 px are 11 there. All of it is
in the report's text. The paper is dark and drawn with the picture: it reads the same on a light page and on a dark one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .budget import MIB, format_bytes
from .report import Report, Span, counted

WIDTH, HEIGHT = 640, 560
LEFT, RIGHT, TOP, BOTTOM = 20, 620, 76, 332  # the plot, px
STRIP_TOP, STRIP_BOTTOM = 338, 354  # the stages' colours over time
AXIS_TEXT, LEGEND_TEXT, LINES_TEXT = 360, 400, 476  # rows of text begin here
LINE_HEIGHT, LINES, CHARACTERS = 32, 2, 46

# RGB. Each stands out from the paper by more than four to one, and from its neighbours in lightness too.
PAPER, PLOT, INK, GREY = (24, 26, 30), (34, 37, 43), (236, 238, 242), (160, 166, 176)
CURVE, ALLOWED, PREDICTED, WARNING = (86, 180, 233), (255, 138, 101), (240, 200, 80), (255, 170, 90)
BANDS = ((86, 140, 220), (110, 190, 120), (230, 160, 80), (190, 130, 230), (70, 190, 190), (230, 120, 150))
SMALL, LARGE, HUGE = 24, 26, 40

BROKEN_FROM = 4  # a budget of more than so many times the use is drawn above a break of the axis
USE_SHARE, BUDGET_SHARE = 0.70, 0.92  # of the plot's height, for the use and the budget where the axis is broken
HEADROOM = 1.12  # of the plot above what it shows
LEAST_AXIS = 4 * MIB  # so that an empty chart has a scale

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Axis:
    """Which height bytes have. highest: what the plot reaches. broken_at: the bytes above which there is a break."""

    highest: int
    broken_at: int | None

    def row(self, amount: int) -> int:
        """The row of pixels of an amount."""
        if self.broken_at is None:
            share = amount / self.highest
        elif amount > self.broken_at:
            share = BUDGET_SHARE
        else:
            share = USE_SHARE * amount / self.broken_at
        return BOTTOM - round((BOTTOM - TOP) * min(1.0, max(0.0, share)))


def report_picture(report: Report) -> torch.Tensor:
    """The chart, (600, 800, 3) float32 0..1 RGB."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(picture)
    seconds = max([span.end for span in report.timeline] + [moment for moment, _ in report.samples] + [1e-3])
    axis = axis_of(report)
    _write(draw, headline(report), LEFT, 20, INK, HUGE)
    draw.rectangle((LEFT, TOP, RIGHT, BOTTOM), fill=PLOT)
    _draw_use(draw, report, axis, seconds)
    _draw_levels(draw, report, axis)
    _draw_stages(draw, report, seconds)
    for row, (text, warns) in enumerate(lines(report)):
        _write(draw, text, LEFT, LINES_TEXT + row * LINE_HEIGHT, WARNING if warns else INK, SMALL)
    return torch.from_numpy(np.asarray(picture, np.float32) / 255)


def headline(report: Report) -> str:
    """What was used of what was allowed, or was predicted where nobody measures; that nothing ran where nothing did."""
    used, limit = report.measured_peak, budget_of(report)
    if not used and report.engine and report.enforcement == "predicted":
        return f"{format_bytes(report.predicted_peak)} of {format_bytes(limit)} predicted"
    if limit and used:
        return f"{format_bytes(used)} of {format_bytes(limit)}"
    return format_bytes(used) if used else "nothing was run"


def budget_of(report: Report) -> int:
    """The bytes at which the budget's line is drawn: what was allowed, else what the user set; 0 without either."""
    return max(0, report.allowed or report.budget or 0)


def lines(report: Report) -> list[tuple[str, bool]]:
    """The text below the chart, and whether it warns: what was given up and the notes first, then what ran."""
    told = [f"given up: {item}" for item in report.degradations] + report.notes
    counts = counted(report.frames, "frame") + (f", {counted(report.faces, 'face')}" if report.faces else "")
    ran = f"{report.device}, {report.precision}, {report.model}" if report.engine else report.model
    last = ", ".join(part for part in (counts, ran) if part)
    shown = [(text, True) for text in told] + [(last, False)]
    if len(told) > LINES:
        shown[LINES - 1] = f"and {len(told) - LINES + 1} more: see the text", True
    return [(textwrap.shorten(text, CHARACTERS, placeholder=" ..."), warns) for text, warns in shown[:LINES]]


def axis_of(report: Report) -> Axis:
    """The budget is always inside; where it is far above the use, above a break, so that the use can be read too."""
    highest_sample = max((level for _, level in report.samples), default=0)
    used = max(report.predicted_peak, report.measured_peak, highest_sample, LEAST_AXIS)
    budget = budget_of(report)
    if budget > BROKEN_FROM * used:
        return Axis(budget, round(used * HEADROOM))
    return Axis(round(max(used, budget) * HEADROOM), None)


def stage_bands(timeline: Sequence[Span]) -> list[Span]:
    """The timeline with neighbours of one stage joined, so that a thousand tiles are one band."""
    bands: list[Span] = []
    for span in sorted(timeline, key=lambda span: span.begin):
        if bands and bands[-1].stage == span.stage:
            bands[-1] = Span(span.stage, bands[-1].begin, max(bands[-1].end, span.end))
        else:
            bands.append(span)
    return bands


def _draw_use(draw: ImageDraw.ImageDraw, report: Report, axis: Axis, seconds: float) -> None:
    """The curve of memory with its area, and where the axis is broken."""
    places = [(_x(moment, seconds), axis.row(max(0, level))) for moment, level in report.samples]
    if len(places) > 1:
        area = tuple(round(0.72 * ground + 0.28 * line) for ground, line in zip(PLOT, CURVE, strict=True))
        draw.polygon([(places[0][0], BOTTOM), *places, (places[-1][0], BOTTOM)], fill=area)
        draw.line(places, fill=CURVE, width=4, joint="curve")
    if axis.broken_at is not None:
        middle = BOTTOM - round((BOTTOM - TOP) * (USE_SHARE + 0.06))
        teeth = [(x, middle + (6 if index % 2 else -6)) for index, x in enumerate(range(LEFT, RIGHT + 1, 12))]
        draw.line(teeth, fill=GREY, width=2)


def _draw_levels(draw: ImageDraw.ImageDraw, report: Report, axis: Axis) -> None:
    """The lines of the budget and of the prediction, neither at 0, with their names: one at each side."""
    budget = budget_of(report)
    budget_row = axis.row(budget) if budget else TOP
    if report.predicted_peak > 0:
        row = axis.row(report.predicted_peak)
        for x in range(LEFT, RIGHT, 24):
            draw.line((x, row, min(RIGHT, x + 14), row), fill=PREDICTED, width=4)
        is_clear = axis.broken_at is None and row - 36 > TOP and not row - 36 < budget_row <= row
        text = f"predicted {format_bytes(report.predicted_peak)}"
        _label(draw, text, LEFT + 8, row - 34 if is_clear else row + 6, PREDICTED)
    if budget:
        draw.line((LEFT, budget_row, RIGHT, budget_row), fill=ALLOWED, width=4)
        text = f"budget {format_bytes(budget)}" + (f", {report.enforcement}" if report.allowed else "")
        is_near = report.predicted_peak > 0 and 0 <= axis.row(report.predicted_peak) - budget_row < 36
        top = budget_row - 34 if is_near else budget_row + 6
        _label(draw, text, RIGHT - 8 - _width(text, SMALL), max(TOP - 6, top), ALLOWED)


def _draw_stages(draw: ImageDraw.ImageDraw, report: Report, seconds: float) -> None:
    """A strip of colours below the plot, the time, and which colour is which stage with the seconds that it took."""
    bands = stage_bands(report.timeline)
    names = list(dict.fromkeys(band.stage for band in bands))
    for band in bands:
        color = BANDS[names.index(band.stage) % len(BANDS)]
        x = _x(band.begin, seconds)
        draw.rectangle((x, STRIP_TOP, max(x + 1, _x(band.end, seconds)), STRIP_BOTTOM), fill=color)
    if not bands:
        return
    end = f"{seconds:.1f} s" if seconds >= 2 else f"{seconds * 1000:.0f} ms"
    _write(draw, "0", LEFT, AXIS_TEXT, GREY, SMALL)
    _write(draw, end, RIGHT - _width(end, SMALL), AXIS_TEXT, GREY, SMALL)
    x, y = LEFT, LEGEND_TEXT
    for name, spent in sorted(report.seconds.items(), key=lambda item: -item[1]):
        text = f"{name} {spent:.2f} s"
        width = 30 + _width(text, LARGE) + 26
        if x + width > RIGHT + 26:
            x, y = LEFT, y + 34
        if y > LEGEND_TEXT + 34:
            break
        color = BANDS[names.index(name) % len(BANDS)] if name in names else GREY
        draw.rounded_rectangle((x, y + 5, x + 20, y + 25), 4, fill=color)
        _write(draw, text, x + 30, y, INK, LARGE)
        x += width


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _width(text: str, size: int) -> int:
    return round(float(_font(size).getlength(text)))


def _label(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, color: Color) -> None:
    """Text over the curve, which is covered around the letters."""
    draw.text((x, y), text, fill=color, font=_font(SMALL), stroke_width=3, stroke_fill=PLOT)


def _write(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, color: Color, size: int) -> None:
    draw.text((x, y), text, fill=color, font=_font(size))


def _x(moment: float, seconds: float) -> int:
    return LEFT + round((RIGHT - LEFT) * min(1.0, max(0.0, moment / seconds)))
