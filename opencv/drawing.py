"""Boxes, points and words on a picture (H, W, 3) uint8, in place, by Pillow: for eyes, not the same to the pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[int, int]

LETTER = 30  # px of Pillow's letters that are as high as OpenCV's at scale 1
FINER = 4  # drawn so many times larger, for smooth edges


def _canvas(picture: np.ndarray) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray(picture)
    return image, ImageDraw.Draw(image)


def rectangle(picture: np.ndarray, pt1: Point, pt2: Point, color: Colour, thickness: int, lineType: int = 8) -> None:
    """thickness: px of the line, whose middle is the rectangle's edge; negative for a filled one."""
    image, draw = _canvas(picture)
    if thickness < 0:
        draw.rectangle([pt1, pt2], fill=color)
    else:
        reach = thickness // 2
        outer = [(pt1[0] - reach, pt1[1] - reach), (pt2[0] + reach, pt2[1] + reach)]
        draw.rectangle(outer, outline=color, width=thickness)
    picture[...] = np.asarray(image)


def circle(picture: np.ndarray, center: Point, radius: int, color: Colour, thickness: int, lineType: int = 8) -> None:
    """A filled one, which alone is used."""
    image, _ = _canvas(picture)
    side = (2 * radius + 1) * FINER
    disc = Image.new("L", (side, side))
    ImageDraw.Draw(disc).ellipse([0, 0, side - 1, side - 1], fill=255)
    disc = disc.resize((2 * radius + 1, 2 * radius + 1), Image.Resampling.BOX)
    image.paste(color, (center[0] - radius, center[1] - radius), disc)
    picture[...] = np.asarray(image)


def _font(scale: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(max(1.0, LETTER * scale))


def text_size(text: str, fontFace: int, fontScale: float, thickness: int) -> tuple[tuple[int, int], int]:
    """(width, height above the line) in px, and how far letters reach below the line."""
    left, top, right, bottom = _font(fontScale).getbbox(text, stroke_width=_stroke(thickness), anchor="ls")
    return (round(right - left), round(-top)), max(0, round(bottom))


def _stroke(thickness: int) -> int:
    return max(0, (thickness - 1) // 2)


def put_text(
    picture: np.ndarray,
    text: str,
    org: Point,
    fontFace: int,
    fontScale: float,
    color: Colour,
    thickness: int = 1,
    lineType: int = 8,
) -> None:
    """org: the left end of the line that the letters stand on."""
    image, draw = _canvas(picture)
    draw.text(org, text, fill=color, font=_font(fontScale), anchor="ls", stroke_width=_stroke(thickness))
    picture[...] = np.asarray(image)
