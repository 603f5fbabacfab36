"""Weights in few bits: codes around 0 and a scale for every group of them, chosen for the least squared error."""

from __future__ import annotations

import torch
from torch import Tensor

from ...engines.torch.architectures.slim_embedder import MIDDLE

TRIED = tuple(1 - 0.04 * step for step in range(1, 16))  # scales, as shares of what the largest weight would need
GROUPS = (72, 64, 49, 1)  # weights of a group, the first that divides a row


def packed(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Codes and scales (n, groups) float16 of a weight (n, ...), as `slim_embedder.weight` takes them.

    bits: 4 or 8. What the scales leave over is lost.
    """
    rows = weight.detach().reshape(len(weight), -1)
    group = next(size for size in GROUPS if rows.shape[1] % size == 0)
    values = rows.reshape(len(rows), -1, group)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest = values.abs().amax(-1).clamp_min(1e-6) / most
    best_scales, best_codes = largest.half(), (values / largest.half().float()[..., None]).round().clamp(least, most)
    best_error = (best_codes * best_scales.float()[..., None] - values).pow(2).sum(-1)
    for share in TRIED if bits < 8 else ():
        scales = (largest * share).half()
        codes = (values / scales.float()[..., None]).round().clamp(least, most)
        error = (codes * scales.float()[..., None] - values).pow(2).sum(-1)
        better = error < best_error
        best_codes = torch.where(better[..., None], codes, best_codes)
        best_scales = torch.where(better, scales, best_scales)
        best_error = torch.where(better, error, best_error)
    codes = best_codes.reshape(rows.shape)
    if bits == 8:
        return codes.to(torch.int8), best_scales
    halves = (codes + MIDDLE).to(torch.uint8).reshape(len(codes), -1, 2)
    return halves[..., 0] | halves[..., 1] << 4, best_scales
