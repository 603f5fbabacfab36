"""ONNX networks that are open: a module of torch, or a session of onnxruntime in this process or in a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engines.memory.budget import GIB
from ..engines.network import Network, Tensors
from ..engines.onnx.file import OnnxGraph
from ..engines.ort import runtime
from ..engines.ort.providers import PROVIDERS, Provider, Request
from ..engines.ort.task import OnnxTask
from ..engines.worker.parent import Worker
from ..engines.worker.process import never_stop

# A limit of so many times the weights, and a GiB, has room for blocks that a worker keeps though they are free.
ROOMY = 8


class GraphNetwork(Network):
    """A rebuilt graph on a device, called in its card's way."""

    def __init__(self, forward: Callable[[Tensors, float], Tensors]) -> None:
        self._forward: Callable[[Tensors, float], Tensors] | None = forward

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        assert self._forward is not None
        return self._forward(inputs, fidelity)

    def close(self) -> None:
        self._forward = None


def opened(graph: OnnxGraph, provider: Provider, limit: int) -> CudaSession | WorkerSession:
    """A session of onnxruntime. limit: bytes that it stays within, 0 for none. Raises what a worker raises."""
    if provider.key == "cuda":
        return CudaSession(graph.path, limit)
    frugal = 0 < limit < ROOMY * graph.parameters * torch.float32.itemsize + GIB
    return WorkerSession(graph.path, provider, limit, provider.key in runtime.installed().plugins, frugal)


class RuntimeNetwork(GraphNetwork):
    """A session of onnxruntime, called in its card's way."""

    def __init__(self, forward: Callable[[Tensors, float], Tensors], session: CudaSession | WorkerSession) -> None:
        super().__init__(forward)
        self._session = session

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        results = super().run(inputs, fidelity)
        self.outside_peak = self._session.outside_peak
        return results

    def interrupt_with(self, check: Callable[[], None]) -> None:
        if isinstance(self._session, WorkerSession):
            self._session.check_interrupt = check

    def close(self) -> None:
        super().close()
        self._session.close()


class WorkerSession:
    """A session in a process of its own; takes and gives tensors on the CPU. check_interrupt: asked while waiting."""

    check_interrupt: Callable[[], None] = staticmethod(never_stop)

    def __init__(self, path: Path, provider: Provider, limit: int, as_plugin: bool, frugal: bool) -> None:
        request = {"budget": limit, "as_plugin": as_plugin}
        settings = {"model": str(path), "provider": provider.key, "request": request}
        self._worker = Worker(OnnxTask, settings, limit or None, frugal=frugal)
        self._worker.start()

    @property
    def outside_peak(self) -> int:
        return self._worker.peak_bytes

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        arrays = self._worker.run([np.ascontiguousarray(array.numpy()) for array in inputs], self.check_interrupt)
        return tuple(torch.from_numpy(array) for array in arrays)

    def close(self) -> None:
        self._worker.close()


class CudaSession:
    """A session on the card that torch is on: it reads torch's memory there, and its results go to the CPU."""

    outside_peak = 0

    def __init__(self, path: Path, limit: int) -> None:
        device = torch.cuda.current_device()
        request = Request(limit or None, device, stream=torch.cuda.current_stream().cuda_stream)
        provider = PROVIDERS["cuda"]
        self._session: Any = runtime.open_session(str(path), provider, request)
        self._device = device
        self._run = runtime.loaded().RunOptions()
        for name, value in provider.settings(request).last_run.items():
            self._run.add_run_config_entry(name, value)

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        binding = self._session.io_binding()
        held_inputs = [tensor.contiguous() for tensor in inputs]
        for port, tensor in zip(self._session.get_inputs(), held_inputs, strict=True):
            dtype = str(tensor.dtype).removeprefix("torch.")
            binding.bind_input(port.name, "cuda", self._device, dtype, tuple(tensor.shape), tensor.data_ptr())
        for port in self._session.get_outputs():
            binding.bind_output(port.name, "cuda", self._device)
        torch.cuda.current_stream().synchronize()  # the session may work on a stream of its own
        self._session.run_with_iobinding(binding, self._run)
        return tuple(torch.from_numpy(array) for array in binding.copy_outputs_to_cpu())

    def close(self) -> None:
        self._session = None
