"""Normalisations, all with statistics that are stored or taken from one sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Call, numbers, operator, writable


@operator("BatchNormalization", overwrites=(0,), exact=(1, 2, 3, 4))
def batch_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if call.number("training_mode", 0):
        raise call.refused("it was exported for training")
    # Two constants for each channel: the same in one rounding less, and the input's memory can be the output's.
    gain = scale.float() * torch.rsqrt(variance.float() + call.number("epsilon", 1e-5))
    shift = bias.float() - mean.float() * gain
    shape = (1, -1) + (1,) * (x.dim() - 2)
    gain, shift = gain.to(x.dtype).reshape(shape), shift.to(x.dtype).reshape(shape)
    if 0 in call.reuse and writable(x):
        return x.mul_(gain).add_(shift)
    return torch.addcmul(shift, x, gain)


@operator("InstanceNormalization")
def instance_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # A group for each channel is the same.
    return _grouped(x, x.shape[1], scale, bias, call.number("epsilon", 1e-5))


@operator("slimfusion.GroupNorm", host=(1, 4))
def reshaped_group_norm(call: Call, x: Tensor, *others: Any) -> Tensor:
    """others: the shape that splits the channels, scale, bias, the shape that joins them, weight and shift.

    Not in the standard: what `onnx_fusions` makes of the nodes that stand for it. Theirs, where it is not."""
    split, scale, bias, back, weight, shift = others
    epsilon, groups = call.number("epsilon", 1e-5), len(scale)
    first, last = numbers(split), numbers(back)
    channels = (x.shape[1], *(1,) * (x.dim() - 2))
    splits = len(first) == 3 and first[0] in (0, x.shape[0]) and first[1] == groups and first[2] != 0
    restored = last[1:] == list(x.shape[1:]) and last[0] in (0, x.shape[0])
    if not (splits and restored and all(v.shape in (channels, (1, *channels)) for v in (weight, shift))):
        whole = x.reshape([x.shape[k] if size == 0 else size for k, size in enumerate(first)])
        normal = instance_norm(call, whole, scale, bias)
        result: Tensor = (
            normal.reshape([whole.shape[k] if size == 0 else size for k, size in enumerate(last)]) * weight + shift
        )
        return result
    size = x.shape[1] // groups
    gain = weight.reshape(-1) * scale.repeat_interleave(size)
    offset = weight.reshape(-1) * bias.repeat_interleave(size) + shift.reshape(-1)
    return _grouped(x, groups, gain, offset, epsilon)


def _grouped(x: Tensor, groups: int, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    if not torch._C._functorch.is_batchedtensor(x):
        return F.group_norm(x, groups, scale, bias, epsilon)
    # For samples of a batch, torch would scale and shift into tensors of their own.
    shape = (1, -1) + (1,) * (x.dim() - 2)
    return F.group_norm(x, groups, eps=epsilon).mul_(scale.reshape(shape)).add_(bias.reshape(shape))


@operator("GroupNormalization")
def group_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, epsilon = call.attributes["num_groups"], call.number("epsilon", 1e-5)
    if call.opset < 21:  # one pair of numbers for each group instead of each channel
        size = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(size), bias.repeat_interleave(size)
    return F.group_norm(x, groups, scale, bias, epsilon)


@operator("LayerNormalization")
def layer_norm(call: Call, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    if call.outputs > 1:
        raise call.refused("its statistics are asked for")
    axis = call.number("axis", -1) % x.dim()
    shape, epsilon = x.shape[axis:], call.number("epsilon", 1e-5)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    result = F.layer_norm(x, shape, eps=epsilon) * scale
    return result if bias is None else result + bias


@operator("RMSNormalization")
def rms_norm(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axis = call.number("axis", -1) % x.dim()
    return F.rms_norm(x, x.shape[axis:], eps=call.number("epsilon", 1e-5)) * scale


@operator("LpNormalization")
def lp_normalization(call: Call, x: Tensor) -> Tensor:
    power, axis = call.number("p", 2), call.number("axis", -1)
    norm = torch.linalg.vector_norm(x, power, dim=axis, keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(call: Call, x: Tensor) -> Tensor:
    axes = call.ints("axes") or (0, 2, 3)
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / (centred.square().mean(dim=axes, keepdim=True).sqrt() + 1e-9)


@operator("LRN")
def local_response_normalization(call: Call, x: Tensor) -> Tensor:
    size, alpha = call.attributes["size"], call.number("alpha", 1e-4)
    if size % 2 == 0:
        raise call.refused("its window has an even size")
    return F.local_response_norm(x, size, alpha, call.number("beta", 0.75), call.number("bias", 1.0))


@operator("Softmax")
def softmax(call: Call, x: Tensor) -> Tensor:
    return _over_axis(call, x, torch.softmax)


@operator("LogSoftmax")
def log_softmax(call: Call, x: Tensor) -> Tensor:
    return _over_axis(call, x, torch.log_softmax)


def _over_axis(call: Call, x: Tensor, run: Callable[[Tensor, int], Tensor]) -> Tensor:
    if call.opset >= 13:
        return run(x, call.number("axis", -1))
    # Until opset 12 all axes from the given one on are one.
    axis = call.number("axis", 1) % max(1, x.dim())
    return run(x.flatten(axis), -1).reshape(x.shape)
