"""A network that is or is not in memory, and its meta model that never is.

A `Blueprint` knows a network's shape without its weights: enough to plan with. A `Session` is the network on
a device in a precision; it can be opened and closed any number of times, because the host may take its
memory back between two runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from ..catalog.spec import ModelSpec
from .buffers import Buffers
from .memory.cost import Cost

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Takes (n, 3, h, w) float32 0..1 RGB and a fidelity, gives (n, 3, h * scale, w * scale) in 0..1, any float type.
Forward = Callable[[torch.Tensor, float], torch.Tensor]

# What goes into a network that is not picture to picture and comes out of it: one tensor for each of its ports.
Tensors = tuple[torch.Tensor, ...]

# Runs such a network on items, each without the batch's dimension, and gives one result for each, in order.
Infer = Callable[[Iterable[Tensors]], Iterator[Tensors]]

# Who holds a network to its budget: torch's allocator, the engine's own, a worker process that ends itself when it is
# seen to pass it, or nobody.
Enforcer = Literal["torch", "engine", "worker", "nobody"]


class Network(Protocol):
    """Weights on a device, ready to run.

    A picture network is a `Forward`. Any other takes `Tensors` with a batch dimension, one argument for each of
    its inputs, and gives `Tensors`.
    """

    def __call__(self, *inputs: Any) -> Any: ...

    def close(self) -> None: ...


def no_constants(dtype: torch.dtype) -> int:
    """Of a network that keeps nothing beside its weights."""
    return 0


@dataclass(frozen=True, eq=False)
class Blueprint:
    """What there is to know of a network before it is loaded.

    key: changes when the file does. build: loads it on a device in a type, to stay within so many bytes where the
    engine can be told. meta model: the same network on tensors without data and the mode they live in, for predicting
    its memory. borrowed: the spandrel descriptor that somebody else has loaded and keeps; its weights are in the
    CPU's memory already. engine: what runs it, notes: why nothing else does, both for the report. elsewhere: it runs
    in a process of its own. weight_factor: what the engine holds for each byte of weights. constants: bytes in a type
    that opening works out from the weights and keeps beside them. cost: of its activations, where the engine knows it
    exactly.
    """

    spec: ModelSpec
    key: tuple[Any, ...]
    build: Callable[[torch.device, torch.dtype, int], Network]
    meta_model: Callable[[torch.dtype], tuple[Callable[..., Any], Any]]
    borrowed: Any = None
    engine: str = "torch"
    enforcer: Enforcer = "torch"
    elsewhere: bool = False
    weight_factor: float = 1.0
    constants: Callable[[torch.dtype], int] = no_constants
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        """Bytes that opening adds on a device; a borrowed network's weights are in the CPU's memory already."""
        dtype = PRECISIONS[precision]
        kept = self.constants(dtype)
        if self.borrowed is not None and device.type == "cpu":
            return kept
        return int(self.spec.parameters * dtype.itemsize * self.weight_factor) + kept


class Session:
    """A network on one device in one precision, open or closed.

    `patcher` belongs to the host: what it needs to count and evict this session. `limit`: bytes that it was
    opened to stay within.
    """

    def __init__(self, blueprint: Blueprint, device: torch.device, precision: str) -> None:
        self.blueprint = blueprint
        self.device = device
        self.precision = precision
        self.weight_bytes = blueprint.weight_bytes(precision, device)
        self.times_opened = 0
        self.limit = 0
        self.patcher: Any = None
        self._network: Network | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"Session({self.blueprint.spec.name}, {self.precision} on {self.device}, {state})"

    @property
    def is_open(self) -> bool:
        return self._network is not None

    @property
    def resident_bytes(self) -> int:
        return self.weight_bytes if self.is_open else 0

    def open(self) -> None:
        """Loads the network unless it is there. Raises ModelFileError."""
        with self._lock:
            if self._network is None:
                self._network = self.blueprint.build(self.device, PRECISIONS[self.precision], self.limit)
                self.times_opened += 1

    @property
    def outside_peak(self) -> int:
        """Bytes that the last run took in a process beside this one, which no meter here sees."""
        return getattr(self._network, "outside_peak", 0)

    def interrupt_with(self, check: Callable[[], None]) -> None:
        """Lets `check`, which raises to stop, end a run for which another process is waited for."""
        interruptible = getattr(self._network, "interrupt_with", None)
        if interruptible is not None:
            interruptible(check)

    def stay_within(self, limit: int) -> None:
        """Makes `limit` bytes hold from the next opening on, which is due now where the engine has a wider one."""
        with self._lock:
            others = self.blueprint.enforcer in ("engine", "worker")
            if self.is_open and others and limit >= self.limit:
                return
            if others:
                self.close()
            self.limit = limit

    def close(self) -> None:
        """Drops the network; waits for a run that is under way in another thread."""
        with self._lock:
            if self._network is not None:
                self._network.close()
                self._network = None

    def run(self, batch: torch.Tensor, fidelity: float, buffers: Buffers | None = None) -> torch.Tensor:
        """Runs one batch.

        batch: (n, 3, h, w) float32 0..1 RGB on the CPU; pixels that are not numbers count as black.
        Returns (n, 3, h * scale, w * scale) float32 0..1 on the CPU, which the caller owns; with buffers it is
        one of theirs, good until the next run with them.
        """
        scale = self.blueprint.spec.scale
        # Made outside inference mode, so that the caller may go on working in place.
        shape = (batch.shape[0], 3, batch.shape[2] * scale, batch.shape[3] * scale)
        result = (buffers or Buffers()).take("results", shape)
        with self._lock, torch.inference_mode():
            self.open()
            assert self._network is not None
            on_device = batch.to(self.device, copy=True).nan_to_num_(0.0, 1.0, 0.0).clamp_(0.0, 1.0)
            return result.copy_(self._network(on_device, fidelity)).clamp_(0.0, 1.0)

    def infer(self, inputs: Tensors) -> Tensors:
        """Runs one batch of a network that is not picture to picture.

        inputs: one tensor for each input, batch first, on the CPU. Returns the same of the outputs, floating ones
        in float32, which the caller owns.
        """
        with self._lock, torch.inference_mode():
            self.open()
            assert self._network is not None
            results = self._network(*(each.to(self.device) for each in inputs))
            found = tuple(each.float() if each.is_floating_point() else each for each in results)
        return tuple(torch.empty(each.shape, dtype=each.dtype).copy_(each) for each in found)
