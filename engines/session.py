"""A network on a device in a precision, open or closed: the host may take its memory back between two runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from .buffers import Buffers
from .interruptible import interruptible
from .network import Loaded, Model, Tensors, runnable


class Session:
    """A model on one device in one precision, open or closed any number of times.

    patcher: the host's, what it needs to count and evict this session.
    limit: bytes that it was opened to stay within.
    leases: how many runs use it now.
    """

    def __init__(self, model: Model, device: torch.device, precision: str) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.weight_bytes = model.weight_bytes(precision, device)
        self.times_opened = 0
        self.limit = 0
        self.leases = 0
        self.patcher: Any = None
        self._network: Loaded | None = None
        self._check: Callable[[], None] | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"Session({self.model.spec.name}, {self.precision} on {self.device}, {state})"

    @property
    def is_open(self) -> bool:
        return self._network is not None

    @property
    def resident_bytes(self) -> int:
        return self.weight_bytes if self.is_open else 0

    def open(self) -> Loaded:
        """The network, loaded unless it is there. Raises what `Model.load` raises."""
        with self._lock:
            if self._network is None:
                self._network = self.model.load(self.device, self.precision, self.limit)
                self.times_opened += 1
            return self._network

    @property
    def outside_peak(self) -> int:
        """Bytes that the last run took in a process beside this one."""
        return 0 if self._network is None else self._network.outside_peak

    def interrupt_with(self, check: Callable[[], None]) -> None:
        """Lets `check`, which raises to stop, end a run: between two operations, or while another process works."""
        self._check = check
        if self._network is not None:
            self._network.interrupt_with(check)

    def stay_within(self, limit: int) -> None:
        """Makes `limit` bytes hold from the next opening on, which is due now where the engine has a wider one."""
        with self._lock:
            if self.model.traits.takes_limit:
                if self.is_open and limit >= self.limit:
                    return
                self.close()
            self.limit = limit

    def close(self) -> None:
        """Drops the network; waits for a run that is under way in another thread."""
        with self._lock:
            if self._network is not None:
                self._network.close()
                self._network = None

    def run(self, batch: torch.Tensor, fidelity: float, buffers: Buffers | None = None) -> torch.Tensor:
        """Runs one batch of pictures.

        batch: (n, 3, h, w) float32 0..1 RGB on the CPU; pixels that are not numbers count as black.
        Returns (n, 3, h * scale, w * scale) float32 0..1 on the CPU, which the caller owns; with buffers it is
        one of theirs, good until the next run with them.
        """
        scale = self.model.spec.scale
        # Made outside inference mode, so that the caller may go on working in place.
        shape = (batch.shape[0], 3, batch.shape[2] * scale, batch.shape[3] * scale)
        result = (buffers or Buffers()).take("results", shape)
        with self._lock, torch.inference_mode(), interruptible(self.device, self._check):
            on_device = batch.to(self.device, copy=True).nan_to_num_(0.0, 1.0, 0.0).clamp_(0.0, 1.0)
            (picture,) = runnable(self.open()).run((on_device,), fidelity)
            return result.copy_(picture).clamp_(0.0, 1.0)

    def infer(self, inputs: Tensors) -> Tensors:
        """Runs one batch of a network that is not picture to picture.

        inputs: one tensor for each input, batch first, on the CPU. Returns the same of the outputs, floating ones
        in float32, which the caller owns.
        """
        with self._lock, torch.inference_mode(), interruptible(self.device, self._check):
            results = runnable(self.open()).run(tuple(tensor.to(self.device) for tensor in inputs), 0.0)
            outputs = tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in results)
        return tuple(torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor) for tensor in outputs)
