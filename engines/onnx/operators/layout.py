"""Operators that move elements and compute nothing."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Array, Call, numbers, operator

_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Reshape", host=(1,), aliases=True)
def reshape(call: Call, x: Tensor, shape: Array | None = None) -> Tensor:
    wanted = list(call.attributes["shape"]) if shape is None else numbers(shape)
    if not call.number("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


@operator("Flatten", aliases=True)
def flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.number("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, x.numel() // rows if rows else 0)


@operator("Transpose", aliases=True)
def transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.ints("perm") or tuple(reversed(range(x.dim()))))


def axes_of(call: Call, axes: Array | None, name: str = "axes") -> list[int] | None:
    """Axes from the input that newer operator sets have, else from the attribute that older ones have."""
    if axes is not None:
        return numbers(axes)
    lengths = call.ints(name)
    return None if lengths is None else list(lengths)


@operator("Squeeze", host=(1,), aliases=True)
def squeeze(call: Call, x: Tensor, axes: Array | None = None) -> Tensor:
    chosen = axes_of(call, axes)
    if chosen is None:
        return x.squeeze()
    gone = {axis % x.dim() for axis in chosen}
    if any(x.shape[axis] != 1 for axis in gone):
        raise call.refused(f"axes {sorted(gone)} of shape {list(x.shape)} are not all of size 1")
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in gone])


@operator("Unsqueeze", host=(1,), aliases=True)
def unsqueeze(call: Call, x: Tensor, axes: Array | None = None) -> Tensor:
    chosen = axes_of(call, axes) or []
    for axis in sorted(axis % (x.dim() + len(chosen)) for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Expand", host=(1,), aliases=True)
def expand(call: Call, x: Tensor, shape: Array) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, numbers(shape)))


@operator("Tile", host=(1,))
def tile(call: Call, x: Tensor, repeats: Array) -> Tensor:
    return x.repeat(numbers(repeats))


@operator("Concat")
def concat(call: Call, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, call.number("axis", 1))


@operator("Split", host=(1,), aliases=True)
def split(call: Call, x: Tensor, sizes: Array | None = None) -> Any:
    axis = call.number("axis", 0)
    lengths = axes_of(call, sizes, "split")
    if lengths is None:
        count = call.number("num_outputs", call.outputs)
        part = -(-x.shape[axis] // count)
        lengths = [part] * (count - 1) + [x.shape[axis] - part * (count - 1)]
    parts = x.split(lengths, axis)
    return parts[0] if call.outputs == 1 else parts


@operator("Slice", host=(1, 2, 3, 4), aliases=True)
def slice_(
    call: Call,
    x: Tensor,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Tensor:
    begin, end = axes_of(call, starts, "starts") or [], axes_of(call, ends, "ends") or []
    chosen = axes_of(call, axes) or list(range(len(begin)))
    strides = numbers(steps) or [1] * len(begin)
    for axis, first, last, step in zip(chosen, begin, end, strides, strict=True):
        places = range(x.shape[axis])[slice(first, last, step)]
        if step > 0:
            x = x.narrow(axis, places.start, len(places)) if step == 1 else _strided(x, axis, places)
        else:
            x = _strided(x, axis, places[::-1]).flip(axis)
    return x


def _strided(x: Tensor, axis: int, places: range) -> Tensor:
    index: list[Any] = [slice(None)] * x.dim()
    index[axis] = slice(places.start, places.stop, places.step)
    return x[tuple(index)]


@operator("Pad", host=(1, 2, 3), aliases=True)
def pad(
    call: Call, x: Tensor, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
) -> Tensor:
    amounts = axes_of(call, pads, "pads") or axes_of(call, None, "paddings") or []
    filler = call.number("value", 0.0) if value is None or not value.size else value.reshape(-1)[0].item()
    chosen = [axis % x.dim() for axis in axes_of(call, axes) or range(x.dim())]
    count = len(chosen)
    around = {axis: (amounts[k], amounts[k + count]) for k, axis in enumerate(chosen)}
    flat = [amount for axis in reversed(range(x.dim())) for amount in around.get(axis, (0, 0))]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    mode = call.number("mode", "constant")
    if mode == "constant":
        return F.pad(x, flat, value=filler) if any(flat) else x
    return _padded_by_content(call, x, flat, mode)


def _padded_by_content(call: Call, x: Tensor, flat: list[int], mode: str) -> Tensor:
    """F.pad wants all axes but the first two named, and no more."""
    if mode not in _PAD_MODES:
        raise call.refused(f"its mode {mode} is not supported")
    axes = len(flat) // 2
    if axes > 3 or any(amount < 0 for amount in flat):
        raise call.refused(f"it pads {axes} axes by {mode}")
    shape = x.shape
    inner = shape[x.dim() - axes :]
    grown = F.pad(x.reshape(1, -1, *inner), flat, mode=_PAD_MODES[mode])
    return grown.reshape(*shape[: x.dim() - axes], *grown.shape[2:])


@operator("DepthToSpace")
def depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    block = call.attributes["blocksize"]
    if call.number("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    parts = x.reshape(n, block, block, channels // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, height * block, width * block)


@operator("SpaceToDepth")
def space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    block = call.attributes["blocksize"]
    parts = x.reshape(n, channels, height // block, block, width // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * block**2, height // block, width // block)


@operator("Trilu", host=(1,))
def trilu(call: Call, x: Tensor, diagonal: Array | None = None) -> Tensor:
    shift = numbers(diagonal)[0] if diagonal is not None else 0
    return x.triu(shift) if call.number("upper", 1) else x.tril(shift)
