"""Operators that work on each element alone."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Call, operator, writable

Number = float | int | bool


def _own(call: Call, x: Tensor) -> Tensor:
    """x itself where it may be overwritten, else a copy."""
    return x if 0 in call.reuse and writable(x) else x.clone()


def _unary(name: str, new: Callable[[Tensor], Tensor], in_place: Callable[[Tensor], Tensor] | None) -> None:
    def run(call: Call, x: Tensor) -> Tensor:
        if in_place is not None and 0 in call.reuse and writable(x):
            return in_place(x)
        return new(x)

    operator(name, overwrites=() if in_place is None else (0,))(run)


_unary("Abs", torch.abs, torch.abs_)
_unary("Neg", torch.neg, torch.neg_)
_unary("Sqrt", torch.sqrt, torch.sqrt_)
_unary("Exp", torch.exp, torch.exp_)
_unary("Log", torch.log, torch.log_)
_unary("Sin", torch.sin, torch.sin_)
_unary("Cos", torch.cos, torch.cos_)
_unary("Erf", torch.erf, torch.erf_)
_unary("Floor", torch.floor, torch.floor_)
_unary("Ceil", torch.ceil, torch.ceil_)
_unary("Round", torch.round, torch.round_)
_unary("Reciprocal", torch.reciprocal, torch.reciprocal_)
_unary("Relu", torch.relu, torch.relu_)
_unary("Sigmoid", torch.sigmoid, torch.sigmoid_)
_unary("Tanh", torch.tanh, torch.tanh_)
_unary("HardSwish", F.hardswish, lambda x: F.hardswish(x, inplace=True))
_unary("Mish", F.mish, lambda x: F.mish(x, inplace=True))
_unary("Softplus", lambda x: F.softplus(x, threshold=80), None)
_unary("Softsign", F.softsign, None)
_unary("Sign", torch.sign, None)
_unary("Not", torch.logical_not, None)
_unary("IsNaN", torch.isnan, None)
# Not in the standard: x * sigmoid(x), which the builder makes of the two.
_unary("slimfusion.Silu", F.silu, lambda x: F.silu(x, inplace=True))


@operator("IsInf")
def is_inf(call: Call, x: Tensor) -> Tensor:
    up, down = call.number("detect_positive", 1), call.number("detect_negative", 1)
    return ((x == math.inf) & bool(up)) | ((x == -math.inf) & bool(down))


@operator("LeakyRelu", overwrites=(0,))
def leaky_relu(call: Call, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.number("alpha", 0.01), inplace=0 in call.reuse and writable(x))


@operator("Elu", overwrites=(0,))
def elu(call: Call, x: Tensor) -> Tensor:
    return F.elu(x, call.number("alpha", 1.0), inplace=0 in call.reuse and writable(x))


@operator("Selu")
def selu(call: Call, x: Tensor) -> Tensor:
    alpha, gamma = call.number("alpha", 1.6732632423543772), call.number("gamma", 1.0507009873554805)
    return F.elu(x, alpha).mul_(gamma)


@operator("HardSigmoid", overwrites=(0,))
def hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return _own(call, x).mul_(call.number("alpha", 0.2)).add_(call.number("beta", 0.5)).clamp_(0.0, 1.0)


@operator("ThresholdedRelu")
def thresholded_relu(call: Call, x: Tensor) -> Tensor:
    return F.threshold(x, call.number("alpha", 1.0), 0.0)


@operator("Gelu", "com.microsoft.Gelu")
def gelu(call: Call, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.number("approximate", "none"))


@operator("PRelu")
def prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    if x.dim() >= 2 and slope.numel() in (1, x.shape[1]) and slope.dim() >= x.dim() - 1:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, x * slope, x)


@operator("Clip", scalars=True, overwrites=(0,))
def clip(call: Call, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    if call.opset < 11:
        low, high = call.attributes.get("min"), call.attributes.get("max")
    if low is None and high is None:
        return x.clone()
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = (torch.as_tensor(v).to(x) if v is not None else None for v in (low, high))
    return x.clamp_(low, high) if 0 in call.reuse and writable(x) else x.clamp(low, high)


def _binary(
    name: str,
    new: Callable[[Any, Any], Any],
    in_place: Callable[[Tensor, Any], Tensor],
    swapped: Callable[[Tensor, Any], Tensor] | None,
) -> None:
    """swapped: the same with the second input's memory, where that is not the plain one."""

    def run(call: Call, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if a.dtype != b.dtype and a.dim() and b.dim():
                a, b = _one_type(a, b)
            if 0 in call.reuse and _takes(a, b):
                return in_place(a, b)
            if 1 in call.reuse and swapped is not None and _takes(b, a):
                return swapped(b, a)
        elif isinstance(a, Tensor):
            if 0 in call.reuse and writable(a) and _keeps_type(a, b):
                return in_place(a, b)
        elif isinstance(b, Tensor) and 1 in call.reuse and swapped is not None and writable(b) and _keeps_type(b, a):
            return swapped(b, a)
        return new(a, b)

    operator(name, scalars=True, overwrites=(0, 1))(run)


def _takes(target: Tensor, other: Tensor) -> bool:
    """Whether a result of both has the target's shape and type, and every element of it a place of its own."""
    if target.dtype != torch.result_type(target, other) or target.dim() < other.dim() or not writable(target):
        return False
    lasts = target.shape[target.dim() - other.dim() :]
    return all(theirs in (1, ours) for ours, theirs in zip(lasts, other.shape, strict=True))


def _keeps_type(x: Tensor, number: Number) -> bool:
    return x.is_floating_point() or not isinstance(number, float)


def _one_type(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.result_type(a, b)
    return a.to(dtype), b.to(dtype)


def _divided(a: Any, b: Any) -> Any:
    if any(isinstance(x, Tensor) and x.is_floating_point() for x in (a, b)):
        return a / b
    return torch.div(torch.as_tensor(a), torch.as_tensor(b), rounding_mode="trunc")


def _divided_in_place(a: Tensor, b: Any) -> Tensor:
    return a.div_(b, rounding_mode=None if a.is_floating_point() else "trunc")


_binary("Add", python.add, Tensor.add_, Tensor.add_)
_binary("Sub", python.sub, Tensor.sub_, lambda b, a: b.neg_().add_(a))
_binary("Mul", python.mul, Tensor.mul_, Tensor.mul_)
_binary("Div", _divided, _divided_in_place, None)


@operator("Pow", scalars=True, overwrites=(0,))
def power(call: Call, x: Any, exponent: Any) -> Tensor:
    if isinstance(x, Tensor) and isinstance(exponent, (int, float)) and exponent == 2:
        return x.square_() if 0 in call.reuse and writable(x) else x.square()
    result = torch.pow(x, exponent)
    return result.to(x.dtype) if isinstance(x, Tensor) else result


@operator("Mod", scalars=True)
def mod(call: Call, a: Any, b: Any) -> Tensor:
    return torch.fmod(a, b) if call.number("fmod", 0) else torch.remainder(a, b)


def _comparison(name: str, function: Callable[[Any, Any], Any]) -> None:
    operator(name, scalars=True)(lambda call, a, b: function(a, b))


_comparison("Equal", python.eq)
_comparison("Greater", python.gt)
_comparison("GreaterOrEqual", python.ge)
_comparison("Less", python.lt)
_comparison("LessOrEqual", python.le)
_comparison("And", lambda a, b: torch.logical_and(torch.as_tensor(a), torch.as_tensor(b)))
_comparison("Or", lambda a, b: torch.logical_or(torch.as_tensor(a), torch.as_tensor(b)))
_comparison("Xor", lambda a, b: torch.logical_xor(torch.as_tensor(a), torch.as_tensor(b)))


def _of_many(call: Call, inputs: tuple[Tensor, ...], pair: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    result = inputs[0]
    for other in inputs[1:]:
        result = pair(result, other)
    return result if len(inputs) > 1 else result.clone()


@operator("Max")
def maximum(call: Call, *inputs: Tensor) -> Tensor:
    return _of_many(call, inputs, torch.maximum)


@operator("Min")
def minimum(call: Call, *inputs: Tensor) -> Tensor:
    return _of_many(call, inputs, torch.minimum)


@operator("Sum")
def total(call: Call, *inputs: Tensor) -> Tensor:
    return _of_many(call, inputs, torch.add)


@operator("Mean")
def mean(call: Call, *inputs: Tensor) -> Tensor:
    return _of_many(call, inputs, torch.add) / len(inputs)


@operator("Where", scalars=True)
def where(call: Call, condition: Tensor, a: Any, b: Any) -> Tensor:
    if not isinstance(condition, Tensor):
        condition = torch.tensor(condition, device=call.device)
    if not isinstance(a, Tensor) and not isinstance(b, Tensor) and any(isinstance(x, float) for x in (a, b)):
        a = torch.tensor(a, dtype=call.dtype, device=call.device)
    return torch.where(condition, a, b)


@operator("Cast", "CastLike", aliases=True)
def cast(call: Call, x: Tensor, like: Tensor | None = None) -> Tensor:
    wanted = like.dtype if like is not None else call.tensor_type(call.attributes["to"])
    return x.to(wanted)


@operator("Identity", "Dropout", aliases=True, host=(1, 2))
def identity(call: Call, x: Tensor, *unused: Any) -> Any:
    return x if call.outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))


@operator("QuantizeLinear")
def quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    dtype = torch.uint8 if zero is None else zero.dtype
    limits = torch.iinfo(dtype)
    scale, start = _along(call, x, scale), 0 if zero is None else _along(call, x, zero)
    return (torch.round(x / scale) + start).clamp(limits.min, limits.max).to(dtype)


@operator("DequantizeLinear")
def dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    shifted = x.to(torch.int32) if zero is None else x.to(torch.int32) - _along(call, x, zero).to(torch.int32)
    return shifted.to(call.dtype) * _along(call, x, scale)


def _along(call: Call, x: Tensor, values: Tensor) -> Tensor:
    """One value for each slice of an axis, shaped so that it broadcasts."""
    if values.numel() == 1 or x.dim() == 0:
        return values.reshape(())
    if values.dim() != 1 or math.prod(values.shape) != x.shape[call.number("axis", 1)]:
        raise call.refused("it is quantised in blocks")
    shape = [1] * x.dim()
    shape[call.number("axis", 1)] = -1
    return values.reshape(shape)
