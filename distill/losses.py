"""Losses on pictures: (B, 3, H, W) float32 RGB, 0..1; each returns a scalar tensor."""

from __future__ import annotations

import torch
from torch import Tensor

FREQUENCY_WEIGHT = 0.02


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth absolute difference (Charbonnier et al. 1994, "Two deterministic half-quadratic ...")."""
    return ((output - target).square() + epsilon**2).sqrt().mean()


def frequency(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the spectra (Cho et al. 2021, "Rethinking Coarse-to-Fine ...")."""
    return torch.view_as_real(torch.fft.rfft2(output - target, norm="ortho")).abs().mean()


def restoration(output: Tensor, target: Tensor) -> Tensor:
    """What the bundled restorer is trained on: fidelity first, a little of the spectrum for edges."""
    return charbonnier(output, target) + FREQUENCY_WEIGHT * frequency(output, target)
