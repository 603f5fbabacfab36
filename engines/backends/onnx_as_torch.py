"""ONNX graphs as torch modules: under torch's allocator they keep a budget, run in half precision and can be moved.

Beside onnx2torch, the library for this, which was last released in August 2024: it wants a convolution's kernel to
be stored in the file, so that modulated ones (GFPGAN, GPEN) do not convert; it knows operator sets up to 16 for most
operators; it reads sizes from tensors while it runs, which tensors without data do not have; and it needs the onnx
package, which reads files whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ...errors import ModelFileError
from . import onnx_plan
from .onnx_file import OnnxGraph
from .onnx_operators import find
from .onnx_operators.registry import Call
from .onnx_plan import Plan, Step, Weight
from .onnx_tensors import OnnxTensor

unsupported = onnx_plan.unsupported

# What a malformed graph or a picture of the wrong size makes operators raise. Not RuntimeError: it may be that the
# memory is full, which the engine knows how to handle.
_MISFITS = (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError)

Load = Callable[[OnnxTensor], torch.Tensor]


class OnnxModule(torch.nn.Module):
    """A graph that runs under torch.

    Floating inputs of any type are taken, floating outputs have the run's type, or float32 where they are sums that
    half precision would spoil (see `onnx_precision`). Constants are parameters.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device,
        dtype: torch.dtype,
        weights: dict[int, torch.Tensor],
        misfits: tuple[type[Exception], ...] = _MISFITS,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self._misfits = misfits
        self._plan, self._device = plan, device
        self._named: list[tuple[int, str]] = []
        for slot, weight in weights.items():
            self.register_parameter(f"w{slot}", torch.nn.Parameter(weight, requires_grad=False))
            self._named.append((slot, f"w{slot}"))

    @property
    def has_fixed_batch(self) -> bool:
        """Whether the graph was exported for one sample at a time."""
        shapes = [value.shape for value in self._plan.graph.inputs]
        return any(bool(shape) and shape[0] == 1 for shape in shapes if shape is not None)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The graph's outputs in its order, for its inputs in its order, on the module's device.

        A graph that was exported for one sample is run for n of them as n runs are (torch.func.vmap): outputs that
        have no axis for the batch get one in front. Raises ModelFileError where the inputs do not fit the graph.
        """
        if len(inputs) != len(self._plan.inputs):
            wanted = ", ".join(value.name for value in self._plan.graph.inputs)
            raise ModelFileError(f"{self._plan.graph.path.name} takes {wanted}, but got {len(inputs)} tensors.")
        count = max((x.shape[0] for x in inputs if x.dim()), default=1)
        if count > 1 and self.has_fixed_batch:
            return self._many(count, inputs)
        return self._run(inputs)

    def samples(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `forward`, but each output is one sample's with the batch's axis in front, whatever the graph's is."""
        results = self.forward(*inputs)
        count = max((x.shape[0] for x in inputs if x.dim()), default=1)
        return tuple(x if x.dim() and x.shape[0] == count else x.unsqueeze(0) for x in results)

    def _many(self, count: int, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        each = [x.unsqueeze(1) if x.dim() else x.reshape(1, 1) for x in inputs]
        each = [x.expand(count, *x.shape[1:]) if x.shape[0] == 1 else x for x in each]
        results = torch.func.vmap(lambda *sample: self._run(sample))(*each)
        return tuple(x.flatten(0, 1) if x.dim() > 1 and x.shape[1] == 1 else x for x in results)

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        plan = self._plan
        values = list(plan.values)
        for slot, name in self._named:
            values[slot] = self._parameters[name]
        for slot, x in zip(plan.inputs, inputs, strict=True):
            values[slot] = x.float() if x.is_floating_point() else x
        del inputs
        for step in plan.steps:
            arguments = [values[slot] if slot >= 0 else None for slot in step.inputs]
            try:
                result = self._result(step, arguments)
            except self._misfits as error:
                raise onnx_plan.broken(plan.graph, error, f"{step.call.op} {step.call.name}".strip()) from error
            if len(step.outputs) == 1:
                values[step.outputs[0]] = result
            else:
                for slot, part in zip(step.outputs, result, strict=False):
                    values[slot] = part
            for slot in step.frees:
                values[slot] = None
        return tuple(self._tensor(values[slot], self.dtype) for slot in plan.outputs)

    def _result(self, step: Step, arguments: list[Any]) -> Any:
        if step.on_host:
            assert step.operator.on_host is not None
            return step.operator.on_host(step.call, *arguments)
        for position in step.to_host:
            arguments[position] = self._array(step.call, arguments[position])
        for position in step.to_tensor:
            array = arguments[position]
            scalar = step.operator.scalars and not array.ndim
            arguments[position] = array.item() if scalar else self._tensor(array, step.call.dtype)
        for position in step.casts:
            if arguments[position].is_floating_point():
                arguments[position] = arguments[position].to(step.call.dtype)
        assert step.operator.run is not None
        return step.operator.run(step.call, *arguments)

    def _array(self, call: Call, x: torch.Tensor) -> np.ndarray[Any, Any]:
        if isinstance(x, FakeTensor) or torch._C._functorch.is_batchedtensor(x):
            raise call.refused("a size that it works with depends on the picture")
        return np.asarray((x.float() if x.is_floating_point() else x).cpu().numpy())

    def _tensor(self, value: Any, dtype: torch.dtype) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value
        x = torch.from_numpy(np.ascontiguousarray(value))
        return x.to(self._device, dtype if x.is_floating_point() else x.dtype)


def build(graph: OnnxGraph, device: torch.device, dtype: torch.dtype) -> OnnxModule:
    """The module with its weights on a device, floating ones in a type. Raises ModelFileError.

    Weights are read and converted one by one, so that the file's copy never stands beside the whole of them.
    """
    planned = onnx_plan.plan(graph, device, dtype)
    weights = {
        weight.slot: _converted(_made(planned, weight.name, OnnxTensor.load), weight, device, dtype)
        for weight in planned.weights
    }
    return OnnxModule(planned, device, dtype, weights)


def twin(graph: OnnxGraph, dtype: torch.dtype, frugal: bool = True) -> tuple[OnnxModule, FakeTensorMode]:
    """The module on tensors that have a shape and no data, and the mode that they live in. Raises ModelFileError.

    frugal: see `onnx_plan.plan`.
    """
    device = torch.device("cpu")
    planned = onnx_plan.plan(graph, device, dtype, frugal)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        weights = {w.slot: _converted(_made(planned, w.name, _empty), w, device, dtype) for w in planned.weights}
        # No memory can be full here: a RuntimeError too says that shapes do not fit.
        return OnnxModule(planned, device, dtype, weights, (*_MISFITS, RuntimeError)), mode


def _empty(tensor: OnnxTensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _wants_channels_last(weight: Weight, dtype: torch.dtype) -> bool:
    return weight.kernel and not weight.exact and dtype == torch.bfloat16


def _converted(value: torch.Tensor, weight: Weight, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    if not value.is_floating_point():
        return value.to(device)
    value = value.to(device, torch.float32 if weight.exact else dtype)
    if _wants_channels_last(weight, dtype) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def _made(plan: Plan, name: str, load: Load, made: dict[str, Any] | None = None) -> torch.Tensor:
    """A constant tensor: off the file, or computed from others in float32."""
    made = {} if made is None else made
    if name in made:
        return made[name]
    if name not in plan.folded:
        array = plan.known.get(name)
        made[name] = torch.from_numpy(np.array(array)) if array is not None else load(plan.stored[name])
        return made[name]
    node = plan.folded[name]
    known = find(node.kind)
    assert known is not None and known.run is not None
    opset = plan.graph.opsets.get(node.domain, plan.graph.opset)
    call = Call(node.op, node.name, opset, len(node.outputs), node.attributes, torch.device("cpu"), torch.float32)
    arguments: list[Any] = []
    for position, source in enumerate(node.inputs):
        array = plan.known.get(source)
        if source == "" or (array is not None and position in known.host_inputs):
            arguments.append(array)
        elif array is not None and known.scalars and array.ndim == 0:
            arguments.append(array.item())
        else:
            value = _made(plan, source, load, made)
            arguments.append(value.float() if value.is_floating_point() else value)
    result = known.run(call, *arguments)
    made.update(zip(node.outputs, result if isinstance(result, (tuple, list)) else (result,), strict=False))
    return made[name]
