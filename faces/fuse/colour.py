"""Giving one face the colours of another: skin takes the other skin's colour, and all that is on it follows.

Lightness and colour are those of CIE L*a*b*. L* + 16 is proportional to the cube root of light, as a* and b* are, so
what darkens the light (shadow, brow, beard) scales all three: below the skin's middle lightness is scaled, and colour
is (a* + i b*) / (L* + 16), scaled and turned about grey. Grey stays grey, a dark brow is as dark beside pale skin as it
was beside dark, lips keep their redness. Above the middle lies gloss, which the light gives to every skin alike: it is
given the reference's height, and is not scaled with the skin.

Pictures are numpy arrays (H, W, 3) float32 0..1 RGB (sRGB).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...opencv import cv2

SAMPLES = 1 << 15  # pixels that the statistics are taken from
GLOSS = 95  # percentile of lightness
OFFSET = 16.0  # of L*
LEAST_GLOSS = 0.3  # of the source's own height of gloss
LEAST_GAIN, MOST_GAIN, MOST_TURN = 0.4, 2.5, 0.5  # of colour, and radians: beyond, and of grey pictures, it is added
NEAR = 70  # percentile of the distance of skin's colours from their middle
LEAST_VARIETY = 0.5  # of the source's own variety of colours, where the reference's skin has less


@dataclass(frozen=True)
class Skin:
    """Statistics of a face's skin. light: the middle of L* + 16. gloss: how much higher the brightest is.

    colour: the middle of (a* + i b*) / (L* + 16). variety: the distance from it that most colours keep.
    """

    light: float
    gloss: float
    colour: complex
    variety: float


def matched_colour(picture: np.ndarray, reference: np.ndarray, mask: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """The picture with the colours that the reference has where the mask is 1; a new array, clipped.

    reference: of the picture's size. mask: (H, W), above 0.5 where the colours count. amount: 0 leaves the picture's
    own colours. Where the mask is empty the picture comes back as it is.
    """
    if amount == 0 or not (mask > 0.5).any():
        return picture
    where = sampled(mask > 0.5)
    skins = skin_of(lab_of(picture[where][None])[0]), skin_of(lab_of(reference[where][None])[0])
    return rgb_of(matched(lab_of(picture), *skins, amount))


def sampled(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows and columns of about SAMPLES pixels of a mask (H, W) bool."""
    step = max(1, int(mask.sum()) // SAMPLES)
    return tuple(axis[::step] for axis in np.nonzero(mask))


def skin_of(lab: np.ndarray) -> Skin:
    """What skin pixels (N, 3) of L*, a*, b* have in common."""
    light = lab[:, 0].astype(np.float64) + OFFSET
    colours = (lab[:, 1] + 1j * lab[:, 2]) / light
    middle = complex(np.median(colours.real), np.median(colours.imag))
    half, gloss = np.percentile(light, (50, GLOSS))
    return Skin(float(half), float(gloss - half), middle, float(np.percentile(np.abs(colours - middle), NEAR)))


def matched(lab: np.ndarray, skin: Skin, wanted: Skin, amount: float) -> np.ndarray:
    """L*, a*, b* (H, W, 3) of a face with one skin as they are with the wanted one; changes the array."""
    gain, turn = wanted.light / skin.light, _turn(skin, wanted)
    above = float(np.clip((wanted.gloss + 1) / (skin.gloss + 1), LEAST_GLOSS, max(1.0, gain)))
    rest = wanted.colour - turn * skin.colour
    old = np.maximum(lab[..., 0] + np.float32(OFFSET), np.float32(OFFSET))
    new = np.float32(gain) * old - np.float32(gain - above) * np.maximum(old - np.float32(skin.light), 0)
    scale = np.float32(amount) * new / old
    a, b = lab[..., 1] * scale, lab[..., 2] * scale
    new *= np.float32(amount)
    lab *= np.float32(1 - amount)
    lab[..., 0] += new - np.float32(amount * OFFSET)
    lab[..., 1] += np.float32(turn.real) * a - np.float32(turn.imag) * b + np.float32(rest.real) * new
    lab[..., 2] += np.float32(turn.imag) * a + np.float32(turn.real) * b + np.float32(rest.imag) * new
    return lab


def _turn(skin: Skin, wanted: Skin) -> complex:
    """By what colours are multiplied, so that one skin's become the wanted one's and vary no more than those do."""
    ratio = wanted.colour / skin.colour if abs(skin.colour) > 1e-3 else 1 + 0j
    gain = float(np.clip(abs(ratio), LEAST_GAIN, MOST_GAIN))
    angle = float(np.clip(np.angle(ratio), -MOST_TURN, MOST_TURN))
    variety = (wanted.variety + 1e-3) / (gain * skin.variety + 1e-3)
    return complex(gain * min(1.0, max(LEAST_VARIETY, variety)) * np.exp(1j * angle))


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """A picture, clipped to 0..1."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32).clip(0, 1)


def lab_of(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2Lab), np.float32)
