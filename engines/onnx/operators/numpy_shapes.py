"""The operators that exporters compute sizes, axes and indices with, on numpy arrays.

They follow ONNX's types, which are numpy's but for a few: whole numbers divide towards zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .layout import axes_of
from .registry import Array, Call, host_operator, numbers

_NUMPY_TYPES: dict[int, Any] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float32, 11: np.float64, 12: np.uint32, 13: np.uint64, 16: np.float32,
}  # fmt: skip


def _check_broadcast(call: Call, *arrays: Array) -> None:
    call.check_table(np.broadcast_shapes(*(array.shape for array in arrays)))


def _simple(name: str, function: Callable[..., Any]) -> None:
    def run(call: Call, *arrays: Array) -> Array:
        _check_broadcast(call, *arrays)
        return np.asarray(function(*arrays))

    host_operator(name)(run)


_simple("Add", np.add)
_simple("Sub", np.subtract)
_simple("Mul", np.multiply)
_simple("Neg", np.negative)
_simple("Abs", np.abs)
_simple("Sign", np.sign)
_simple("Sqrt", np.sqrt)
_simple("Exp", np.exp)
_simple("Log", np.log)
_simple("Floor", np.floor)
_simple("Ceil", np.ceil)
_simple("Round", np.round)
_simple("Equal", np.equal)
_simple("Greater", np.greater)
_simple("GreaterOrEqual", np.greater_equal)
_simple("Less", np.less)
_simple("LessOrEqual", np.less_equal)
_simple("And", np.logical_and)
_simple("Or", np.logical_or)
_simple("Not", np.logical_not)
_simple("Where", np.where)
_simple("Max", lambda *arrays: np.maximum.reduce(np.broadcast_arrays(*arrays)))
_simple("Min", lambda *arrays: np.minimum.reduce(np.broadcast_arrays(*arrays)))
_simple("Identity", lambda x: x)
_simple("Size", np.size)
_simple("Reciprocal", lambda x: 1 / x)


@host_operator("NonZero")
def non_zero(call: Call, x: Array) -> Array:
    call.check_table([x.ndim, x.size])
    return np.stack(np.nonzero(x))


@host_operator("Pow")
def power(call: Call, x: Array, exponent: Array) -> Array:
    _check_broadcast(call, x, exponent)
    return np.asarray(np.power(x, exponent)).astype(x.dtype)


@host_operator("Div")
def divide(call: Call, a: Array, b: Array) -> Array:
    _check_broadcast(call, a, b)
    if np.issubdtype(a.dtype, np.floating):
        return np.asarray(a / b)
    if not np.all(b):
        raise call.refused("it divides by zero")
    return np.asarray(np.fix(a / b) if np.abs(a).max(initial=0) < 1 << 52 else a // b).astype(a.dtype)


@host_operator("Mod")
def mod(call: Call, a: Array, b: Array) -> Array:
    _check_broadcast(call, a, b)
    if not np.all(b):
        raise call.refused("it divides by zero")
    return np.asarray(np.fmod(a, b) if call.number("fmod", 0) else np.mod(a, b))


@host_operator("Clip")
def clip(call: Call, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if low is None and high is None:
        return x
    _check_broadcast(call, *(array for array in (x, low, high) if array is not None))
    return np.asarray(np.clip(x, low, high)).astype(x.dtype)


@host_operator("Cast")
def cast(call: Call, x: Array) -> Array:
    dtype = _NUMPY_TYPES.get(call.attributes["to"])
    if dtype is None:
        raise call.refused(f"its type {call.attributes['to']} is not supported")
    return x.astype(dtype)


@host_operator("ConstantOfShape")
def constant_of_shape(call: Call, shape: Array) -> Array:
    filler = call.number("value", np.zeros(1, np.float32))
    return np.full(call.check_table(numbers(shape)), filler.reshape(-1)[0])


@host_operator("Range")
def range_(call: Call, start: Array, limit: Array, step: Array) -> Array:
    if not np.all(step):
        raise call.refused("its step is zero")
    first, last, by = start.reshape(-1)[0], limit.reshape(-1)[0], step.reshape(-1)[0]
    call.check_table([max(0, math.ceil((float(last) - float(first)) / float(by)))])
    return np.arange(first, last, by, dtype=start.dtype)


@host_operator("Reshape")
def reshape(call: Call, x: Array, shape: Array | None = None) -> Array:
    wanted = list(call.attributes["shape"]) if shape is None else numbers(shape)
    if not call.number("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


@host_operator("Squeeze")
def squeeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    chosen = axes_of(call, axes)
    return np.squeeze(x, None if chosen is None else tuple(chosen))


@host_operator("Unsqueeze")
def unsqueeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(axes_of(call, axes) or []))


@host_operator("Transpose")
def transpose(call: Call, x: Array) -> Array:
    return np.transpose(x, call.ints("perm"))


@host_operator("Concat")
def concat(call: Call, *arrays: Array) -> Array:
    call.check_table([sum(array.size for array in arrays)])
    return np.concatenate(arrays, call.number("axis", 1))


@host_operator("Expand")
def expand(call: Call, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, call.check_table(np.broadcast_shapes(x.shape, tuple(numbers(shape)))))


@host_operator("Tile")
def tile(call: Call, x: Array, repeats: Array) -> Array:
    call.check_table([size * count for size, count in zip(x.shape, numbers(repeats), strict=True)])
    return np.tile(x, numbers(repeats))


@host_operator("Slice")
def slice_(
    call: Call,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    begin, end = axes_of(call, starts, "starts") or [], axes_of(call, ends, "ends") or []
    chosen = axes_of(call, axes) or list(range(len(begin)))
    index = [slice(None)] * x.ndim
    for axis, first, last, step in zip(chosen, begin, end, numbers(steps) or [1] * len(begin), strict=True):
        # A slice to before the first element is written as a huge negative end, which numpy understands too.
        index[axis] = slice(first, last, step)
    return np.asarray(x[tuple(index)])


@host_operator("Split")
def split(call: Call, x: Array, sizes: Array | None = None) -> Any:
    axis = call.number("axis", 0)
    lengths = axes_of(call, sizes, "split")
    if lengths is None:
        part = -(-x.shape[axis] // call.outputs)
        lengths = [part] * (call.outputs - 1)
    parts = np.split(x, np.cumsum(lengths)[: call.outputs - 1], axis)
    return parts[0] if call.outputs == 1 else tuple(parts)


@host_operator("Gather")
def gather(call: Call, x: Array, index: Array) -> Array:
    axis = call.number("axis", 0)
    call.check_table([*x.shape[:axis], *index.shape, *x.shape[axis:][1:]])
    return np.asarray(np.take(x, index, axis=axis))


@host_operator("ScatterND")
def scatter_nd(call: Call, x: Array, index: Array, updates: Array) -> Array:
    if call.number("reduction", "none") != "none":
        raise call.refused("it combines what it places")
    result = x.copy()
    result[tuple(np.moveaxis(index, -1, 0))] = updates
    return result


@host_operator("CumSum")
def cumulative_sum(call: Call, x: Array, axis: Array) -> Array:
    if call.number("exclusive", 0) or call.number("reverse", 0):
        raise call.refused("it sums sizes from the end")
    return np.asarray(np.cumsum(x, numbers(axis)[0], dtype=x.dtype))


def _enter_reduction(name: str, function: Callable[..., Any]) -> None:
    def run(call: Call, x: Array, axes: Array | None = None) -> Array:
        chosen = axes_of(call, axes)
        if not chosen and call.number("noop_with_empty_axes", 0):
            return x
        result = function(x, axis=tuple(chosen) if chosen else None, keepdims=bool(call.number("keepdims", 1)))
        return np.asarray(result).astype(x.dtype)

    host_operator(name)(run)


_enter_reduction("ReduceProd", np.prod)
_enter_reduction("ReduceSum", np.sum)
_enter_reduction("ReduceMax", np.max)
_enter_reduction("ReduceMin", np.min)


@host_operator("Shape")
def shape(call: Call, x: Array) -> Array:
    return shape_of(call, x.shape)


def shape_of(call: Call, sizes: tuple[int, ...]) -> Array:
    """Shape, of which newer operator sets may ask a part."""
    return np.array(sizes[call.number("start", 0) : call.attributes.get("end")], np.int64)
