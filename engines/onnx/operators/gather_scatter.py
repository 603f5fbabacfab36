"""Operators that pick or place elements by index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import Call, operator


def _positive(index: Tensor, size: int) -> Tensor:
    """Indices that may count from the end, as indices from the start."""
    return torch.where(index < 0, index + size, index).long()


@operator("Gather", scalars=True, aliases=True)
def gather(call: Call, x: Tensor, index: Any) -> Tensor:
    axis = call.number("axis", 0) % x.dim()
    if isinstance(index, int):
        return x.select(axis, index)
    flat = _positive(index.reshape(-1), x.shape[axis])
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    return x.index_select(axis, flat).reshape(shape)


@operator("GatherElements")
def gather_elements(call: Call, x: Tensor, index: Tensor) -> Tensor:
    axis = call.number("axis", 0)
    return x.gather(axis, _positive(index, x.shape[axis]))


@operator("GatherND")
def gather_nd(call: Call, x: Tensor, index: Tensor) -> Tensor:
    batch = call.number("batch_dims", 0)
    if batch:
        grid = torch.meshgrid(*(torch.arange(n, device=x.device) for n in x.shape[:batch]), indexing="ij")
        ahead = [g.reshape(g.shape + (1,) * (index.dim() - 1 - batch)) for g in grid]
    else:
        ahead = []
    places = [_positive(index[..., k], x.shape[batch + k]) for k in range(index.shape[-1])]
    return x[(*ahead, *places)]


@operator("ScatterND", overwrites=(0,))
def scatter_nd(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    how = call.number("reduction", "none")
    if how not in ("none", "add"):
        raise call.refused(f"it combines by {how}")
    places = tuple(_positive(index[..., k], x.shape[k]) for k in range(index.shape[-1]))
    return x.index_put(places, updates.to(x.dtype), accumulate=how == "add")


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Call, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    how, axis = call.number("reduction", "none"), call.number("axis", 0)
    places = _positive(index, x.shape[axis])
    if how == "none":
        return x.scatter(axis, places, updates)
    kinds = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return x.scatter_reduce(axis, places, updates, kinds[how])


@operator("OneHot", host=(1,))
def one_hot(call: Call, index: Tensor, depth: Any, values: Tensor) -> Tensor:
    count = int(depth.reshape(-1)[0])
    axis = call.number("axis", -1) % (index.dim() + 1)
    places = _positive(index, count).unsqueeze(axis)
    classes = torch.arange(count, device=places.device).reshape([-1 if k == axis else 1 for k in range(places.dim())])
    return torch.where(places == classes, values[1], values[0])


@operator("NonZero")
def non_zero(call: Call, x: Tensor) -> Tensor:
    return torch.nonzero(x).T


@operator("Compress")
def compress(call: Call, x: Tensor, condition: Tensor) -> Tensor:
    axis = call.ints("axis")
    flat, along = (x.reshape(-1), 0) if axis is None else (x, call.number("axis", 0))
    return flat.index_select(along, torch.nonzero(condition).reshape(-1))
