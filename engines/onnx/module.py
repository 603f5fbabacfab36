"""ONNX graphs as torch modules: under torch's allocator they keep a budget, run in half precision and can be moved.

Beside onnx2torch, the library for this, which was last released in August 2024: it wants a convolution's kernel to
be stored in the file, so that modulated ones (GFPGAN, GPEN) do not convert; it knows operator sets up to 16 for most
operators; it reads sizes from tensors while it runs, which tensors without data do not have; and it needs the onnx
package, which reads files whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ...errors import ModelFileError
from . import compile as onnx_plan
from .compile import MISFITS
from .constants import made_weights
from .file import OnnxGraph
from .limits import HOST_BYTES, UNPREDICTED_BYTES
from .operators.registry import Call
from .steps import Plan, Step
from .tensors import OnnxTensor

unsupported = onnx_plan.unsupported


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
        misfits: tuple[type[Exception], ...] = MISFITS,
    ) -> None:
        super().__init__()
        self.opening_bytes = 0  # that opening takes beside the weights: known of a meta model
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
        samples = [x.unsqueeze(1) if x.dim() else x.reshape(1, 1) for x in inputs]
        samples = [x.expand(count, *x.shape[1:]) if x.shape[0] == 1 else x for x in samples]
        results = torch.func.vmap(lambda *sample: self._run(sample))(*samples)
        return tuple(x.flatten(0, 1) if x.dim() > 1 and x.shape[1] == 1 else x for x in results)

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        plan = self._plan
        values = list(plan.values)
        on_host = _HostMemory(plan)
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
            if step.on_host:
                on_host.add(step, values)
            for slot in step.frees:
                values[slot] = None
                on_host.forget(slot)
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


class _HostMemory:
    """Counts the host values that a run holds at a time."""

    def __init__(self, plan: Plan) -> None:
        self._name, self._sizes, self._held = plan.graph.path.name, dict[int, int](), 0

    def add(self, step: Step, values: list[Any]) -> None:
        """Raises ModelFileError for more than any model computes."""
        for slot in step.outputs:
            self._sizes[slot] = values[slot].nbytes
            self._held += values[slot].nbytes
        if self._held > HOST_BYTES:
            raise onnx_plan.too_much_on_host(self._name)

    def forget(self, slot: int) -> None:
        self._held -= self._sizes.pop(slot, 0)


def build(graph: OnnxGraph, device: torch.device, dtype: torch.dtype) -> OnnxModule:
    """The module with its weights on a device, floating ones in a type. Raises ModelFileError.

    Weights are read and converted one by one, so that the file's copy never stands beside the whole of them.
    """
    planned = onnx_plan.plan(graph, device, dtype)
    try:
        weights, _ = made_weights(planned, OnnxTensor.load, device, dtype)
    except MISFITS as error:
        raise onnx_plan.broken(graph, error) from error
    return OnnxModule(planned, device, dtype, weights)


def meta_model(graph: OnnxGraph, dtype: torch.dtype, frugal: bool = True) -> tuple[OnnxModule, FakeTensorMode]:
    """The module on tensors that have a shape and no data, and the mode that they live in. Raises ModelFileError.

    frugal: see `onnx_plan.plan`.
    """
    device = torch.device("cpu")
    planned = onnx_plan.plan(graph, device, dtype, frugal)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    # No memory can be full here: a RuntimeError too says that shapes do not fit.
    misfits = (*MISFITS, RuntimeError)
    with mode:
        try:
            weights, passing = made_weights(planned, _empty, device, dtype)
        except misfits as error:
            raise onnx_plan.broken(graph, error) from error
        module = OnnxModule(planned, device, dtype, weights, misfits)
    module.opening_bytes = planned.host_bytes + max(0, passing - UNPREDICTED_BYTES)
    return module, mode


def _empty(tensor: OnnxTensor) -> torch.Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)
