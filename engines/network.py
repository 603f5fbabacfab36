"""What the engines run: a `Model`, which is known and not loaded, and the `Network` that loading it makes."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from ..catalog.spec import ModelSpec
from .memory import enforce
from .memory.cost import Cost

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# What goes into a network and comes out of it: one tensor for each of its ports, batch first.
Tensors = tuple[torch.Tensor, ...]

# Runs a network on items, each without the batch's dimension, and yields one result for each, in order.
Infer = Callable[[Iterable[Tensors]], Iterator[Tensors]]

# Takes (n, 3, h, w) 0..1 RGB and a fidelity, returns (n, 3, h * scale, w * scale) in 0..1, any float type.
Forward = Callable[[torch.Tensor, float], torch.Tensor]


class Loaded(Protocol):
    """What loading a model makes, to be used until it is closed.

    outside_peak: bytes that the last run took in a process beside this one, which no meter here sees.
    """

    outside_peak: int = 0

    def interrupt_with(self, check: Callable[[], None]) -> None:
        """Lets `check`, which raises to stop, end a run that waits for another process."""
        return

    @abstractmethod
    def close(self) -> None: ...


@runtime_checkable
class Network(Loaded, Protocol):
    """Weights on a device, ready to run."""

    @abstractmethod
    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        """Runs one batch.

        inputs: one tensor for each input. A picture network takes and returns one picture batch as `Forward` does.
        fidelity: 0 (sharp) to 1 (faithful); a network without the control ignores it.
        """


def runnable(loaded: Loaded) -> Network:
    """A loaded model as the network that it is: tools, which are used otherwise, never come here."""
    assert isinstance(loaded, Network)
    return loaded


@dataclass(frozen=True)
class Traits:
    """How a model is run.

    engine: what runs it, for the report.
    notes: why nothing else runs it, for the report.
    only_cpu: it has no code for other devices.
    is_outside: it runs in a process of its own.
    takes_limit: it is loaded with a limit and holds itself to it.
    steers_memory: its tensors are torch's in this process, so the C library may be told what to do with freed ones.
    is_exact: its memory is the engine's own word, and no measurement corrects it.
    stays_loaded: False where somebody else owns the network, and keeping a session would keep it alive.
    """

    engine: str = "torch"
    notes: tuple[str, ...] = ()
    only_cpu: bool = False
    is_outside: bool = False
    takes_limit: bool = False
    steers_memory: bool = True
    is_exact: bool = False
    stays_loaded: bool = True


class Model(ABC):
    """A network that is known and not loaded: enough to plan with.

    spec: what it is.
    key: changes when its files do.
    descriptor: what its owner keeps of it, where somebody else has loaded it; the host asks for it.
    """

    spec: ModelSpec
    key: tuple[Any, ...]
    traits: Traits = Traits()
    descriptor: Any = None

    @abstractmethod
    def weight_bytes(self, precision: str, device: torch.device) -> int:
        """Bytes that loading adds on a device and that stay."""

    @abstractmethod
    def activations(self, precision: str, device_type: str) -> Cost:
        """Bytes that a forward pass holds at most beside the weights, by the pixels of its batch."""

    @abstractmethod
    def load(self, device: torch.device, precision: str, limit: int) -> Loaded:
        """The network on a device. limit: bytes to stay within where the engine can be told, 0 for none.

        Raises ModelFileError, DependencyError, DeviceError, BudgetError.
        """

    def hold_to(
        self, device: torch.device, allowed: int, ours: int
    ) -> contextlib.AbstractContextManager[enforce.Enforcement]:
        """Holds a run to `allowed` bytes where anybody can. ours: of these, what our open sessions hold already."""
        return enforce.capped(device, allowed, ours)
