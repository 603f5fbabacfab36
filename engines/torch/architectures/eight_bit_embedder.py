"""SlimEmbedder in 8 bits: the same network in whole numbers, by oneDNN's convolutions, in a third of the time.

Activations have 8 bits and weights 7, so that two products of them fit into 16 bits, in which processors without VNNI
add them. Weights are laid out once, where float32 convolutions lay them out at each call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .slim_embedder import SIDE, Block, SlimEmbedder

MOST, MOST_WEIGHT = 255, 63
# The largest activations that damaged and undamaged CC0 portraits gave: after the stem, and of each block after its
# first convolution and at its end.
STEM = 13.06
LARGEST = (
    (11.17, 11.91), (9.41, 18.38), (9.35, 24.12), (9.61, 12.93), (7.66, 18.06), (6.44, 23.11), (6.21, 22.23),
    (6.09, 11.11), (5.37, 10.24), (5.55, 9.59), (7.27, 20.43), (6.25, 16.74), (3.22, 15.41), (8.31, 4.9),
)  # fmt: skip
FURTHEST = 0.15  # from the exact vector: further off, this processor computes something else


class Convolution:
    """One convolution of `MOST` levels in, with its weights laid out. taken, made: what one level is worth."""

    def __init__(self, layer: nn.Conv2d, taken: float, made: float) -> None:
        self.taken, self.made, self.bias = taken, made, layer.bias
        self.scales = layer.weight.flatten(1).abs().amax(1).clamp_min(1e-8) / MOST_WEIGHT
        self.zeros = torch.zeros(len(self.scales), dtype=torch.int32)
        self.place = list(layer.stride), list(layer.padding), [1, 1], 1
        codes = torch.round(layer.weight / self.scales[:, None, None, None]).to(torch.int8)
        self.codes = torch.ops.onednn.qconv_prepack(codes, self.scales, taken, 0, *self.place, None)

    def relu(self, x: Tensor) -> Tensor:
        return self._pointwise(x, torch.uint8, "relu")

    def exact(self, x: Tensor) -> Tensor:
        """In float32, without a limit."""
        return self._pointwise(x, torch.float32, "none")

    def _pointwise(self, x: Tensor, dtype: torch.dtype, after: str) -> Tensor:
        scale = self.made if dtype == torch.uint8 else 1.0
        taken = x, self.taken, 0, self.codes, self.scales, self.zeros, self.bias
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(*taken, *self.place, scale, 0, dtype, after, [], "")
        return result

    def added(self, x: Tensor, to: Tensor, worth: float) -> Tensor:
        """What it makes plus `to`, of which one level is `worth` so much, above 0; `to` is lost."""
        taken = x, self.taken, 0, self.codes, self.scales, self.zeros, to, self.bias
        after: tuple[Any, ...] = self.made, 0, torch.uint8, worth, 0, "sum", 1.0, "relu", [], ""
        result: Tensor = torch.ops.onednn.qconv2d_pointwise.binary(*taken, *self.place, *after)
        return result


@dataclass(frozen=True)
class EightBitBlock:
    """block: as it is in float32. taken, made: what one level of its input and result is worth."""

    block: Block
    first: Convolution
    second: Convolution
    taken: float
    made: float

    def __call__(self, x: Tensor) -> Tensor:
        inside = self.first.relu(x)
        if not self.block.halves:
            return self.second.added(inside, x, self.taken)
        # The mean of four levels is no level, so that what halves the sides is added in float32.
        return levels(self.block.joined(self.second.exact(inside), x.float() * self.taken), self.made)


class EightBitEmbedder:
    """Stands for a SlimEmbedder: (B, 3, 150, 150) RGB 0..1 to (B, 128)."""

    def __init__(self, exact: SlimEmbedder) -> None:
        made = STEM / MOST
        self.stem = Convolution(exact.stem, 1 / MOST, made)
        self.blocks, self.embedding = [], exact.embedding
        for block, (inside, result) in zip(exact.blocks, LARGEST, strict=True):
            taken, middle, made = made, inside / MOST, result / MOST
            assert isinstance(block, Block)
            first, second = Convolution(block.first, taken, middle), Convolution(block.second, middle, made)
            self.blocks.append(EightBitBlock(block, first, second, taken, made))
        self.worth = made

    def __call__(self, crops: Tensor) -> Tensor:
        x = largest(self.stem.relu(levels(crops, 1 / MOST)))
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.embedding(x.float().mean((2, 3)) * self.worth)
        return result


def levels(x: Tensor, worth: float) -> Tensor:
    """float32 as whole numbers 0..`MOST`."""
    return torch.round(x / worth).clamp_(0, MOST).to(torch.uint8)


def largest(x: Tensor) -> Tensor:
    """The largest of 3 x 3 at every second place, which torch's own pooling refuses for this type."""
    x = torch.maximum(torch.maximum(x[:, :, :-2:2], x[:, :, 1:-1:2]), x[:, :, 2::2])
    return torch.maximum(torch.maximum(x[..., :-2:2], x[..., 1:-1:2]), x[..., 2::2])


@torch.inference_mode()
def in_eight_bits(exact: SlimEmbedder) -> EightBitEmbedder | SlimEmbedder:
    """The network in 8 bits, or as it is where this machine's torch has no such convolutions or other results."""
    picture = F.interpolate(torch.linspace(0, 1, 75).reshape(1, 3, 5, 5), (SIDE, SIDE), mode="bilinear")
    try:
        quick = EightBitEmbedder(exact)
        off = float((quick(picture) - exact(picture)).norm())
    except (AttributeError, RuntimeError):
        return exact
    return quick if off <= FURTHEST else exact
