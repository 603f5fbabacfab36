"""How far around a pixel a network looks: what a tile must have around it to be the whole picture's part."""

from __future__ import annotations

from typing import Any

from torch import nn

from ....catalog.card import ModelCard
from . import esrgan

COMPACT = "Compact"


def halos(card: ModelCard, module: Any) -> tuple[int, int]:
    """px to throw away around a tile: so many that no seam is seen, and so many that the picture is the same.

    The card's, where the module does not tell how far it reaches.
    """
    if card.architecture == COMPACT:
        reach = sum(1 for layer in module.modules() if isinstance(layer, nn.Conv2d))  # all of them 3x3
        return reach, reach
    if card.architecture == esrgan.ARCHITECTURE:
        reach, shuffle = esrgan.reach(module), module.shuffle_factor or 1
        return min(card.halo, reach) * shuffle, min(card.exact_halo or reach, reach) * shuffle
    return card.halo, int(getattr(module, "receptive_radius", card.halo))
