"""GFPGAN, clean version (Wang et al., CVPR 2021), on spandrel's module: fixed 512 px faces, -1..1 inside.

spandrel runs the U-Net to its end, keeps what it found at every level, then runs the generator. Here the two take
turns level by level, so that nothing is kept, and every step that can is done in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import folding
from .modulation import StyledConv, ToRgb, rgb_constants, styled_constants, styled_conv, to_rgb

ARCHITECTURE = "GFPGAN"
SLOPE = 0.2


@dataclass(frozen=True)
class Level:
    """What one level of the decoders needs: an up block of the U-Net and two styled convolutions.

    folded, bias: of the block's second convolution, where it is large enough to fold.
    """

    block: Any
    scale: Any
    shift: Any
    folded: Tensor | None
    bias: Tensor
    first: StyledConv
    second: StyledConv
    rgb: ToRgb


@dataclass(frozen=True)
class Prepared:
    """linear: the weight of the layer that makes the latents, transposed."""

    module: Any
    linear: Tensor
    start: StyledConv
    start_rgb: ToRgb
    levels: tuple[Level, ...]


@torch.no_grad()
def prepare(module: Any, device: torch.device, dtype: torch.dtype) -> Prepared:
    """The module's constants, worked out once; its weights stay where they are."""
    generator = module.stylegan_decoder
    noises = [getattr(generator.noises, f"noise{i}") for i in range(generator.num_layers)]
    levels = []
    for i, block in enumerate(module.conv_body_up):
        first, second = noises[2 * i + 1 : 2 * i + 3]
        height, width = first.shape[2] // 2, first.shape[3] // 2
        folds = folding.is_worth_folding(block.conv2.weight, height, width)
        levels.append(
            Level(
                block,
                module.condition_scale[i],
                module.condition_shift[i],
                folding.folded_bilinear(block.conv2.weight) if folds else None,
                block.conv2.bias.repeat(2),
                styled_constants(generator.style_convs[2 * i], first),
                styled_constants(generator.style_convs[2 * i + 1], second),
                rgb_constants(generator.to_rgbs[i]),
            )
        )
    start = styled_constants(generator.style_conv1, noises[0])
    linear = module.final_linear.weight.t()
    return Prepared(module, linear, start, rgb_constants(generator.to_rgb1), tuple(levels))


def forward(prepared: Prepared, batch: Tensor, fidelity: float) -> Tensor:
    """(n, 3, 512, 512) in 0..1 RGB, float32 of the same size out. It has no fidelity control.

    Its noise inputs are fixed (spandrel's randomize_noise=False), so that one picture always gives one result.
    """
    module = prepared.module
    features, skips = _encoded(module, batch)
    latents = _latents(module, prepared.linear, features)
    generator = module.stylegan_decoder
    constant = generator.constant_input(len(batch)).contiguous(memory_format=torch.channels_last)
    out = styled_conv(prepared.start, constant, latents[0])
    picture = to_rgb(prepared.start_rgb, out, latents[1], None)
    for i, level in enumerate(prepared.levels):
        features.add_(skips.pop())
        out = styled_conv(level.first, out, latents[2 * i + 1])
        features = _up_block(level, features)
        start = out.shape[1] // 2 if generator.sft_half else 0
        out = _conditioned(level, out, features, start)
        if i == len(prepared.levels) - 1:
            del features
        out = styled_conv(level.second, out, latents[2 * i + 2])
        picture = to_rgb(level.rgb, out, latents[2 * i + 3], picture)
    return picture.add_(1.0).div_(2.0)


def _conditioned(level: Level, out: Tensor, features: Tensor, start: int) -> Tensor:
    """`out`, its channels from `start` on times a scale and plus a shift that the features give (SFT)."""
    if torch.compiler.is_exporting():
        changed = out[:, start:] * level.scale(features) + level.shift(features)
        return torch.cat([out[:, :start], changed], 1) if start else changed
    out[:, start:].mul_(level.scale(features))
    out[:, start:].add_(level.shift(features))
    return out


def _encoded(module: Any, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The smallest features, rectified, and those of every level for the way back, smallest last."""
    features = batch.mul(2.0).sub_(1.0).contiguous(memory_format=torch.channels_last)
    features = F.leaky_relu_(module.conv_body_first(features), SLOPE)
    skips = []
    for block in module.conv_body_down:
        features = _down_block(block, features)
        skips.append(features)
    return F.leaky_relu_(module.final_conv(features), SLOPE), skips


def _latents(module: Any, linear: Tensor, features: Tensor) -> list[Tensor]:
    """One (n, features) a layer of the generator."""
    count = module.stylegan_decoder.num_latent
    code = torch.addmm(module.final_linear.bias, features.flatten(1), linear)
    if module.different_w:
        code = code.view(len(code), count, module.num_style_feat)
    else:
        code = code[:, None].expand(-1, count, -1)
    if not module.input_is_latent:
        return [module.stylegan_decoder.style_mlp(part) for part in code.unbind(1)]
    return list(code.unbind(1))


def _down_block(block: Any, x: Tensor) -> Tensor:
    """Bilinear interpolation to half the size is the mean of four pixels."""
    y = F.avg_pool2d(F.leaky_relu_(block.conv1(x), SLOPE), 2)
    y = F.leaky_relu_(block.conv2(y), SLOPE)
    return y.add_(block.skip(F.avg_pool2d(x, 2)))


def _up_block(level: Level, x: Tensor) -> Tensor:
    """The skip is a 1x1 convolution without bias: it may come before the interpolation, on a quarter of the pixels."""
    block = level.block
    y = F.leaky_relu_(block.conv1(x), SLOPE)
    result = F.interpolate(block.skip(x), scale_factor=2, mode="bilinear", align_corners=False)
    folded = folding.unless_exported(level.folded)
    if folded is None:
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return result.add_(F.leaky_relu_(block.conv2(y), SLOPE))
    edges = folding.border(y, block.conv2.weight, block.conv2.bias)
    for phase in (0, 1):
        rows = folding.every_second_row(result, phase)
        added = folding.phase_rows(y, folded[phase], level.bias, edges, phase)
        rows.add_(F.leaky_relu_(added, SLOPE))
        del added
    return result
