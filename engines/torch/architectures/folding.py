"""Upsampling by two and a 3x3 convolution in one step, at the small size.

Each of the four pixels that an upsampled pixel becomes sees a small window of the picture before upsampling, so
"enlarge, then convolve" is four convolutions of the small picture with kernels that are sums of the given one:
the enlarged picture, the largest tensor of a decoder, never exists. For nearest neighbours the four kernels are
2x2 and save 5/9 of the work; for bilinear ones they are 3x3, and what is saved is the interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Kernels = TypeVar("Kernels", Tensor, tuple[Tensor, ...])

# [phase][tap of the small picture, -1 0 +1][tap of the kernel]: which share of a kernel's tap falls on a pixel.
_BILINEAR = (
    ((0.75, 0.25, 0.0), (0.25, 0.75, 0.75), (0.0, 0.0, 0.25)),
    ((0.25, 0.0, 0.0), (0.75, 0.75, 0.25), (0.0, 0.25, 0.75)),
)
# [phase][tap of the small picture, two of them][tap of the kernel]
_NEAREST = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)),
    ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


def is_worth_folding(weight: Tensor, height: int, width: int) -> bool:
    """Whether the folded kernels of a weight (O, I, 3, 3) are few beside the enlarged picture that they replace.

    height, width: of the small picture. Where pictures are small and channels many, the kernels would cost more.
    """
    kernels, enlarged = 4 * weight.numel(), 4 * height * width * weight.shape[1]
    return 4 * kernels <= enlarged


def unless_exported(kernels: Kernels | None) -> Kernels | None:
    """The kernels, or None while the network is exported: a file has no strided writes, only copies of the whole."""
    return None if torch.compiler.is_exporting() else kernels


def _folded(weight: Tensor, shares: tuple[tuple[tuple[float, ...], ...], ...]) -> Tensor:
    """(row phase, column phase, O, I, taps, taps) of a weight (O, I, 3, 3); summed in float32."""
    table = torch.tensor(shares, device=weight.device)
    rows = torch.einsum("atk,oikl->aoitl", table, weight.float())
    return torch.einsum("bsl,aoitl->aboits", table, rows).to(weight.dtype)


def folded_bilinear(weight: Tensor) -> Tensor:
    """(2, 2 * O, I, 3, 3): for each row phase, the kernels of both column phases, phase by phase."""
    phases = _folded(weight, _BILINEAR)
    return phases.flatten(1, 2).contiguous()


def folded_nearest(weight: Tensor) -> tuple[Tensor, ...]:
    """Four kernels (O, I, 2, 2), row phase first."""
    return tuple(kernel.contiguous() for row in _folded(weight, _NEAREST) for kernel in row)


@dataclass(frozen=True)
class Border:
    """The two outermost lines at each side of the enlarged, convolved picture: where zeros meet interpolation.

    rows: (n, O, 4, 2 * W), columns: (n, O, 2 * H, 4); first two, last two.
    """

    rows: Tensor
    columns: Tensor


def border(x: Tensor, weight: Tensor, bias: Tensor) -> Border:
    """Of x (n, I, H, W) enlarged bilinearly and convolved with weight (O, I, 3, 3); from strips of both ends."""
    return Border(_ends(x, weight, bias, 2), _ends(x, weight, bias, 3))


def _ends(x: Tensor, weight: Tensor, bias: Tensor, axis: int) -> Tensor:
    first = _enlarged(x.narrow(axis, 0, 2)).narrow(axis, 0, 3)
    last = _enlarged(x.narrow(axis, x.shape[axis] - 2, 2)).narrow(axis, 1, 3)
    zeros = torch.zeros_like(first.narrow(axis, 0, 1))
    strip = torch.cat([zeros, first, last, zeros], axis)
    lines = F.conv2d(strip, weight, bias, padding=(0, 1) if axis == 2 else (1, 0))
    return torch.cat([lines.narrow(axis, 0, 2), lines.narrow(axis, 4, 2)], axis)


def phase_rows(x: Tensor, folded: Tensor, bias: Tensor, edges: Border, phase: int) -> Tensor:
    """Every second row, from `phase` on, of the 3x3 convolution of `x` enlarged bilinearly.

    x: (n, I, H, W). folded: (2 * O, I, 3, 3), the row phase of `folded_bilinear`. bias: (2 * O,), the given one
    twice. Returns (n, O, H, W, 2), the last axis the column phase: a view in which rows are complete.
    """
    n, _, height, width = x.shape
    both = F.conv2d(x, folded, bias, padding=1)
    result = both.view(n, 2, -1, height, width).permute(0, 2, 3, 4, 1)
    result[:, :, :: height - 1].copy_(edges.rows[:, :, phase::2].unflatten(3, (width, 2)))
    result[:, :, :, :: width - 1].copy_(edges.columns[:, :, phase::2].unflatten(3, (2, 2)))
    return result


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def every_second_row(picture: Tensor, phase: int) -> Tensor:
    """(n, C, H, W, 2) as `phase_rows` gives it, of a picture (n, C, 2 * H, 2 * W): a view."""
    n, channels, height, width = picture.shape
    return picture.view(n, channels, height // 2, 2, width // 2, 2)[:, :, :, phase]


def nearest_conv(x: Tensor, kernels: tuple[Tensor, ...], bias: Tensor) -> Tensor:
    """The 3x3 convolution, padded by one, of `x` enlarged by repeating pixels.

    x: (n, I, H, W). kernels: `folded_nearest`. Returns (n, O, 2 * H, 2 * W), laid out like x.
    """
    n, _, height, width = x.shape
    result = x.new_empty((n, len(bias), 2 * height, 2 * width))
    if x.is_contiguous(memory_format=torch.channels_last):
        result = result.contiguous(memory_format=torch.channels_last)
    for index, kernel in enumerate(kernels):
        row, column = divmod(index, 2)
        part = F.conv2d(x, kernel, bias, padding=1)
        result[:, :, row::2, column::2].copy_(part[:, :, row : row + height, column : column + width])
    return result
