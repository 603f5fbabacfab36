"""Resize in all its modes, Upsample before it, and GridSample.

What F.interpolate does the same way it does; everything else is one small matrix an axis, made from the formulas
of onnx.ai/onnx/operators/onnx__Resize.html.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Array, Call, has_no_data, numbers, operator

_INTERPOLATE = {
    ("linear", 1): "linear", ("linear", 2): "bilinear", ("linear", 3): "trilinear",
    ("nearest", 1): "nearest", ("nearest", 2): "nearest", ("nearest", 3): "nearest", ("cubic", 2): "bicubic",
}  # fmt: skip


@operator("Upsample", host=(1,))
def upsample(call: Call, x: Tensor, scales: Array | None = None) -> Tensor:
    scale_values = call.attributes["scales"] if scales is None else scales.reshape(-1)
    mode = str(call.number("mode", "nearest"))
    rules = Rules("linear" if mode.endswith("linear") else mode, "asymmetric", "floor")
    factors = tuple(float(factor) for factor in scale_values)
    return _resized(call, x, rules, factors, _sizes_of(x, factors))


@operator("Resize", host=(1, 2, 3), aliases=True)
def resize(
    call: Call,
    x: Tensor,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
) -> Tensor:
    if call.opset < 11:
        by = tuple(float(factor) for factor in (roi if roi is not None else np.ones(0)).reshape(-1))
        return _resized(call, x, Rules(call.number("mode", "nearest"), "asymmetric", "floor"), by, _sizes_of(x, by))
    coordinates = call.number("coordinate_transformation_mode", "half_pixel")
    factors = [] if scales is None else [float(s) for s in scales.reshape(-1)]
    wanted = numbers(sizes)
    axes = call.ints("axes")
    if axes is not None:
        at = {axis % x.dim(): k for k, axis in enumerate(axes)}
        factors = [factors[at[axis]] if axis in at else 1.0 for axis in range(x.dim())] if factors else []
        wanted = [wanted[at[axis]] if axis in at else x.shape[axis] for axis in range(x.dim())] if wanted else []
    if coordinates == "tf_crop_and_resize" or call.number("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refused("it crops or keeps the aspect ratio while it resizes")
    if wanted:
        factors = [new / old for new, old in zip(wanted, x.shape, strict=True)]
    rules = Rules(call.number("mode", "nearest"), coordinates, call.number("nearest_mode", "round_prefer_floor"))
    return _resized(call, x, rules, tuple(factors), tuple(wanted) or _sizes_of(x, factors))


@dataclass(frozen=True)
class Rules:
    """How a picture is resized, in ONNX's words.

    mode: nearest, linear or cubic. coordinates: where the output's elements lie in the input. nearest: how a place
    between two elements is rounded.
    """

    mode: str
    coordinates: str
    nearest: str


def _sizes_of(x: Tensor, factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True))


def _resized(call: Call, x: Tensor, rules: Rules, factors: tuple[float, ...], sizes: tuple[int, ...]) -> Tensor:
    changed = [axis for axis in range(x.dim()) if sizes[axis] != x.shape[axis] or factors[axis] != 1.0]
    if not changed:
        return x
    if min(changed) >= 2 and (plain := _as_torch_does(call, x, rules, factors, sizes)) is not None:
        return plain
    for axis in changed:
        x = _along_axis(call, x, axis, rules, factors[axis], sizes[axis])
    return x


def _as_torch_does(
    call: Call, x: Tensor, rules: Rules, factors: tuple[float, ...], sizes: tuple[int, ...]
) -> Tensor | None:
    """F.interpolate's result where it computes the same, else None. The first two axes keep their sizes."""
    coordinates, nearest = rules.coordinates, rules.nearest
    kind = _INTERPOLATE.get((rules.mode, x.dim() - 2))
    if kind is None or call.number("antialias", 0) or not x.is_floating_point():
        return None
    changed = [axis for axis in range(2, x.dim()) if sizes[axis] != x.shape[axis] or factors[axis] != 1.0]
    whole = all(factors[axis] == round(factors[axis]) >= 1 for axis in changed)
    if rules.mode == "nearest":
        floors = coordinates == "asymmetric" and nearest == "floor"
        # Enlarged by whole factors, every rule that rounds from a pixel's centre repeats pixels.
        repeats = whole and coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
        if not (floors and whole) and not (repeats and nearest.startswith("round")):
            return None
        return F.interpolate(x, size=sizes[2:], mode=kind)
    if call.number("exclude_outside", 0) or call.number("cubic_coeff_a", -0.75) != -0.75:
        return None
    if coordinates == "align_corners":
        return F.interpolate(x, size=sizes[2:], mode=kind, align_corners=True)
    # Where the factor and the sizes disagree, or only one pixel is left, the rules differ.
    exact = all(sizes[axis] == x.shape[axis] * factors[axis] and sizes[axis] > 1 for axis in changed)
    if coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and exact:
        return F.interpolate(x, size=sizes[2:], mode=kind, align_corners=False)
    return None


def _along_axis(call: Call, x: Tensor, axis: int, rules: Rules, factor: float, size: int) -> Tensor:
    old, is_nearest = x.shape[axis], rules.mode == "nearest"
    key = (axis, old, size, factor)
    if key not in call.cache and has_no_data(x.device):
        shape, dtype = ([size], torch.int64) if is_nearest else ([size, old], x.dtype)
        call.cache[key] = torch.empty(shape, dtype=dtype, device=x.device)
    elif key not in call.cache:
        places = _coordinates(call, rules.coordinates, old, size, factor)
        table = _nearest(places, rules.nearest, old) if is_nearest else _weights(call, places, rules.mode, old, factor)
        call.cache[key] = torch.from_numpy(table).to(x.device, torch.int64 if is_nearest else x.dtype)
    table = call.cache[key]
    if is_nearest:
        return x.index_select(axis, table)
    return torch.matmul(x.movedim(axis, -1), table.T).movedim(-1, axis)


def _coordinates(call: Call, rule: str, old: int, new: int, factor: float) -> Array:
    """Where in the input each element of the output lies."""
    # In float32, as onnxruntime has it: where two pixels are equally near, the last bit decides.
    places: Array = np.arange(new, dtype=np.float32)
    scale = np.float32(factor)
    if rule == "asymmetric":
        return np.asarray(places / scale)
    if rule == "align_corners":
        return np.asarray(places * np.float32(old - 1) / np.float32(max(new - 1, 1)))
    if rule == "tf_half_pixel_for_nn":
        return np.asarray((places + np.float32(0.5)) / scale)
    if rule == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    if rule == "half_pixel_symmetric":
        middle = old / 2 * (1 - new / (factor * old))
        return np.asarray(middle + (places + np.float32(0.5)) / scale - 0.5)
    if rule in ("half_pixel", "pytorch_half_pixel"):
        return np.asarray((places + np.float32(0.5)) / scale - np.float32(0.5))
    raise call.refused(f"its coordinates follow {rule}, which is not supported")


def _nearest(places: Array, rule: str, old: int) -> Array:
    rounded = {
        "floor": np.floor(places),
        "ceil": np.ceil(places),
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
    }[rule]
    return np.clip(rounded, 0, old - 1).astype(np.int64)


def _weights(call: Call, places: Array, mode: str, old: int, factor: float) -> Array:
    """(new, old): how much of each input element is in each output element."""
    shrink = min(factor, 1.0) if call.number("antialias", 0) else 1.0
    reach = math.ceil((2 if mode == "cubic" else 1) / shrink)
    taps = np.floor(places)[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(taps - places[:, None]) * shrink
    if mode == "cubic":
        weight = _cubic(distance, call.number("cubic_coeff_a", -0.75))
    else:
        weight = np.clip(1 - distance, 0, None)
    outside = (taps < 0) | (taps >= old)
    if call.number("exclude_outside", 0):
        weight = np.where(outside, 0.0, weight)
    if mode == "cubic" or shrink < 1.0:  # linear weights of two neighbours sum to one as they are
        weight = weight / weight.sum(1, keepdims=True)
    table = np.zeros((len(places), old))
    np.add.at(table, (np.arange(len(places))[:, None], np.clip(taps, 0, old - 1).astype(np.int64)), weight)
    return table.astype(np.float32)


def _cubic(distance: Array, a: float) -> Array:
    """Keys, Cubic convolution interpolation for digital image processing, 1981."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


@operator("GridSample")
def grid_sample(call: Call, x: Tensor, grid: Tensor) -> Tensor:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    mode = call.number("mode", "linear")
    padding, aligned = call.number("padding_mode", "zeros"), bool(call.number("align_corners", 0))
    return F.grid_sample(x, grid, names.get(mode, mode), padding, aligned)


@operator("AffineGrid", host=(1,))
def affine_grid(call: Call, theta: Tensor, size: Any) -> Tensor:
    return F.affine_grid(theta, numbers(size), bool(call.number("align_corners", 0)))
