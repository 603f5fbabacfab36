"""Random damage for the question whether the restorer ever makes a picture worse: a sampler of its own, none of whose
numbers come from training.

The ranges are those published by Wang et al. 2021 ("Real-ESRGAN", first order: blur of 0.2 to 3 px, even or uneven,
noise of 1 to 30 / 255 or Poisson noise of a scale of 0.05 to 3, JPEG 30 to 95) and by Zhang et al. 2021 ("Designing a
Practical Degradation Model", shrinking to a half or less); each step is left out now and then, so that light damage
and none are among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...distill.degrade import Image, blurred, blurred_unevenly, enlarged, jpeg_coded, shrunk, with_gaussian_noise
from ...opencv import cv2

LEFT_OUT = 0.4  # chance of each step
WAYS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Damage:
    """What was drawn: sigmas of the blur in px, shrink factor, noise sigma in 0..1, Poisson scale, JPEG quality.

    0, 1 and 100 stand for a step that was left out.
    """

    blur: tuple[float, float]
    angle: float
    scale: float
    noise: float
    poisson: float
    jpeg: int

    @property
    def none(self) -> bool:
        return not (self.blur[0] or self.noise or self.poisson) and self.scale == 1 and self.jpeg == 100


def random_damage(rng: np.random.Generator) -> Damage:
    used = rng.random(4) > LEFT_OUT
    first = rng.uniform(0.2, 3) * used[0]
    second = first if rng.random() < 0.7 else rng.uniform(0.2, 3) * used[0]
    is_poisson = rng.random() < 0.5
    noise, poisson = rng.uniform(1, 30) / 255 * used[2], rng.uniform(0.05, 3) * used[2]
    return Damage(
        blur=(float(first), float(second)),
        angle=float(rng.uniform(0, np.pi)),
        scale=float(rng.uniform(1, 4)) if used[1] else 1.0,
        noise=0.0 if is_poisson else float(noise),
        poisson=float(poisson) if is_poisson else 0.0,
        jpeg=int(rng.integers(30, 96)) if used[3] else 100,
    )


def with_poisson_noise(image: Image, scale: float, rng: np.random.Generator) -> Image:
    """`image` with the noise of 255 levels of photons, `scale` times as strong."""
    if scale <= 0:
        return image
    noise = rng.poisson(image * 255) / 255 - image
    return np.clip(image + scale * noise, 0, 1).astype(np.float32)


def damaged(image: Image, damage: Damage, rng: np.random.Generator) -> Image:
    """`image` (H, W, 3) after `damage`, of the same shape."""
    if damage.blur[0] != damage.blur[1]:
        image = blurred_unevenly(image, damage.blur, damage.angle)
    else:
        image = blurred(image, damage.blur[0])
    shape, way = image.shape[:2], WAYS[rng.integers(len(WAYS))]
    image = np.clip(shrunk(image, damage.scale, way), 0, 1).astype(np.float32)
    image = with_gaussian_noise(image, damage.noise, rng, grey=rng.random() < 0.4)
    image = with_poisson_noise(image, damage.poisson, rng)
    image = jpeg_coded(image, damage.jpeg) if damage.jpeg < 100 else image
    return enlarged(image, shape, cv2.INTER_CUBIC)


def randomly_damaged(image: Image, seed: int) -> tuple[Image, Damage]:
    """The same for the same seed."""
    rng = np.random.default_rng((17, seed))
    damage = random_damage(rng)
    return damaged(image, damage, rng), damage
