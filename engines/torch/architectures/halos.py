"""How far around a pixel a network looks: what a tile must have around it to be the whole picture's part."""

from __future__ import annotations

from typing import Any

from torch import nn

from . import esrgan

COMPACT = "Compact"

# RRDBNet sees hundreds of pixels and uses few of them. Measured on realesrgan-x4plus over damaged portraits: 64 px
# from a cut the largest difference is 1.1 / 255, before neighbours crossfade; 96 px from it 0.12 / 255.
ENOUGH, ALL_THAT_SHOWS = 64, 96


def halos(architecture: str, module: Any, usual: int) -> tuple[int, int]:
    """px to throw away around a tile: so many that no seam is seen, and so many that the picture is the same.

    usual: for a network whose reach is not known. Where it is known and finite, both are that.
    """
    if architecture == COMPACT:
        reach = sum(1 for layer in module.modules() if isinstance(layer, nn.Conv2d))  # all of them 3x3
        return reach, reach
    if architecture == esrgan.ARCHITECTURE:
        reach, shuffle = esrgan.reach(module), module.shuffle_factor or 1
        return min(ENOUGH, reach) * shuffle, min(ALL_THAT_SHOWS, reach) * shuffle
    return usual, int(getattr(module, "receptive_radius", usual))
