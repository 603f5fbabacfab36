"""Our own code on the CPU, planned, kept and freed as networks are: a detector, a landmarker, a fusion.

What it takes depends on what it is given: the job's `Work.after_bytes` says it, and the model only what it keeps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from ..catalog.card import ModelCard
from ..catalog.licences import APACHE
from ..catalog.spec import ModelSpec
from ..engines.host import Host, StandaloneHost
from ..engines.job import Job
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.cost import Cost
from ..engines.memory.planner import Work
from ..engines.memory.report import Report
from ..engines.network import Loaded, Model, Traits
from ..engines.plan import plan
from ..engines.run import Run

Tool = TypeVar("Tool")
Network = TypeVar("Network", bound=torch.nn.Module)

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

    @contextlib.contextmanager
    def at_work(
        self, work: Work, stage: str, budget: MemoryBudget | None, host: Host | None, report: Report | None
    ) -> Iterator[Tool]:
        """The tool for the length of a job beside the main one; `stage` is told and timed. Raises BudgetError."""
        report = report or Report()
        job = Job(self, work, budget or MemoryBudget(), host or StandaloneHost("cpu"), stage=stage, is_main=False)
        with plan(job).open(report) as run, report.stage(stage):
            yield self.of(run)


def channels_last(network: Network) -> Network:
    """The network with its weights as crops lie, channels side by side: a quarter to a third of the time less."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
