"""Operators that make one number out of many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .layout import axes_of
from .registry import Array, Call, operator

Reduce = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _enter(name: str, reduce: Reduce) -> None:
    def run(call: Call, x: Tensor, axes: Array | None = None) -> Tensor:
        chosen = axes_of(call, axes)
        if not chosen:
            if call.number("noop_with_empty_axes", 0):
                return reduce(x.unsqueeze(0), [0], False)
            chosen = list(range(x.dim()))
        if not chosen:  # a single number
            return reduce(x.unsqueeze(0), [0], False)
        return reduce(x, [axis % x.dim() for axis in chosen], bool(call.number("keepdims", 1))).to(x.dtype)

    operator(name, host=(1,))(run)


_enter("ReduceMean", lambda x, axes, keep: x.mean(axes, keep))
_enter("ReduceSum", lambda x, axes, keep: x.sum(axes, keep))
_enter("ReduceMax", lambda x, axes, keep: x.amax(axes, keep))
_enter("ReduceMin", lambda x, axes, keep: x.amin(axes, keep))
_enter("ReduceProd", _product)
_enter("ReduceL1", lambda x, axes, keep: torch.linalg.vector_norm(x, 1, axes, keep))
_enter("ReduceL2", lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep))
_enter("ReduceSumSquare", lambda x, axes, keep: x.square().sum(axes, keep))
_enter("ReduceLogSum", lambda x, axes, keep: x.sum(axes, keep).log())
_enter("ReduceLogSumExp", lambda x, axes, keep: torch.logsumexp(x, axes, keep))
