"""Degradations of a picture, as pure functions of the picture and a seed or a numpy generator.

The order blur, shrink, noise, JPEG and its repetition (second order) follow Wang et al. 2021, "Real-ESRGAN:
Training Real-World Blind Super-Resolution with Pure Synthetic Data". Pictures are (H, W, 3) float32 RGB 0..1.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError
from ..opencv import cv2

Image = NDArray[np.float32]
NEAR = 0.65  # share of the training's severities that lie near the presets
GREY, DARK = 0.08, 0.08  # shares of training pictures without colour, and taken in low light
BRIGHTNESS = (0.15, 0.5)  # of a picture taken in low light
LIGHT = 0.27  # share of training inputs with so little damage that doing nothing is nearly right
OTHER = 0.16  # share of training inputs with a damage of its own kind: motion, grain, strong JPEG
HEAVY = (1.4, 2.15)  # places between medium (1) and heavy (2) and a little past it
SMALLEST_SIDE = 8  # px that a shrunk picture keeps: below one JPEG block nothing is left to restore


@dataclass(frozen=True)
class Severity:
    """blur: sigma in px. scale: shrink factor, 1 = none. noise: sigma in 0..1. jpeg: quality, 100 = none."""

    blur: float
    scale: float
    noise: float
    jpeg: int


SEVERITIES = {
    "light": Severity(blur=0.8, scale=2, noise=2 / 255, jpeg=85),
    "medium": Severity(blur=1.2, scale=3, noise=5 / 255, jpeg=70),
    "heavy": Severity(blur=2.0, scale=6, noise=10 / 255, jpeg=50),
}


def severity(name: str) -> Severity:
    """The fixed preset of that name; raises `SettingError` for an unknown one."""
    if name not in SEVERITIES:
        raise SettingError(f"There is no severity '{name}'; choose one of {', '.join(SEVERITIES)}.")
    return SEVERITIES[name]


def degrade(image: Image, severity: Severity, seed: int) -> Image:
    """`image` blurred, shrunk, made noisy, JPEG-coded and enlarged again; the same for the same seed."""
    rng = np.random.default_rng(seed)
    small = shrunk(blurred(image, severity.blur), severity.scale, cv2.INTER_AREA)
    coded = jpeg_coded(with_gaussian_noise(small, severity.noise, rng), severity.jpeg)
    return enlarged(coded, image.shape[:2], cv2.INTER_CUBIC)


def blurred(image: Image, sigma: float) -> Image:
    """`image` under an isotropic Gaussian of `sigma` px."""
    if sigma <= 0:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101).astype(np.float32)


def blurred_unevenly(image: Image, sigmas: tuple[float, float], angle: float) -> Image:
    """`image` under an anisotropic Gaussian: `sigmas` in px along axes turned by `angle` radians."""
    radius = max(1, int(np.ceil(3 * max(sigmas))))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2))
    kernel /= kernel.sum()
    spread = cv2.filter2D(image, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    return spread.astype(np.float32)


def motion_blurred(image: Image, length: float, angle: float) -> Image:
    """`image` smeared along a straight line of `length` px at `angle` radians, as by a moving camera."""
    if length <= 1:
        return image
    radius = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    kernel /= kernel.sum()
    spread = cv2.filter2D(image, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    return spread.astype(np.float32)


def with_film_grain(image: Image, sigma: float, size: float, rng: np.random.Generator) -> Image:
    """`image` with soft grey grain, strongest in the middle tones. sigma: at middle grey; size: sigma in px."""
    grain = blurred(rng.standard_normal(image.shape[:2], dtype=np.float32), size)
    grain *= sigma / max(1e-6, float(grain.std()))
    tone = np.sqrt(np.clip(4 * image * (1 - image), 0.1, 1))
    return np.clip(image + tone * grain[..., None], 0, 1).astype(np.float32)


def grey(image: Image) -> Image:
    """`image` without colour, by the luma of JPEG."""
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(luma[..., None], 3, axis=2)


def random_look(image: Image, rng: np.random.Generator) -> Image:
    """A training picture as it is, now and then without colour or as dark as one taken in low light."""
    kind = rng.random()
    if kind < GREY:
        return grey(image)
    if kind < GREY + DARK:
        return (image * np.float32(rng.uniform(*BRIGHTNESS))).astype(np.float32)
    return image


def shrunk(image: Image, scale: float, interpolation: int) -> Image:
    """`image` made smaller by `scale`, never below `SMALLEST_SIDE` px a side."""
    if scale <= 1:
        return image
    height, width = (max(SMALLEST_SIDE, round(side / scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=interpolation).astype(np.float32)


def enlarged(image: Image, shape: tuple[int, ...], interpolation: int) -> Image:
    """`image` resized to `shape` (height, width), kept within 0..1 where the interpolation overshoots."""
    if image.shape[:2] == shape[:2]:
        return image
    large = cv2.resize(image, (shape[1], shape[0]), interpolation=interpolation)
    return np.clip(large, 0, 1).astype(np.float32)


def with_gaussian_noise(image: Image, sigma: float, rng: np.random.Generator, grey: bool = False) -> Image:
    """`image` plus normal noise of `sigma`; `grey` noise is the same in all three channels."""
    if sigma <= 0:
        return image
    shape = (*image.shape[:2], 1) if grey else image.shape
    return np.clip(image + sigma * rng.standard_normal(shape, dtype=np.float32), 0, 1).astype(np.float32)


def with_shot_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """`image` with Poisson noise whose sigma at middle grey is `sigma`."""
    if sigma <= 0:
        return image
    photons = 0.5 / sigma**2
    return np.clip(rng.poisson(image * photons) / photons, 0, 1).astype(np.float32)


def jpeg_coded(image: Image, quality: int) -> Image:
    """`image` after JPEG at `quality`."""
    pixels = np.rint(image * 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return (decoded[..., ::-1] / np.float32(255)).astype(np.float32)


def severity_near(place: float, rng: np.random.Generator) -> Severity:
    """A severity beside a place on the line light (0) - medium (1) - heavy (2)."""
    corners = np.array([astuple(preset) for preset in SEVERITIES.values()])
    blur, scale, noise, jpeg = (float(np.interp(place, range(3), values)) for values in corners.T)
    blur, scale, noise = (value * rng.uniform(0.8, 1.2) for value in (blur, scale, noise))
    return Severity(blur, max(1.0, scale), noise, int(np.clip(jpeg + rng.uniform(-10, 10), 40, 95)))


def random_severity(rng: np.random.Generator) -> Severity:
    """A severity for training: most lie near the line light - medium - heavy, the rest in a wider box."""
    if rng.random() < NEAR:
        return severity_near(2.35 * rng.random() ** 0.5 - 0.2, rng)  # more lessons about the heavier, which is harder
    used = rng.random(4) > (0.25, 0.3, 0.25, 0.25)
    return Severity(
        blur=rng.uniform(0.1, 2.5) * used[0],
        scale=rng.uniform(1, 9) if used[1] else 1.0,
        noise=rng.uniform(0, 12 / 255) * used[2],
        jpeg=int(rng.integers(40, 96)) if used[3] else 100,
    )


def degraded_once(image: Image, severity: Severity, rng: np.random.Generator) -> Image:
    """`image` through one round with random kernel, filter and kind of noise; may come back smaller."""
    if severity.blur > 0.2 and rng.random() < 0.3:
        sigmas = (severity.blur, severity.blur * rng.uniform(0.4, 1))
        image = blurred_unevenly(image, sigmas, rng.uniform(0, np.pi))
    else:
        image = blurred(image, severity.blur)
    methods = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    image = shrunk(image, severity.scale, methods[rng.choice(3, p=(0.7, 0.15, 0.15))])
    image = np.clip(image, 0, 1)
    if rng.random() < 0.2:
        image = with_shot_noise(image, severity.noise, rng)
    else:
        image = with_gaussian_noise(image, severity.noise, rng, grey=rng.random() < 0.15)
    return image if severity.jpeg >= 100 else jpeg_coded(image, severity.jpeg)


def light_severity(rng: np.random.Generator) -> Severity:
    """Little damage, most often of one or two kinds: what must not get worse."""
    used = rng.random(4) < (0.4, 0.6, 0.3, 0.4)
    return Severity(
        blur=rng.uniform(0.2, 1.0) * used[0],
        scale=rng.uniform(1, 2.5) if used[1] else 1.0,
        noise=rng.uniform(0, 4 / 255) * used[2],
        jpeg=int(rng.integers(70, 98)) if used[3] else 100,
    )


def degraded_otherwise(image: Image, rng: np.random.Generator) -> Image:
    """`image` of the same size with motion blur, film grain, or JPEG of a low quality, and a little else."""
    kind = rng.integers(3)
    if kind == 0:
        image = motion_blurred(image, rng.uniform(2, 14), rng.uniform(0, np.pi))
    elif kind == 1:
        image = with_film_grain(blurred(image, rng.uniform(0, 1)), rng.uniform(0.01, 0.06), rng.uniform(0, 1.2), rng)
    else:
        return jpeg_coded(image, int(rng.integers(10, 60)))
    image = with_gaussian_noise(image, rng.uniform(0, 6 / 255) * (rng.random() < 0.7), rng)
    return jpeg_coded(image, int(rng.integers(50, 96))) if rng.random() < 0.6 else image


def degraded_randomly(image: Image, rng: np.random.Generator) -> Image:
    """`image` as a training input of the same shape: untouched (6 %), in a way of its own, lightly or as it comes,
    sometimes twice (12 %)."""
    kind = rng.random()
    if kind < 0.06:
        return image
    if kind < 0.06 + OTHER:
        return degraded_otherwise(image, rng)
    is_light = kind < 0.06 + OTHER + LIGHT
    result = degraded_once(image, light_severity(rng) if is_light else random_severity(rng), rng)
    if kind > 0.88:
        again = random_severity(rng)
        milder = Severity(again.blur / 3, 1 + (again.scale - 1) / 6, again.noise / 2, max(60, again.jpeg))
        result = degraded_once(result, milder, rng)
    return enlarged_randomly(result, image.shape, rng)


def degraded_heavily(image: Image, rng: np.random.Generator) -> Image:
    """`image` as a training input of the same shape with damage from medium to heavy: where a likeness is lost."""
    return enlarged_randomly(degraded_once(image, severity_near(rng.uniform(*HEAVY), rng), rng), image.shape, rng)


def enlarged_randomly(image: Image, shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    return enlarged(image, shape[:2], cv2.INTER_CUBIC if rng.random() < 0.85 else cv2.INTER_LINEAR)
