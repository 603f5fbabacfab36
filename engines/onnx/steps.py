"""A planned ONNX graph: steps over numbered slots, and when each slot is needed last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .file import Node, OnnxGraph
from .operators import Call, Operator
from .operators.registry import Array
from .tensors import OnnxTensor

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
    constants: dict[str, Array] = field(default_factory=dict)
    stored: dict[str, OnnxTensor] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    @property
    def host_bytes(self) -> int:
        """Of the host values that are known from the start."""
        return sum(array.nbytes for array in self.constants.values())


class Lives:
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
            lasting = {*self._plan.outputs, *(w.slot for w in self._plan.weights), -1}
            gone = {s for s in (*step.inputs, *step.outputs) if self._last[s] == index} - lasting
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
