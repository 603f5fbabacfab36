"""The parts of VQGAN (Esser et al., CVPR 2021) that RestoreFormer and CodeFormer share, run in little memory.

All take modules of spandrel's as they are: residual blocks with norm1, conv1, norm2, conv2.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import folding

# A norm that works in place does so in this many turns, each with its own groups of channels.
TURNS = 4

# The folded kernels of upsampling layers, by the layer's place; None where it is too small to fold.
Folded = tuple[tuple[Tensor, ...] | None, ...]


def layout(dtype: torch.dtype) -> torch.memory_format:
    """Channels last for half precision, where it is faster; its group norm is too inexact for float32."""
    return torch.contiguous_format if dtype == torch.float32 else torch.channels_last


def norm_silu(norm: Any, x: Tensor) -> Tensor:
    """silu(norm(x)) as a new tensor."""
    return F.silu(norm(x), inplace=True)


def norm_silu_(norm: Any, x: Tensor) -> Tensor:
    """The same, written over x, some groups at a time: the normalised copy is never whole."""
    if torch.compiler.is_exporting():
        return norm_silu(norm, x)
    groups, channels = norm.num_groups // TURNS, x.shape[1] // TURNS
    for start in range(0, x.shape[1], channels):
        part = slice(start, start + channels)
        weight, bias = norm.weight[part], norm.bias[part]
        x[:, part].copy_(F.silu(F.group_norm(x[:, part], groups, weight, bias, norm.eps), inplace=True))
    return x


def res_block(block: Any, shortcut: Any, held: list[Tensor]) -> Tensor:
    """x + conv2(silu(norm2(conv1(silu(norm1(x)))))) of the one x that is held, as a new tensor.

    shortcut: the convolution that brings x to the block's number of channels, or None where that is the same. A
    block with one is the first of its level, whose input nobody needs after it: x is then used up, because there,
    at twice the channels, is the worst moment for memory. A caller's own name for x would keep it alive until the
    end: that is why x is taken out of a list.
    """
    x = held.pop()
    if shortcut is None:
        y = norm_silu(block.norm1, x)
    else:
        y, x = x, shortcut(x)
        y = norm_silu_(block.norm1, y)
    y = block.conv1(y)
    y = norm_silu(block.norm2, y)
    result: Tensor = block.conv2(y).add_(x)
    return result


def upsample(block: Any, kernels: tuple[Tensor, ...] | None, x: Tensor) -> Tensor:
    """Pixels repeated twice, then the block's 3x3 convolution."""
    kernels = folding.unless_exported(kernels)
    if kernels is None:
        result: Tensor = block.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result
    return folding.nearest_conv(x, kernels, block.conv.bias)


def folded_upsamplers(blocks: list[Any], size: int) -> Folded:
    """Kernels for the upsampling layers of a decoder that ends at `size` px, given from its start to its end."""
    kernels: list[tuple[Tensor, ...] | None] = []
    for place, block in enumerate(blocks):
        side = size >> (len(blocks) - place)
        weight = block.conv.weight
        kernels.append(folding.folded_nearest(weight) if folding.is_worth_folding(weight, side, side) else None)
    return tuple(kernels)


def nearest_code(embedding: Tensor, z: Tensor) -> Tensor:
    """(n, c, h, w) of z's type: at each place the row of the codebook (codes, c) that is nearest to z (n, c, h, w).

    In float32: a squared distance is a difference of large numbers.
    """
    flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]).float()
    codes = embedding.float()
    distance = flat.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * (flat @ codes.t())
    return picture_of_codes(embedding, distance.argmin(1), z)


def picture_of_codes(embedding: Tensor, indices: Tensor, like: Tensor) -> Tensor:
    """(n, c, h, w), the shape of `like`: the codes at `indices` (n * h * w,)."""
    n, channels, height, width = like.shape
    codes = F.embedding(indices, embedding).view(n, height, width, channels).permute(0, 3, 1, 2)
    return codes.contiguous(memory_format=layout(codes.dtype))


def to_picture(x: Tensor) -> Tensor:
    """float32 0..1 of what a decoder gives in -1..1."""
    return x.float().add_(1.0).div_(2.0)


def from_picture(batch: Tensor) -> Tensor:
    """-1..1 of a batch in 0..1, as a new tensor in the layout that all others will have."""
    return batch.mul(2.0).sub_(1.0).contiguous(memory_format=layout(batch.dtype))
