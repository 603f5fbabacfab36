"""People who do not exist: shapes and textures of two or three portraits, mixed part by part.

A card is a portrait on a canvas of one layout with its points; a morph is a mixture of cards with points of its own.
What a morph looks like to the teacher is asked of the teacher, so nothing here has to be right, only varied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...engines.host import StandaloneHost
from ...faces.align import similarity, warped
from ...faces.detect.detection import detect_faces
from ...faces.landmarks.bundled import landmarks68
from ...opencv import cv2
from ..data import Pixels, as_float, resized
from ..degrade import Image
from ..face_api import CHIP_SIZE, chip_points

SIDE = 208  # px of a canvas: the recogniser's crop in its middle and something around it
CELL = 8  # px: how finely a warp is computed
LONGEST = 640  # px of the portraits in which faces are looked for
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1), 69, 68, 70, 72, 71,
)  # fmt: skip
# Parts of a face whose shape and texture may come from different people: of the 68 points and the detector's five.
PARTS = {
    "jaw": tuple(range(17)),
    "eyes": (*range(17, 27), *range(36, 48), 68, 69),
    "nose": (*range(27, 36), 70),
    "mouth": (*range(48, 68), 71, 72),
}
CANVAS_POINTS = chip_points() + (SIDE - CHIP_SIZE) / 2
REST = np.array([(x, y) for x in (0, SIDE / 2, SIDE) for y in (0, SIDE / 2, SIDE) if (x, y) != (SIDE / 2,) * 2])

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Card:
    """picture: (SIDE, SIDE, 3) float32. points: (73, 2) x y on it, 68 and the detector's five."""

    picture: Image
    points: Points


def card_of(picture: Pixels) -> Card | None:
    """A portrait's largest face as a card, None where no face is found."""
    frame = as_float(resized(picture, LONGEST))
    faces = detect_faces(torch.from_numpy(frame)[None], StandaloneHost("cpu")).frames[0]
    if not faces:
        return None
    face = max(faces, key=lambda face: float(face.box[2] - face.box[0]))
    points = np.concatenate([landmarks68([(frame, face)])[0], face.landmarks]).astype(np.float64)
    affine = similarity(face.landmarks, CANVAS_POINTS)
    return Card(warped(frame, affine, (SIDE, SIDE)), points @ affine[:, :2].T + affine[:, 2])


def mirrored(card: Card) -> Card:
    points = card.points[list(MIRRORED)] * (-1, 1) + (SIDE - 1, 0)
    return Card(np.ascontiguousarray(card.picture[:, ::-1]), points)


def five(card: Card) -> Points:
    """The five points (5, 2) as the detector gives them."""
    return card.points[68:]


def morph(cards: tuple[Card, ...], rng: np.random.Generator) -> Card:
    """A mixture of one to three cards, drawn anew, with an expression, a turn, a light and colours of its own."""
    count = int(rng.choice(3, p=(0.2, 0.5, 0.3))) + 1
    chosen = [cards[index] for index in rng.choice(len(cards), count, replace=False)]
    chosen = [mirrored(card) if rng.random() < 0.5 else card for card in chosen]
    shares, own = _shares(count, rng), {part: _shares(count, rng) for part in PARTS}
    points = np.empty_like(chosen[0].points)
    for part, indices in PARTS.items():
        mix = shares if rng.random() < 0.6 else own[part]
        points[list(indices)] = sum(s * c.points[list(indices)] for s, c in zip(mix, chosen, strict=True))
    points = _turned(_expressive(points, rng), rng)
    pictures = _warped_to(points, chosen)
    textures = _shares(count, rng).clip(0)
    weights = [np.full((SIDE, SIDE), share, np.float32) for share in textures / textures.sum()]
    for part, indices in PARTS.items():
        if count > 1 and part != "jaw" and rng.random() < 0.35:  # this part from one of them
            mask, taken = _around(points[list(indices)]), int(rng.integers(count))
            weights = [w * (1 - mask) + mask * (index == taken) for index, w in enumerate(weights)]
    picture = sum(weight[..., None] * one for weight, one in zip(weights, pictures, strict=True))
    return Card(_lit(np.asarray(picture, np.float32), rng), points)


def _shares(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shares of sum 1; sometimes more of one than there is, as in a caricature."""
    shares = rng.dirichlet(np.full(count, 0.8))
    return (shares - 1 / count) * rng.uniform(0.8, 1.35) + 1 / count


def _expressive(points: Points, rng: np.random.Generator) -> Points:
    """Wider or narrower mouths, corners up or down, brows and jaw moved: a few px at random."""
    points = points.copy()
    if rng.random() < 0.6:
        corners = [48, 54, 60, 64, 71, 72]
        outwards = np.sign(points[corners, 0] - points[corners, 0].mean())
        points[corners] += np.column_stack([outwards * rng.normal(0, 2.5), np.full(6, rng.normal(0, 2.5))])
        lower = [55, 56, 57, 58, 59, 65, 66, 67]
        points[lower, 1] += rng.normal(0, 1.5)
        points[4:13, 1] += rng.normal(0, 1.5)
        points[17:27, 1] += rng.normal(0, 1.2)
    return points + rng.normal(0, 0.5, points.shape)


def _turned(points: Points, rng: np.random.Generator) -> Points:
    """The points of a head that is turned a little: what lies nearer moves further."""
    middle = points[:68].mean(0)
    away = (points - middle) / (0.42 * SIDE)
    depth = np.sqrt((1 - (away**2).sum(1)).clip(0.02))
    depth[[29, 30, 33, 70]] += 0.25  # the nose stands out
    angles = rng.normal(0, 0.16, 2) * (rng.random() < 0.7)
    flat = points + (depth[:, None] - depth.mean()) * np.sin(angles) * 0.42 * SIDE
    return (flat - middle) * np.cos(angles) + middle


def _warped_to(points: Points, cards: list[Card]) -> list[Image]:
    """The cards' pictures with their points moved to `points`, by thin plates (Bookstein 1989)."""
    kept = [*range(0, 17), *range(17, 68)]
    targets = np.concatenate([points[kept], REST])
    n = len(targets)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _bend(targets, targets) + 2.0 * np.eye(n)
    system[:n, n], system[:n, n + 1 :] = 1, targets
    system[n:, :n] = system[:n, n:].T
    y, x = np.mgrid[: SIDE + 1 : CELL, : SIDE + 1 : CELL]
    grid = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    sources = [np.concatenate([card.points[kept], REST]) - targets for card in cards]
    solved = np.linalg.solve(system, np.concatenate([np.hstack(sources), np.zeros((3, 2 * len(cards)))]))
    moved = np.column_stack([_bend(grid, targets), np.ones(len(grid)), grid]) @ solved
    fine = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    results = []
    for index, card in enumerate(cards):
        coarse = moved[:, 2 * index : 2 * index + 2].reshape(*x.shape, 2).astype(np.float32)
        shift = cv2.remap(coarse, fine[1] / CELL, fine[0] / CELL, cv2.INTER_LINEAR)
        where = (fine[1] + shift[..., 0], fine[0] + shift[..., 1])
        picture = cv2.remap(card.picture, where[0], where[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        results.append(np.asarray(picture, np.float32))
    return results


def _bend(points: Points, centres: Points) -> Points:
    squared = ((points[:, None] - centres) ** 2).sum(-1) / SIDE**2
    return squared * np.log(squared + 1e-9)


def _around(points: Points) -> Image:
    """A soft mask (SIDE, SIDE) 0..1 around points."""
    low, high = points.min(0), points.max(0)
    middle, reach = (low + high) / 2, (high - low) / 2 * 1.25 + 4
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    away = ((x - middle[0]) / reach[0]) ** 2 + ((y - middle[1]) / reach[1]) ** 2
    return np.asarray(1 / (1 + np.exp(((away - 1) * 5).clip(-30, 30))), np.float32)


def _lit(picture: Image, rng: np.random.Generator) -> Image:
    """`picture` with another tone and light: part of who somebody is to the teacher, who sees it too."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), abs(rng.normal(0, 0.12))
    light = 1 + strength * (x * np.cos(angle) + y * np.sin(angle))
    gains = rng.normal(1, 0.05, 3) * rng.uniform(0.75, 1.15)
    gamma = np.exp(rng.normal(0, 0.15))
    return np.asarray(np.clip(picture.clip(0, 1) ** gamma * gains * light[..., None], 0, 1), np.float32)
