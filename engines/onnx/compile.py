"""From an ONNX graph to a list of steps: what is constant, what is a size, what may be overwritten and freed.

Nothing here needs weights or a device; `onnx_as_torch` fills the plan and runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...errors import ModelFileError
from .file import Graph, Node, OnnxGraph
from .fusions import fused
from .limits import FOLDED_BYTES, FOLDED_TO_STORED, HOST_BYTES, Allowance
from .operators import Call, Operator, find
from .operators.numpy_shapes import shape_of
from .operators.registry import OTHER_ENGINE, Array, TooLargeError, UnsupportedError
from .precision import summed_in_float32
from .steps import Lives, Plan, Step, Weight
from .tensors import OnnxTensor

# The newest operator set that is let through; up to 21 the operators were compared with onnxruntime, and what 22 to
# 24 changed in them are types.
NEWEST_OPSET = 24

# Constants up to these sizes are known while the graph is planned: sizes, axes, indices; and single numbers.
MOST_WHOLE, MOST_REAL = 1 << 16, 16
MOST_REAL_BYTES = 1 << 16

# What a malformed graph or a picture of the wrong size makes operators raise. Not RuntimeError: it may be that the
# memory is full, which the engine knows how to handle.
MISFITS = (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError)

_INLINED = ("Constant", "If", "Shape", "Size")


def unsupported(graph: OnnxGraph) -> tuple[str, ...]:
    """The operators of a graph that torch cannot run here, each once, in order."""
    missing: dict[str, None] = {}
    for node in graph.everything():
        operator = find(node.kind)
        if node.kind not in _INLINED and (operator is None or (operator.run is None and operator.on_host is None)):
            missing[node.kind] = None
    return tuple(missing)


def plan(graph: OnnxGraph, device: torch.device, dtype: torch.dtype, frugal: bool = True) -> Plan:
    """frugal: nodes are put together and values overwritten where that saves memory; onnxruntime does neither.

    Raises ModelFileError for a graph that cannot be run, naming what it cannot be run for.
    """
    name = graph.path.name
    missing = unsupported(graph)
    if missing:
        raise UnsupportedError(
            f"{name} uses operators that torch cannot run here: {', '.join(missing)}. {OTHER_ENGINE}"
        )
    if graph.opset > NEWEST_OPSET:
        raise UnsupportedError(
            f"{name} uses ONNX's operator set {graph.opset}; the newest that is supported is {NEWEST_OPSET}. "
            f"Export it with an older one. {OTHER_ENGINE}"
        )
    try:
        return _Planner(graph, device, dtype, frugal).plan()
    except (*MISFITS, RuntimeError, MemoryError) as error:
        raise broken(graph, error) from error


def broken(graph: OnnxGraph, error: Exception, node: str = "") -> ModelFileError:
    where = f" at {node}" if node else ""
    return ModelFileError(
        f"{graph.path.name} does not fit together{where}: {str(error).splitlines()[0] if str(error) else error!r}. "
        "The file is damaged, or the picture is not of the size that it was exported for."
    )


def too_much_on_host(name: str) -> ModelFileError:
    return ModelFileError(
        f"{name} computes more than {HOST_BYTES >> 20} MiB of sizes and indices, which no model does. The file is "
        "damaged or not what it claims to be: use another export of the model."
    )


class _Planner:
    def __init__(self, graph: OnnxGraph, device: torch.device, dtype: torch.dtype, frugal: bool) -> None:
        self._graph, self._device, self._dtype, self._frugal = graph, device, dtype, frugal
        self._plan = Plan(graph)
        self._slots: dict[str, int] = {}
        self._host: set[str] = set()
        self._shapes: dict[str, torch.Tensor] = {}  # of constants, without data
        self._weights: dict[tuple[str, bool], Weight] = {}
        self._summed: frozenset[Node] = frozenset()
        self._in_float32: set[str] = {value.name for value in graph.inputs}
        self._nodes = 0
        self._host_bytes = Allowance(HOST_BYTES)
        stored = sum(tensor.nbytes for tensor in graph.initializers.values())
        self._folded_bytes = Allowance(FOLDED_BYTES + FOLDED_TO_STORED * stored)

    def plan(self) -> Plan:
        plan = self._plan
        self._constants(self._graph.initializers.values())
        plan.inputs = [self._slot(value.name) for value in self._graph.inputs]
        self._body(self._graph.nodes)
        for value in self._graph.outputs:
            if value.name in self._slots and value.name not in plan.constants:
                plan.outputs.append(self._slots[value.name])
            else:
                plan.outputs.append(self._constant(value.name, False, False, False))
        Lives(plan, self._frugal).mark()
        return plan

    def _body(self, nodes: Sequence[Node]) -> None:
        outputs = [value.name for value in self._graph.outputs]
        nodes = fused(nodes, outputs) if self._frugal else nodes
        self._summed |= summed_in_float32(nodes, outputs)
        for node in nodes:
            self._add(node)

    def _constants(self, tensors: Iterable[OnnxTensor]) -> None:
        for tensor in tensors:
            self._store(tensor.name, tensor)

    def _store(self, name: str, tensor: OnnxTensor) -> None:
        if tensor.dtype is None:
            return  # named by the step that wants it
        self._plan.stored[name] = tensor
        self._shapes[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        if tensor.numel <= (MOST_REAL if tensor.dtype.is_floating_point else MOST_WHOLE):
            self._know(name, array_of(tensor))

    def _know(self, name: str, array: Array) -> None:
        if not self._host_bytes.take(array.nbytes):
            raise too_much_on_host(self._graph.path.name)
        self._plan.constants[name] = array
        self._host.add(name)

    def _is_constant(self, name: str) -> bool:
        return name == "" or name in self._plan.constants or name in self._shapes

    def _add(self, node: Node) -> None:
        if node.kind == "Constant":
            self._add_constant(node)
        elif node.kind == "If":
            self._add_branch(node)
        elif node.kind in ("Shape", "Size") and not self._is_host(node):
            self._add_sizes(node)
        else:
            operator = find(node.kind)
            assert operator is not None
            call = self._call(node)
            if (
                operator.on_host is not None
                and self._is_host(node)
                and not _makes_data(node)
                and self._add_host(node, operator, call)
            ):
                return
            if operator.run is None:
                raise call.refused("what it works on is no size and no index")
            elif not self._fold(node, operator, call):
                self._add_step(node, operator, call)

    def _is_host(self, node: Node) -> bool:
        return all(name == "" or name in self._host for name in node.inputs) and bool(node.inputs)

    def _call(self, node: Node) -> Call:
        self._nodes += 1
        opset = self._graph.opsets.get(node.domain if node.domain != "ai.onnx" else "", self._graph.opset)
        attributes = {key: array_of(v) if isinstance(v, OnnxTensor) else v for key, v in node.attributes.items()}
        name = node.name or next(iter(node.outputs), "")
        dtype = torch.float32 if node in self._summed else self._dtype
        return Call(node.op, name, opset, len(node.outputs), attributes, self._device, dtype, seed=self._nodes)

    def _add_constant(self, node: Node) -> None:
        (key, value), name = next(iter(node.attributes.items()), ("", None)), node.outputs[0]
        if isinstance(value, OnnxTensor):
            self._store(name, value)
        elif key in ("value_int", "value_ints"):
            self._know(name, np.array(value, np.int64))
        elif key in ("value_float", "value_floats"):
            self._know(name, np.array(value, np.float32))
        else:
            raise self._call(node).refused("what it holds is no number")

    def _add_branch(self, node: Node) -> None:
        """An If whose condition is known is the branch that it takes."""
        condition = self._plan.constants.get(node.inputs[0])
        if condition is None:
            raise self._call(node).refused("which branch it takes depends on the picture")
        branch = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
        if not isinstance(branch, Graph):
            raise self._call(node).refused("it has no branch")
        self._constants(branch.initializers.values())
        self._body(branch.nodes)
        for inner, outer in zip(branch.outputs, node.outputs, strict=True):
            if inner.name != outer:
                self._add(Node("Identity", "", outer, (inner.name,), (outer,), {}))

    def _add_sizes(self, node: Node) -> None:
        """Shape and Size of a tensor: a host value that each run has anew, unless the tensor is constant."""
        call, name = self._call(node), node.inputs[0]
        constant = self._shapes.get(name)
        if constant is not None:
            self._know(node.outputs[0], _sizes(call, constant))
            return
        self._host.add(node.outputs[0])
        outputs = (self._slot(node.outputs[0]),)
        self._plan.steps.append(Step(Operator(on_host=_sizes), call, (self._slots[name],), outputs, True))

    def _add_host(self, node: Node, operator: Operator, call: Call) -> bool:
        """Whether a node works on the host: large tables of real numbers are data, and are left to tensors."""
        assert operator.on_host is not None
        if all(name == "" or name in self._plan.constants for name in node.inputs):
            arrays = [self._plan.constants.get(name) for name in node.inputs]
            is_data = operator.run is not None and any(x is not None and x.dtype.kind == "f" for x in arrays)
            try:
                result = operator.on_host(call, *arrays)
            except TooLargeError:
                if is_data:
                    return False
                raise
            made = result if isinstance(result, tuple) else (result,)
            if is_data and sum(array.nbytes for array in made) > MOST_REAL_BYTES:
                return False
            for name, array in zip(node.outputs, made, strict=False):
                self._know(name, array)
            return True
        inputs = tuple(self._host_slot(name) for name in node.inputs)
        self._host.update(node.outputs)
        self._plan.steps.append(Step(operator, call, inputs, tuple(map(self._slot, node.outputs)), True))
        return True

    def _fold(self, node: Node, operator: Operator, call: Call) -> bool:
        """Notes a node on constants alone; tries it on tensors without data to know what it gives."""
        if not node.inputs or not all(self._is_constant(name) for name in node.inputs) or "Random" in node.op:
            return False
        exact = replace(call, dtype=torch.float32, device=torch.device("meta"))
        inputs = [self._without_data(name, operator, k) for k, name in enumerate(node.inputs)]
        result = operator.run(exact, *inputs) if operator.run else ()
        made = result if isinstance(result, (tuple, list)) else (result,)
        if not self._folded_bytes.take(sum(part.nbytes for part in made)):
            return False
        for name, part in zip(node.outputs, made, strict=False):
            self._plan.folded[name] = node
            self._shapes[name] = part
        return True

    def _without_data(self, name: str, operator: Operator, position: int) -> Any:
        array = self._plan.constants.get(name)
        if name == "" or (array is not None and position in operator.host_inputs):
            return array
        if array is not None and array.ndim == 0 and operator.scalars:
            return array.item()
        if array is not None:
            return torch.from_numpy(np.ascontiguousarray(array)).to("meta")
        return self._shapes[name]

    def _add_step(self, node: Node, operator: Operator, call: Call) -> None:
        inputs: list[int] = []
        to_host: list[int] = []
        to_tensor: list[int] = []
        casts: list[int] = []
        summed = node in self._summed
        for position, name in enumerate(node.inputs):
            on_host = position in operator.host_inputs
            if name and self._is_constant(name):
                kernel = node.op == "Conv" and position == 1
                inputs.append(
                    self._host_slot(name)
                    if on_host and name in self._plan.constants
                    else self._constant(name, operator.scalars, summed or position in operator.exact, kernel)
                )
                continue
            inputs.append(self._slots[name] if name else -1)
            if name and on_host != (name in self._host):
                (to_host if on_host else to_tensor).append(position)
            elif name and not on_host and summed != (name in self._in_float32):
                casts.append(position)
        if summed:
            self._in_float32.update(node.outputs)
        outputs = tuple(self._slot(name) for name in node.outputs)
        lists = (tuple(positions) for positions in (to_host, to_tensor, casts))
        self._plan.steps.append(Step(operator, call, tuple(inputs), outputs, False, *lists))

    def _constant(self, name: str, scalars: bool, exact: bool, kernel: bool) -> int:
        """The slot of a constant as a tensor, or as a number where those will do."""
        array = self._plan.constants.get(name)
        if array is not None and array.ndim == 0 and scalars:
            self._plan.values.append(array.item())
            return len(self._plan.values) - 1
        if array is None and name not in self._shapes:
            raise KeyError(f"{name} is made by nobody")
        if (name, exact) not in self._weights:
            self._plan.values.append(None)
            self._weights[name, exact] = Weight(len(self._plan.values) - 1, name, exact, kernel)
            self._plan.weights.append(self._weights[name, exact])
        return self._weights[name, exact].slot

    def _host_slot(self, name: str) -> int:
        if name == "":
            return -1
        if name in self._plan.constants and name not in self._slots:
            self._plan.values[self._slot(name)] = self._plan.constants[name]
        return self._slots[name]

    def _slot(self, name: str) -> int:
        self._plan.values.append(None)
        self._slots[name] = len(self._plan.values) - 1
        return self._slots[name]


def array_of(tensor: OnnxTensor) -> Array:
    """A stored tensor as numpy has it, halves as float32."""
    content = tensor.load()
    return np.asarray((content.float() if content.dtype in (torch.float16, torch.bfloat16) else content).numpy())


def _sizes(call: Call, x: torch.Tensor) -> Array:
    return shape_of(call, tuple(x.shape)) if call.op == "Shape" else np.array(x.numel())


def _makes_data(node: Node) -> bool:
    """A ConstantOfShape of real numbers is no size: it may be as large as a picture."""
    value = node.attributes.get("value")
    return node.op == "ConstantOfShape" and (value is None or value.dtype is None or value.dtype.is_floating_point)
