"""Our own code on the CPU, planned, kept and freed as networks are: a detector, a landmarker, a fusion.

What it takes depends on what it is given: the job's `Work.after_bytes` says it, and the model only what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from ..catalog.card import ModelCard
from ..catalog.licences import APACHE
from ..catalog.spec import ModelSpec
from ..engines.memory.cost import Cost
from ..engines.network import Loaded, Model, Traits
from ..engines.run import Run

Tool = TypeVar("Tool")

ON_CPU = Traits(only_cpu=True, steers_memory=False, is_exact=True)


class LoadedTool(Loaded, Generic[Tool]):
    """tool: what the model's `make` has made."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    def close(self) -> None:
        """Nothing is held but the tool, which goes with this object."""


@dataclass(frozen=True, eq=False)
class BuiltInModel(Model, Generic[Tool]):
    """name: for reports. make: reads the weights. weights: bytes that the tool keeps."""

    name: str
    make: Callable[[], Tool]
    weights: int = 0
    traits: Traits = ON_CPU
    spec: ModelSpec = field(init=False)
    key: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        card = ModelCard(self.name, "built in", licence=APACHE)
        spec = ModelSpec(self.name, None, card, self.name, APACHE, 0, 1, 1, 0, 0, ("fp32",))
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "key", ("built in", self.name))

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        return self.weights

    def activations(self, precision: str, device_type: str) -> Cost:
        return Cost(0.0, 0.0)

    def load(self, device: torch.device, precision: str, limit: int) -> LoadedTool[Tool]:
        return LoadedTool(self.make())

    def of(self, run: Run) -> Tool:
        """The tool that a run of this model holds."""
        network = run.network
        assert isinstance(network, LoadedTool)
        tool: Tool = network.tool
        return tool
