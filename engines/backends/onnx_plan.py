"""From an ONNX graph to a list of steps: what is constant, what is a size, what may be overwritten and freed.

Nothing here needs weights or a device; `onnx_as_torch` fills the plan and runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ...errors import ModelFileError
from .onnx_file import Graph, Node, OnnxGraph
from .onnx_fusions import fused
from .onnx_operators import Call, Operator, find
from .onnx_operators.host import shape_of
from .onnx_operators.registry import Array
from .onnx_precision import summed_in_float32
from .onnx_tensors import OnnxTensor

# The newest operator set that is let through; up to 21 the operators were compared with onnxruntime, and what 22 to
# 24 changed in them are types.
NEWEST_OPSET = 24

# Constants up to these sizes are known while the graph is planned: sizes, axes, indices; and single numbers.
MOST_WHOLE, MOST_REAL = 1 << 16, 16

# What operators on constants may grow to before they are better run anew each time.
MOST_FOLDED = 1 << 24

_INLINED = ("Constant", "If", "Shape", "Size")
_NOT_FROM_INPUT = ("RandomNormalLike", "RandomUniformLike", "EyeLike", "ConstantOfShape", "Range")


@dataclass
class Step:
    """One operator with its inputs and outputs by slot (-1 for one that is left out).

    on_host: it computes numpy arrays. to_host, to_tensor: positions of inputs of the other kind. casts: positions
    that may come in another floating type than the step's. frees: slots that nobody needs any more.
    """

    operator: Operator
    call: Call
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    on_host: bool
    to_host: tuple[int, ...] = ()
    to_tensor: tuple[int, ...] = ()
    casts: tuple[int, ...] = ()
    frees: tuple[int, ...] = ()


@dataclass(frozen=True)
class Weight:
    """A constant tensor in a slot. exact: stays float32 whatever the run's type. kernel: a convolution's."""

    slot: int
    name: str
    exact: bool
    kernel: bool


@dataclass
class Plan:
    """Steps in order, over numbered slots.

    values: what slots hold from the start, host values and numbers. weights: slots that constant tensors go to.
    folded: nodes on constants alone, by the names of their outputs; their results are weights like the file's.
    """

    graph: OnnxGraph
    steps: list[Step] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    folded: dict[str, Node] = field(default_factory=dict)
    known: dict[str, Array] = field(default_factory=dict)
    stored: dict[str, OnnxTensor] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def unsupported(graph: OnnxGraph) -> tuple[str, ...]:
    """The operators of a graph that torch cannot run here, each once, in order."""
    missing: dict[str, None] = {}
    for node in graph.everything():
        known = find(node.kind)
        if node.kind not in _INLINED and (known is None or (known.run is None and known.on_host is None)):
            missing[node.kind] = None
    return tuple(missing)


def plan(graph: OnnxGraph, device: torch.device, dtype: torch.dtype, frugal: bool = True) -> Plan:
    """frugal: nodes are put together and values overwritten where that saves memory; onnxruntime does neither.

    Raises ModelFileError for a graph that cannot be run, naming what it cannot be run for.
    """
    name = graph.path.name
    missing = unsupported(graph)
    if missing:
        raise ModelFileError(
            f"{name} uses operators that torch cannot run here: {', '.join(missing)}. onnxruntime may run this file: "
            "choose it as the engine."
        )
    if graph.opset > NEWEST_OPSET:
        raise ModelFileError(
            f"{name} uses ONNX's operator set {graph.opset}; the newest that is known here is {NEWEST_OPSET}. "
            "Export it with an older one, or choose onnxruntime as the engine."
        )
    try:
        return _Planner(graph, device, dtype, frugal).plan()
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise broken(graph, error) from error


def broken(graph: OnnxGraph, error: Exception, node: str = "") -> ModelFileError:
    where = f" at {node}" if node else ""
    return ModelFileError(
        f"{graph.path.name} does not fit together{where}: {str(error).splitlines()[0] if str(error) else error!r}. "
        "The file is damaged, or the picture is not of the size that it was exported for."
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

    def plan(self) -> Plan:
        plan = self._plan
        self._constants(self._graph.initializers.values())
        plan.inputs = [self._slot(value.name) for value in self._graph.inputs]
        self._body(self._graph.nodes)
        for value in self._graph.outputs:
            if value.name in self._slots and value.name not in plan.known:
                plan.outputs.append(self._slots[value.name])
            else:
                plan.outputs.append(self._constant(value.name, False, False, False))
        _Lives(plan, self._frugal).mark()
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
        self._plan.known[name] = array
        self._host.add(name)

    def _is_constant(self, name: str) -> bool:
        return name == "" or name in self._plan.known or name in self._shapes

    def _add(self, node: Node) -> None:
        if node.kind == "Constant":
            self._add_constant(node)
        elif node.kind == "If":
            self._add_branch(node)
        elif node.kind in ("Shape", "Size") and not self._is_host(node):
            self._add_sizes(node)
        else:
            known = find(node.kind)
            assert known is not None
            call = self._call(node)
            if known.on_host is not None and self._is_host(node) and not _makes_data(node):
                self._add_host(node, known, call)
            elif known.run is None:
                raise call.refused("what it works on is no size and no index")
            elif not self._fold(node, known, call):
                self._add_step(node, known, call)

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
        condition = self._plan.known.get(node.inputs[0])
        if condition is None:
            raise self._call(node).refused("which branch it takes depends on the picture")
        branch = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
        if not isinstance(branch, Graph):
            raise self._call(node).refused("it has no branch")
        self._constants(branch.initializers.values())
        self._body(branch.nodes)
        for inner, outer in zip(branch.outputs, node.outputs, strict=True):
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

    def _add_host(self, node: Node, known: Operator, call: Call) -> None:
        assert known.on_host is not None
        if all(name == "" or name in self._plan.known for name in node.inputs):
            result = known.on_host(call, *(self._plan.known.get(name) for name in node.inputs))
            for name, array in zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False):
                self._know(name, array)
            return
        inputs = tuple(self._host_slot(name) for name in node.inputs)
        self._host.update(node.outputs)
        self._plan.steps.append(Step(known, call, inputs, tuple(map(self._slot, node.outputs)), True))

    def _fold(self, node: Node, known: Operator, call: Call) -> bool:
        """Notes a node on constants alone; tries it on tensors without data to know what it gives."""
        if not node.inputs or not all(self._is_constant(name) for name in node.inputs) or "Random" in node.op:
            return False
        exact = replace(call, dtype=torch.float32, device=torch.device("meta"))
        inputs = [self._without_data(name, known, k) for k, name in enumerate(node.inputs)]
        result = known.run(exact, *inputs) if known.run else ()
        made = result if isinstance(result, (tuple, list)) else (result,)
        if sum(part.numel() for part in made) > MOST_FOLDED + sum(
            2 * x.numel() for x in inputs if isinstance(x, torch.Tensor)
        ):
            return False
        for name, part in zip(node.outputs, made, strict=False):
            self._plan.folded[name] = node
            self._shapes[name] = part
        return True

    def _without_data(self, name: str, known: Operator, position: int) -> Any:
        array = self._plan.known.get(name)
        if name == "" or (array is not None and position in known.host_inputs):
            return array
        if array is not None and array.ndim == 0 and known.scalars:
            return array.item()
        if array is not None:
            return torch.from_numpy(np.ascontiguousarray(array)).to("meta")
        return self._shapes[name]

    def _add_step(self, node: Node, known: Operator, call: Call) -> None:
        inputs: list[int] = []
        to_host: list[int] = []
        to_tensor: list[int] = []
        casts: list[int] = []
        summed = node in self._summed
        for position, name in enumerate(node.inputs):
            on_host = position in known.host_inputs
            if name and self._is_constant(name):
                kernel = node.op == "Conv" and position == 1
                inputs.append(
                    self._host_slot(name)
                    if on_host and name in self._plan.known
                    else self._constant(name, known.scalars, summed or position in known.exact, kernel)
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
        self._plan.steps.append(Step(known, call, tuple(inputs), outputs, False, *lists))

    def _constant(self, name: str, scalars: bool, exact: bool, kernel: bool) -> int:
        """The slot of a constant as a tensor, or as a number where those will do."""
        array = self._plan.known.get(name)
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
        if name in self._plan.known and name not in self._slots:
            self._plan.values[self._slot(name)] = self._plan.known[name]
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


class _Lives:
    """When each value is needed last, and which inputs a step may overwrite.

    Values that may share memory are in one group. An input may be overwritten when no other value of its group is
    needed later, none is a constant, an input or an output of the graph, and it comes from an input: samples of a
    batch have it each for themselves.
    """

    def __init__(self, plan: Plan, frugal: bool) -> None:
        self._plan, self._frugal = plan, frugal
        self._last: dict[int, int] = {}
        self._group: dict[int, set[int]] = {}
        self._tied = {*plan.inputs, *plan.outputs, *(weight.slot for weight in plan.weights)}
        self._from_input = set(plan.inputs)

    def mark(self) -> None:
        steps = self._plan.steps
        for index, step in enumerate(steps):
            for slot in (*step.inputs, *step.outputs):
                self._last[slot] = index
        for index, step in enumerate(steps):
            if not step.on_host:
                self._mark_step(index, step)
            kept = {*self._plan.outputs, *(w.slot for w in self._plan.weights), -1}
            gone = {s for s in (*step.inputs, *step.outputs) if self._last[s] == index} - kept
            step.frees = tuple(slot for slot in gone if self._plan.values[slot] is None)

    def _mark_step(self, index: int, step: Step) -> None:
        if step.call.op not in _NOT_FROM_INPUT and self._from_input.intersection(step.inputs):
            self._from_input.update(step.outputs)
        overwritten = sorted(step.operator.overwrites) if self._frugal else ()
        reuse = tuple(k for k in overwritten if self._may_overwrite(index, step, k))
        step.call = replace(step.call, reuse=reuse)
        shared = {slot for slot in step.inputs if slot >= 0} if step.operator.aliases else set()
        shared |= {step.inputs[k] for k in reuse}
        together = set(step.outputs).union(*(self._of(slot) for slot in shared))
        for slot in together if shared else ():
            self._group[slot] = together

    def _of(self, slot: int) -> set[int]:
        return self._group.setdefault(slot, {slot})

    def _may_overwrite(self, index: int, step: Step, position: int) -> bool:
        if position >= len(step.inputs) or step.inputs[position] < 0:
            return False
        slot = step.inputs[position]
        group = self._of(slot)
        others = [s for k, s in enumerate(step.inputs) if k != position]
        return (
            slot in self._from_input
            and position not in step.to_tensor
            and not group & self._tied
            and not group.intersection(others)
            and all(self._last[member] <= index for member in group)
        )
