"""LPIPS with random weights in the real layout, for tests: nothing is fetched."""

from __future__ import annotations

from itertools import pairwise

import torch
from slimfusion.distill.perceptual import BACKBONES, Lpips

VGG_WIDTHS = (3, 8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64)
SHAPES = {
    "alex": [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)],
    "vgg": [(given, width, 3) for given, width in pairwise(VGG_WIDTHS)],
}


def random_lpips(name: str = "alex") -> Lpips:
    backbone, generator = BACKBONES[name], torch.Generator().manual_seed(0)
    layers = tuple(
        (torch.randn(o, i, k, k, generator=generator) / (i * k * k) ** 0.5, torch.zeros(o)) for i, o, k in SHAPES[name]
    )
    widths = [SHAPES[name][tap][1] for tap in backbone.taps]
    return Lpips(backbone, layers, tuple(torch.rand(1, width, 1, 1, generator=generator) for width in widths))
