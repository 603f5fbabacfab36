"""What a student is shown: crops of morphs, damaged and shrunk, aligned by points as wrong as a detector's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...engines.torch.architectures.slim_embedder import SlimEmbedder
from ...faces.align import similarity, warped
from ...opencv import cv2
from ..data import Pixels, as_batch, as_float
from ..degrade import Image, degraded_once, light_severity, random_look, random_severity, shrunk
from ..face_api import CHIP_SIZE, chip_points
from .morphs import CANVAS_POINTS, SIDE, Card, five, morph

SMALLEST, LARGEST = 24, 150  # px of a crop before it is enlarged
UNDAMAGED = 0.3  # share of lessons
SCENES = 0.06  # share of crops of photographs without a face: what a network says of them is distilled too


def crop_of(picture: Image, points: np.ndarray) -> Image:
    """The recogniser's crop (150, 150, 3) by five points (5, 2)."""
    return warped(picture, similarity(points, chip_points()), (CHIP_SIZE, CHIP_SIZE))


def missed(points: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Points as a detector gives them that sees a face of `side` px: each a little wrong, and all together."""
    sigma = rng.uniform(0.3, 1.0) * (1.2 + 40 / side)  # px of the canvas
    middle = points.mean(0)
    scaled = (points - middle) * np.exp(rng.normal(0, 0.02)) + middle
    return np.asarray(scaled + rng.normal(0, sigma, (5, 2)) + rng.normal(0, 0.8 * sigma, 2))


def lesson(card: Card, rng: np.random.Generator) -> Image:
    """A crop (150, 150, 3) float32 as it may come from a frame: of any size, damaged, not aligned quite right."""
    if rng.random() < UNDAMAGED:
        return crop_of(card.picture, missed(five(card), LARGEST, rng))
    side = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    picture = random_look(card.picture, rng)
    picture = shrunk(picture, LARGEST / side, cv2.INTER_AREA)
    kind = rng.random()
    if kind < 0.75:  # the smaller a face, the less of it can be lost besides
        severity = light_severity(rng) if kind < 0.35 or side < 60 else random_severity(rng)
        picture = degraded_once(picture, severity, rng)
    scale = picture.shape[1] / SIDE
    points = (missed(five(card), side, rng) + 0.5) * scale - 0.5
    return np.clip(crop_of(picture, points), 0, 1)


def scene(photos: Sequence[Pixels], rng: np.random.Generator) -> Card:
    """A square of a photograph, as if a face stood there."""
    photo = photos[int(rng.integers(len(photos)))]
    top, left = (int(rng.integers(0, length - SIDE + 1)) for length in photo.shape[:2])
    points = np.concatenate([np.zeros((68, 2)), CANVAS_POINTS])
    return Card(as_float(photo[top : top + SIDE, left : left + SIDE]), points)


@dataclass
class Pool:
    """The latest morphs and what the teacher says of each; every morph is a lesson several times.

    cards, photos: what morphs and scenes are made of. most: how many morphs are kept.
    """

    cards: tuple[Card, ...]
    photos: Sequence[Pixels]
    teacher: SlimEmbedder
    most: int = 4000
    morphs: list[tuple[np.ndarray, np.ndarray, Tensor]] = field(default_factory=list)
    made: int = 0

    def add(self, count: int, rng: np.random.Generator) -> None:
        """Makes `count` morphs and asks the teacher about them; the oldest go."""
        new = [
            scene(self.photos, rng) if self.photos and rng.random() < SCENES else morph(self.cards, rng)
            for _ in range(count)
        ]
        with torch.inference_mode():
            told = self.teacher(as_batch([crop_of(card.picture, five(card)) for card in new])).clone()
        for card, vector in zip(new, told, strict=True):
            entry = (np.rint(card.picture * 255).astype(np.uint8), card.points, vector)
            if len(self.morphs) < self.most:
                self.morphs.append(entry)
            else:
                self.morphs[self.made % self.most] = entry
            self.made += 1

    def lessons(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(count, 3, 150, 150) crops and the teacher's (count, 128) of the undamaged ones."""
        chosen = [self.morphs[index] for index in rng.integers(len(self.morphs), size=count)]
        crops = [lesson(Card(as_float(picture), points), rng) for picture, points, _ in chosen]
        return as_batch(crops), torch.stack([vector for _, _, vector in chosen])
