"""Products of matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import Call, operator


@operator("MatMul")
def matmul(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@operator("Gemm", scalars=False)
def gemm(call: Call, a: Tensor, b: Tensor, c: Any = None) -> Tensor:
    a = a.T if call.number("transA", 0) else a
    b = b.T if call.number("transB", 0) else b
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if c is None:
        return torch.matmul(a, b) if alpha == 1 else torch.matmul(a, b) * alpha
    return torch.addmm(c, a, b, alpha=alpha, beta=beta)


@operator("Einsum")
def einsum(call: Call, *inputs: Tensor) -> Tensor:
    return torch.einsum(call.attributes["equation"].replace(" ", ""), *inputs)
