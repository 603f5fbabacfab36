"""Convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Call, operator

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _table(call: Call, table: dict[int, Any], dimensions: int) -> Any:
    if dimensions not in table:
        raise call.refused(f"it works on {dimensions} dimensions")
    return table[dimensions]


def _ones(call: Call, name: str, count: int) -> tuple[int, ...]:
    return call.ints(name) or (1,) * count


def _pads(call: Call, size: torch.Size, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after each axis, from numbers or from the rule that auto_pad names."""
    count = len(kernel)
    rule = call.number("auto_pad", "NOTSET")
    if rule in ("NOTSET", "VALID"):
        pads = (call.ints("pads") if rule == "NOTSET" else None) or (0,) * (2 * count)
        return tuple(pads[:count]), tuple(pads[count:])
    strides, dilations = _ones(call, "strides", count), _ones(call, "dilations", count)
    before, after = [], []
    for length, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        whole = max(0, (-(-length // stride) - 1) * stride + reach - length)
        less = whole // 2
        before.append(less if rule == "SAME_UPPER" else whole - less)
        after.append(whole - less if rule == "SAME_UPPER" else less)
    return tuple(before), tuple(after)


def _interleaved(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """As F.pad wants them: last axis first."""
    return [value for pair in zip(reversed(before), reversed(after), strict=True) for value in pair]


@operator("Conv")
def convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = x.dim() - 2
    run = _table(call, _CONVOLUTIONS, count)
    before, after = _pads(call, x.shape[2:], tuple(weight.shape[2:]))
    if before != after:
        x, before = F.pad(x, _interleaved(before, after)), (0,) * count
    strides, dilations = _ones(call, "strides", count), _ones(call, "dilations", count)
    result: Tensor = run(x, weight, bias, strides, before, dilations, call.number("group", 1))
    return result


@operator("ConvTranspose")
def transposed_convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = x.dim() - 2
    run = _table(call, _TRANSPOSED, count)
    strides, dilations = _ones(call, "strides", count), _ones(call, "dilations", count)
    extra = call.ints("output_padding") or (0,) * count
    wanted = call.ints("output_shape")
    rule = call.number("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = tuple(length * stride for length, stride in zip(x.shape[2:], strides, strict=True))
    if wanted is None:
        before, after = _pads(call, x.shape[2:], tuple(weight.shape[2:]))
    else:
        excess = [
            strides[axis] * (x.shape[2 + axis] - 1)
            + extra[axis]
            + (weight.shape[2 + axis] - 1) * dilations[axis]
            + 1
            - size
            for axis, size in enumerate(wanted[-count:])
        ]
        before, after = _halves(excess, rule == "SAME_UPPER")
    group = call.number("group", 1)
    if before == after and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        result: Tensor = run(x, weight, bias, strides, before, extra, group, dilations)
        return result
    # Padding takes away from a transposed convolution, and what is added lies behind its end.
    whole = run(x, weight, None, strides, (0,) * count, (0,) * count, group, dilations)
    ends = [e - b for e, b in zip(extra, after, strict=True)]
    whole = F.pad(whole, _interleaved(tuple(-b for b in before), tuple(ends)))
    return whole if bias is None else whole.add_(bias.reshape((1, -1) + (1,) * count))


def _halves(excess: Sequence[int], upper: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is cut off before and behind each axis. upper: of an odd number more is cut off behind."""
    smaller = tuple(size // 2 for size in excess)
    larger = tuple(size - half for size, half in zip(excess, smaller, strict=True))
    return (smaller, larger) if upper else (larger, smaller)


@operator("MaxPool")
def max_pool(call: Call, x: Tensor) -> Any:
    kernel = call.attributes["kernel_shape"]
    run = _table(call, _MAX_POOLS, len(kernel))
    strides, dilations = _ones(call, "strides", len(kernel)), _ones(call, "dilations", len(kernel))
    before, after = _pads(call, x.shape[2:], kernel)
    up = bool(call.number("ceil_mode", 0))
    if call.outputs > 1:
        raise call.refused("its second output, the places of the maxima, is asked for")
    if before != after or any(2 * p > k for p, k in zip(before, kernel, strict=True)):
        x = F.pad(x, _interleaved(before, after), value=float("-inf"))
        before = (0,) * len(kernel)
    return run(x, kernel, strides, before, dilations, up)


@operator("AveragePool")
def average_pool(call: Call, x: Tensor) -> Tensor:
    kernel = call.attributes["kernel_shape"]
    run = _table(call, _AVERAGE_POOLS, len(kernel))
    strides = _ones(call, "strides", len(kernel))
    before, after = _pads(call, x.shape[2:], kernel)
    up, with_padding = bool(call.number("ceil_mode", 0)), bool(call.number("count_include_pad", 0))
    if any(d != 1 for d in _ones(call, "dilations", len(kernel))):
        raise call.refused("it is dilated")
    result: Tensor
    if before == after:
        result = run(x, kernel, strides, before, up, with_padding)
        return result
    padded = F.pad(x, _interleaved(before, after))
    result = run(padded, kernel, strides, 0, up)
    if with_padding:
        return result
    inside = F.pad(torch.ones_like(x[:1, :1]), _interleaved(before, after))
    result = result / run(inside, kernel, strides, 0, up)
    return result


@operator("GlobalAveragePool")
def global_average_pool(call: Call, x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(call: Call, x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)
