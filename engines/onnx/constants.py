"""The constant tensors of a plan: off the file, or worked out from others, each once and held no longer than needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .file import Node
from .operators import find
from .operators.registry import Call
from .steps import Plan, Weight
from .tensors import OnnxTensor

Load = Callable[[OnnxTensor], torch.Tensor]


def made_weights(
    plan: Plan, load: Load, device: torch.device, dtype: torch.dtype
) -> tuple[dict[int, torch.Tensor], int]:
    """Tensors by slot, floating ones in a type, and the most bytes that were held meanwhile beside them.

    load: reads a tensor, or makes one without data of its shape. Raises ModelFileError and what operators raise.
    """
    maker = _Maker(plan, load)
    weights = {}
    for weight in plan.weights:
        weights[weight.slot] = _converted(maker.make(weight.name), weight, device, dtype)
        maker.release(weight.name)
    return weights, maker.peak


class _Maker:
    """Works constants out. peak: the most bytes of them that were held at a time."""

    def __init__(self, plan: Plan, load: Load) -> None:
        self._plan, self._load = plan, load
        self._made: dict[str, torch.Tensor] = {}
        self._uses = _uses(plan)
        self._held = self.peak = 0

    def make(self, name: str) -> torch.Tensor:
        """One constant, after those that it is made of; without recursion, since a file may chain thousands."""
        waiting, opened = [name], set[str]()
        while waiting:
            wanted = waiting[-1]
            node = self._plan.folded.get(wanted)
            missing = [x for x in self._sources(node) if x not in self._made] if node is not None else []
            if wanted in self._made or not missing:
                waiting.pop()
                if wanted not in self._made:
                    self._enter(wanted, node)
            elif wanted in opened:
                raise ValueError(f"{wanted} is made of itself")
            else:
                opened.add(wanted)
                waiting += missing
        return self._made[name]

    def release(self, name: str) -> None:
        """One who needs a constant is served."""
        self._uses[name] -= 1
        if self._uses[name] <= 0 and name in self._made:
            self._held -= self._made.pop(name).nbytes

    def _enter(self, name: str, node: Node | None) -> None:
        if node is None:
            array = self._plan.constants.get(name)
            value = self._load(self._plan.stored[name]) if array is None else torch.from_numpy(np.array(array))
            self._keep(name, value)
            return
        results = self._run(node)
        for output, result in zip(node.outputs, results, strict=False):
            self._keep(output, result)
        for source in self._sources(node):
            self.release(source)
        for output in node.outputs:
            if output != name and not self._uses[output] and output in self._made:
                self._held -= self._made.pop(output).nbytes

    def _keep(self, name: str, value: torch.Tensor) -> None:
        self._made[name] = value
        self._held += value.nbytes
        self.peak = max(self.peak, self._held)

    def _sources(self, node: Node) -> list[str]:
        return _tensor_sources(self._plan, node)

    def _run(self, node: Node) -> tuple[torch.Tensor, ...]:
        plan, operator = self._plan, find(node.kind)
        assert operator is not None and operator.run is not None
        opset = plan.graph.opsets.get(node.domain, plan.graph.opset)
        call = Call(node.op, node.name, opset, len(node.outputs), node.attributes, torch.device("cpu"), torch.float32)
        arguments: list[Any] = []
        for position, source in enumerate(node.inputs):
            array = plan.constants.get(source)
            if source == "" or (array is not None and position in operator.host_inputs):
                arguments.append(array)
            elif array is not None and operator.scalars and array.ndim == 0:
                arguments.append(array.item())
            else:
                value = self._made[source]
                arguments.append(value.float() if value.is_floating_point() else value)
        result = operator.run(call, *arguments)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _tensor_sources(plan: Plan, node: Node) -> list[str]:
    """The inputs that a folded node takes as tensors, each as often as it takes it."""
    operator = find(node.kind)
    assert operator is not None
    names = []
    for position, source in enumerate(node.inputs):
        array = plan.constants.get(source)
        is_other = array is not None and (position in operator.host_inputs or (operator.scalars and array.ndim == 0))
        if source and not is_other:
            names.append(source)
    return names


def _uses(plan: Plan) -> Counter[str]:
    """How often each constant is needed: by weights, and by the nodes that are run for them."""
    uses = Counter(weight.name for weight in plan.weights)
    waiting, seen = list(uses), set[int]()
    while waiting:
        node = plan.folded.get(waiting.pop())
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            sources = _tensor_sources(plan, node)
            uses.update(sources)
            waiting += sources
    return uses


def _wants_channels_last(weight: Weight, dtype: torch.dtype) -> bool:
    return weight.kernel and not weight.exact and dtype == torch.bfloat16


def _converted(value: torch.Tensor, weight: Weight, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    if not value.is_floating_point():
        return value.to(device)
    value = value.to(device, torch.float32 if weight.exact else dtype)
    if _wants_channels_last(weight, dtype) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
