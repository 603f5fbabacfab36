"""Losses on pictures: (B, 3, H, W) float32 RGB, 0..1; each returns a scalar tensor."""

from __future__ import annotations

import torch
from torch import Tensor

FREQUENCY_WEIGHT = 0.02
GRID = 8  # px: the period of what a network of pixel shuffles may draw into flat places
NEAR = range(3, 8)  # bins beside a frequency of the grid, outside the main lobe of a Hann window
UNSEEN = 0.2 / 255  # standard deviation of noise below which lines do not count
SMALLEST_ERROR = 1e-6  # squared; keeps the root's slope finite where a patch is restored exactly


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth absolute difference (Charbonnier et al. 1994, "Two deterministic half-quadratic ...")."""
    return ((output - target).square() + epsilon**2).sqrt().mean()


def root_mean_square(output: Tensor, target: Tensor) -> Tensor:
    """The root of each picture's mean squared error, averaged: PSNR's error, without the worst picture ruling."""
    return ((output - target).square().mean((1, 2, 3)) + SMALLEST_ERROR).sqrt().mean()


def frequency(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the spectra (Cho et al. 2021, "Rethinking Coarse-to-Fine ...")."""
    return torch.view_as_real(torch.fft.rfft2(output - target, norm="ortho")).abs().mean()


def restoration(output: Tensor, target: Tensor) -> Tensor:
    """What the faithful network is trained on: the error itself, a little of the spectrum for edges."""
    return root_mean_square(output, target) + FREQUENCY_WEIGHT * frequency(output, target)


def soft(output: Tensor, taught: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Absolute difference from the teacher's picture, each pixel weighted by how far the teacher is believed.

    A teacher that restores pictures gives no classes to soften, but it may be wrong. Its pixels count by
    exp(-error / temperature), error being its distance from the truth: a low temperature believes it only where
    it is right, a high one everywhere. temperature: in units of the range 0..1, above 0.
    """
    trust = torch.exp(-(taught - target).abs().mean(1, keepdim=True) / temperature)
    return (trust * (output - taught).abs()).mean()


def grid_excess(pictures: Tensor) -> Tensor:
    """(2, B, GRID / 2): logarithm of the power at the grid's frequencies over that beside them, along x and along y.

    pictures: at least 8 * `GRID` px a side, a multiple of `GRID`.
    """
    found = []
    for axis in (-1, -2):
        lines = pictures.transpose(axis, -1)
        count = lines.shape[-1]
        window = torch.hann_window(count, device=lines.device)
        spectrum = torch.fft.rfft((lines - lines.mean(-1, keepdim=True)) * window)
        power = torch.view_as_real(spectrum).square().sum(-1).mean((1, 2)) + UNSEEN**2 * float(window.square().sum())
        bins = [count * k // GRID for k in range(1, GRID // 2 + 1)]
        beside = [[i for d in NEAR for i in (b - d, b + d) if i <= count // 2] for b in bins]
        near = torch.stack([power[:, one].mean(-1) for one in beside], -1)
        found.append(power[:, bins].log() - near.detach().log())
    return torch.stack(found)


def weave(output: Tensor, target: Tensor) -> Tensor:
    """How far lines at the network's own grid stand out of the spectrum, more than they do in the original.

    Counted in logarithms, because a weave is seen where a picture is smooth, however weak it is.
    """
    with torch.no_grad():
        natural = grid_excess(target).clamp(min=0)
    return (grid_excess(output) - natural).clamp(min=0).mean()
