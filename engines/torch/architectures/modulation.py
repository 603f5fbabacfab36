"""StyleGAN2's modulated convolution (Karras et al., CVPR 2020, appendix B), safe in half precision.

The paper scales a weight by its style and divides by the norm of what results: squares of small or large numbers,
which half precision cannot hold. Here a style is divided by its largest member, the norm comes from a constant
matrix of the weight's squares, and both are float32. They then go where there are fewer numbers: into the pictures
where pictures are small (one convolution for the batch), into the weight where the weight is (one a sample).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import folding

SLOPE = 0.2  # of StyleGAN2's leaky rectifier
GAIN = 2**0.5  # which brings its output back to unit size


@dataclass(frozen=True)
class StyledConv:
    """The constants of one styled convolution: modulation, 3x3 convolution, noise, bias and rectifier.

    style: latent -> one factor an input channel. weight: (O, I, 3, 3). squares: (I, O) float32, the weight's squares
    summed over the kernel. noise: (1, 1, h, w) of the output's size, times its strength. bias: (O,); (2 * O,) where
    folded. folded: see folding.py, of a layer that enlarges and is large enough. by_sample: scales the weight.
    """

    style: Any
    weight: Tensor
    squares: Tensor
    noise: Tensor
    bias: Tensor
    eps: float
    enlarges: bool
    folded: Tensor | None
    by_sample: bool


def styled_constants(layer: Any, noise: Tensor) -> StyledConv:
    """Of a StyleConv module and the (1, 1, h, w) buffer of its noise."""
    conv = layer.modulated_conv
    weight = conv.weight[0]
    enlarges = conv.sample_mode == "upsample"
    height, width = noise.shape[2] // (1 + enlarges), noise.shape[3] // (1 + enlarges)
    folds = enlarges and folding.is_worth_folding(weight, height, width)
    bias = layer.bias.flatten()
    return StyledConv(
        conv.modulation,
        weight,
        weight.float().square().sum((2, 3)).t().contiguous(),
        noise * layer.weight,
        bias.repeat(2) if folds else bias,
        conv.eps,
        enlarges,
        folding.folded_bilinear(weight) if folds else None,
        folds or (not enlarges and weight.numel() < weight.shape[1] * height * width),
    )


def styled_conv(layer: StyledConv, x: Tensor, latent: Tensor) -> Tensor:
    """(n, O, h, w) of x (n, I, h, w) or half that size, channels last; `x` is used up. latent: (n, features)."""
    style = layer.style(latent).float()
    largest = style.abs().amax(1, keepdim=True).clamp_min_(1e-12)
    style = style / largest
    gain = torch.rsqrt(style.square() @ layer.squares + layer.eps / largest.square()).mul_(GAIN)
    # A file is better off with constant weights, and would hold a loop over the samples.
    convolve = _by_sample if layer.by_sample and not torch.compiler.is_exporting() else _by_batch
    y = convolve(layer, x, style, gain)
    return F.leaky_relu_(y, SLOPE)


def _by_batch(layer: StyledConv, x: Tensor, style: Tensor, gain: Tensor) -> Tensor:
    x.mul_(style.to(x.dtype)[:, :, None, None])
    if layer.enlarges:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    y = F.conv2d(x, layer.weight, padding=1)
    y.mul_(gain.to(x.dtype)[:, :, None, None])
    return y.add_(layer.noise).add_(layer.bias[: len(layer.weight), None, None])


def _by_sample(layer: StyledConv, x: Tensor, style: Tensor, gain: Tensor) -> Tensor:
    y = x
    if layer.folded is not None:
        size = (x.shape[0], len(gain[0]), *layer.noise.shape[2:])
        y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    for index in range(x.shape[0]):
        factors = gain[index, :, None] * style[index]
        weight = _scaled(layer.weight, factors)
        part = slice(index, index + 1)
        if layer.folded is None:
            torch.add(F.conv2d(x[part], weight, layer.bias, padding=1), layer.noise, out=y[part])
            continue
        edges = folding.border(x[part], weight, layer.bias[: len(weight)])
        for phase in (0, 1):
            folded = _scaled(layer.folded[phase], factors.repeat(2, 1))
            noise, rows = (folding.every_second_row(plane, phase) for plane in (layer.noise, y[part]))
            torch.add(folding.phase_rows(x[part], folded, layer.bias, edges, phase), noise, out=rows)
    return y


def _scaled(weight: Tensor, factors: Tensor) -> Tensor:
    """A weight (O, I, k, k) times float32 factors (O, I), in the weight's type: no half precision in between."""
    return (weight * factors[:, :, None, None]).to(weight.dtype)


@dataclass(frozen=True)
class ToRgb:
    """The constants of a layer that reads a picture off the features. weight: (3, I), bias: (3,)."""

    style: Any
    weight: Tensor
    bias: Tensor


def rgb_constants(layer: Any) -> ToRgb:
    """Of a ToRGB module."""
    return ToRgb(layer.modulated_conv.modulation, layer.modulated_conv.weight[0, :, :, 0, 0], layer.bias.flatten())


def to_rgb(layer: ToRgb, x: Tensor, latent: Tensor, picture: Tensor | None) -> Tensor:
    """(n, 3, h, w) float32: `picture` of half that size, enlarged, plus what the features x (n, I, h, w) add.

    The picture is summed over all levels, so it is kept in float32 whatever the features are in.
    """
    factors = layer.style(latent).float()[:, None] * layer.weight
    weights = factors[..., None, None].to(x.dtype)
    added = torch.cat([F.conv2d(x[i : i + 1], weight, layer.bias) for i, weight in enumerate(weights)]).float()
    if picture is None:
        return added
    return F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False).add_(added)
