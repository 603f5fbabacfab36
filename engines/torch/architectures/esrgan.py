"""RRDBNet of ESRGAN (Wang et al., ECCVW 2018) and Real-ESRGAN, on spandrel's module: any size, 0..1 inside.

A dense block hands each convolution all that came before it: here those are the first channels of one buffer, which
all blocks use in turn, instead of a longer copy each. What follows the blocks works on the enlarged picture, 64
channels of it: that is done in bands of rows, each with the few rows around it that its convolutions see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import folding

ARCHITECTURE = "ESRGAN"
SLOPE = 0.2
SHARE = 0.2  # of what a block adds to its input

# The last layers see 1/2 + 1/4 + ... rows of the small picture by enlarging and, with two convolutions more, at most
# two of them to each side.
SEEN = 2
BANDS = 16  # so many that their features are fewer bytes than the blocks'
LEAST_BAND = 4


@dataclass(frozen=True)
class Prepared:
    """blocks: the dense blocks, by threes. enlarging: for each doubling its kernels (see folding.py) and bias.
    last: the two convolutions at full size.
    """

    first: nn.Conv2d
    blocks: tuple[tuple[Any, ...], ...]
    body: nn.Conv2d
    enlarging: tuple[tuple[tuple[Tensor, ...], Tensor], ...]
    last: tuple[nn.Conv2d, nn.Conv2d]
    shuffle: int
    module: Any


def reach(module: Any) -> int:
    """Pixels of the small picture around one of its own that can change it: one a 3x3 convolution on the way."""
    _, trunk, *_ = module.model
    return 15 * (len(trunk.sub) - 1) + 2 + SEEN


@torch.no_grad()
def prepare(module: Any, device: torch.device, dtype: torch.dtype) -> Prepared:
    """The module's layers in their order; its weights stay where they are."""
    first, trunk, *rest = module.model
    *blocks, body = trunk.sub
    convolutions: list[Any] = [layer for layer in rest if isinstance(layer, nn.Conv2d)]
    return Prepared(
        first,
        tuple((block.RDB1, block.RDB2, block.RDB3) for block in blocks),
        body,
        tuple((folding.folded_nearest(layer.weight), layer.bias) for layer in convolutions[:-2]),
        (convolutions[-2], convolutions[-1]),
        module.shuffle_factor or 1,
        module,
    )


def forward(prepared: Prepared, batch: Tensor, fidelity: float) -> Tensor:
    """(n, 3, h, w) in 0..1 RGB, enlarged by the network's scale. It has no fidelity control."""
    if torch.compiler.is_exporting():  # a file cannot hold a loop over bands whose number depends on the picture
        result: Tensor = prepared.module(batch)
        return result
    features = _features(prepared, F.pixel_unshuffle(batch, prepared.shuffle))
    n, _, height, width = features.shape
    scale = 1 << len(prepared.enlarging)
    channels = prepared.last[1].out_channels
    picture = features.new_empty((n, channels, height * scale, width * scale))
    rows = max(LEAST_BAND, height // BANDS)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        above, below = max(0, top - SEEN), min(height, bottom + SEEN)
        band = _finished(prepared, features[:, :, above:below])
        start = (top - above) * scale
        picture[:, :, top * scale : bottom * scale] = band[:, :, start : start + (bottom - top) * scale]
        del band
    return picture


def _features(prepared: Prepared, x: Tensor) -> Tensor:
    """(n, c, h, w): what the blocks find in a picture of the same size."""
    x = prepared.first(x)
    n, channels, height, width = x.shape
    growth = prepared.blocks[0][0].conv1[0].out_channels
    dense = x.new_empty((n, channels + 4 * growth, height, width))
    carried, before = dense[:, :channels], x.clone()
    carried.copy_(x)
    for block in prepared.blocks:
        for dense_block in block:
            _grow(dense_block, dense, channels, growth)
            carried.add_(dense_block.conv5(dense), alpha=SHARE)
        carried.copy_(before.add_(carried, alpha=SHARE))
    del before
    return x.add_(prepared.body(carried))


def _grow(block: Any, dense: Tensor, channels: int, growth: int) -> None:
    """Fills what `dense` (n, channels + 4 * growth, h, w) holds beside the block's input, its first `channels`."""
    for index, layer in enumerate((block.conv1, block.conv2, block.conv3, block.conv4)):
        end = channels + index * growth
        grown = F.leaky_relu_(layer[0](dense[:, :end]), SLOPE)
        if block.conv1x1 is not None and index == 1:  # ESRGAN+ has two more ways around a layer
            grown.add_(block.conv1x1(dense[:, :channels]))
        elif block.conv1x1 is not None and index == 3:
            grown.add_(dense[:, channels + growth : channels + 2 * growth])
        dense[:, end : end + growth].copy_(grown)


def _finished(prepared: Prepared, x: Tensor) -> Tensor:
    """(n, 3, h * scale, w * scale) of features (n, c, h, w)."""
    for kernels, bias in prepared.enlarging:
        x = F.leaky_relu_(folding.nearest_conv(x, kernels, bias), SLOPE)
    x = F.leaky_relu_(prepared.last[0](x), SLOPE)
    result: Tensor = prepared.last[1](x)
    return result
