"""Operators that look for the largest, and those that make tensors out of sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .registry import Array, Call, has_no_data, numbers, operator


@operator("ArgMax")
def arg_max(call: Call, x: Tensor) -> Tensor:
    return _arg(call, x, torch.argmax)


@operator("ArgMin")
def arg_min(call: Call, x: Tensor) -> Tensor:
    return _arg(call, x, torch.argmin)


def _arg(call: Call, x: Tensor, run: Callable[..., Tensor]) -> Tensor:
    axis, keep = call.number("axis", 0), bool(call.number("keepdims", 1))
    if call.number("select_last_index", 0):
        result: Tensor = x.shape[axis] - 1 - run(x.flip(axis), dim=axis, keepdim=keep)
        return result
    return run(x, dim=axis, keepdim=keep)


@operator("TopK", host=(1,))
def top_k(call: Call, x: Tensor, count: Array | None = None) -> tuple[Tensor, Tensor]:
    k = call.attributes["k"] if count is None else numbers(count)[0]
    axis = call.number("axis", -1)
    if k > x.shape[axis]:
        raise call.refused(f"it wants the best {k} of {x.shape[axis]}")
    values, places = torch.topk(x, k, axis, bool(call.number("largest", 1)), bool(call.number("sorted", 1)))
    return values, places


@operator("CumSum", host=(1,))
def cumulative_sum(call: Call, x: Tensor, axis: Array) -> Tensor:
    along = numbers(axis)[0]
    backwards = bool(call.number("reverse", 0))
    forward = x.flip(along) if backwards else x
    result = forward.cumsum(along).to(x.dtype)
    if call.number("exclusive", 0):
        result = result - forward
    return result.flip(along) if backwards else result


@operator("ConstantOfShape", host=(0,))
def constant_of_shape(call: Call, shape: Array) -> Tensor:
    filler = call.number("value", np.zeros(1, np.float32)).reshape(-1)[0]
    dtype = call.dtype if np.issubdtype(filler.dtype, np.floating) else getattr(torch, str(filler.dtype))
    return torch.full(numbers(shape), filler.item(), dtype=dtype, device=call.device)


@operator("EyeLike")
def eye_like(call: Call, x: Tensor) -> Tensor:
    dtype = call.tensor_type(call.attributes["dtype"]) if "dtype" in call.attributes else x.dtype
    columns = torch.arange(x.shape[1], device=x.device)
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    result: Tensor = (columns == rows + call.number("k", 0)).to(dtype)
    return result


@operator("RandomNormal")
def random_normal(call: Call) -> Tensor:
    return _drawn(call, call.attributes["shape"], "normal")


@operator("RandomNormalLike")
def random_normal_like(call: Call, x: Tensor) -> Tensor:
    return _drawn(call, tuple(x.shape), "normal")


@operator("RandomUniform")
def random_uniform(call: Call) -> Tensor:
    return _drawn(call, call.attributes["shape"], "uniform")


@operator("RandomUniformLike")
def random_uniform_like(call: Call, x: Tensor) -> Tensor:
    return _drawn(call, tuple(x.shape), "uniform")


def _drawn(call: Call, shape: tuple[int, ...], kind: str) -> Tensor:
    """The same numbers at every run, on every device, for every sample: a face looks the same twice."""
    key = (shape, kind)
    if key not in call.cache and has_no_data(call.device):
        call.cache[key] = torch.empty(shape, dtype=call.dtype, device=call.device)
    if key not in call.cache:
        call.check_table(shape)
        source = np.random.default_rng(call.seed)
        if kind == "normal":
            drawn = source.normal(call.number("mean", 0.0), call.number("scale", 1.0), shape)
        else:
            drawn = source.uniform(call.number("low", 0.0), call.number("high", 1.0), shape)
        call.cache[key] = torch.from_numpy(drawn).to(call.device, call.dtype)
    result: Tensor = call.cache[key].clone()
    return result
