"""TensorRT, opt-in: the one engine that says before its first run, to the byte, what it will take.

An engine belongs to a card, a version of TensorRT, a file and a precision, and is kept in the host's folder under a
name made of these. Its activations live in a tensor of torch, which torch's own limit covers; weights that the
budget has no room for are streamed from the host.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..catalog.spec import ModelSpec
from ..engines.host import Host
from ..engines.memory.cost import Cost
from ..engines.network import Model, Network, Tensors, Traits
from ..engines.tensorrt.build import WORKSPACE, BuildTask, EngineFacts, facts_file, loaded
from ..engines.worker.parent import Worker
from ..engines.worker.process import Patience
from ..errors import DependencyError, ModelFileError, SettingError
from .torch_model import TorchModel

# Tuning one layer may keep Python from running for minutes.
PATIENCE = Patience(start=3600.0, silent=900.0)
FOLDER = "tensorrt"
PRECISIONS = ("fp16", "fp32")
TENSORRT = Traits("TensorRT", is_exact=True)


@dataclass(frozen=True)
class Engine:
    """A built engine: its file, and what it takes."""

    path: Path
    facts: EngineFacts


@dataclass(frozen=True, eq=False)
class TensorRTModel(Model):
    """A face network as an engine. Not yet run on a card.

    `python3 dev.py bench gpu --only tensorrt` proves it where there is one.
    """

    spec: ModelSpec
    key: tuple[Any, ...]
    built: Engine
    traits: Traits = TENSORRT

    @property
    def _picture_bytes(self) -> int:
        size = self.spec.card.size
        assert size is not None
        return 3 * size * size * 4

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        facts = self.built.facts
        return facts.weights - facts.streamable  # the rest may be streamed, if need be all of it

    def activations(self, precision: str, device_type: str) -> Cost:
        return Cost(float(self.built.facts.memory + 2 * self._picture_bytes), 0.0)

    def load(self, device: torch.device, precision: str, limit: int) -> EngineNetwork:
        size = self.spec.card.size
        assert size is not None
        return EngineNetwork(self.built, device, size, limit)


def tensorrt_model(model: TorchModel, precision: str, host: Host, budget: int | None = None) -> TensorRTModel:
    """A face network as a TensorRT engine, built now if it is not there yet, which takes minutes.

    precision: "auto", "fp16" or "fp32". Raises SettingError, DependencyError, ModelFileError, OutputError.
    """
    spec = model.spec
    if not spec.card.is_face_restorer:
        raise SettingError(
            f"{spec.name} takes pictures of any size, and an engine of TensorRT is built for one. Choose the engine "
            "torch, or a face network."
        )
    if host.device().type != "cuda":
        raise SettingError(f"TensorRT runs on NVIDIA cards, and the device here is {host.device()}. Choose auto.")
    if precision == "auto":
        precision = next(name for name in PRECISIONS if name in spec.precisions)
    if precision not in PRECISIONS or precision not in spec.precisions:
        raise SettingError(f"{spec.name} cannot be built for TensorRT in {precision}. Choose auto.")
    built = built_engine(model, precision, host, budget)
    return TensorRTModel(replace(spec, precisions=(precision,), largest_batch=1), (*model.key, str(built.path)), built)


class EngineNetwork(Network):
    """An engine on a card, one picture at a time."""

    def __init__(self, engine: Engine, device: torch.device, size: int, limit: int) -> None:
        trt = loaded()
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(engine.path.read_bytes())
        if self._engine is None:
            raise ModelFileError(
                f"The engine {engine.path} does not load: the driver or TensorRT has changed. Delete it and build it "
                "again: python -m slimfusion engine build MODEL"
            )
        self._stream_weights(engine.facts, 2 * 3 * size * size * 4, limit)
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context: Any = self._engine.create_execution_context(strategy)
        needed = int(self._engine.device_memory_size_v2)
        self._memory = torch.empty(max(1, needed), dtype=torch.uint8, device=device)
        self._context.set_device_memory(self._memory.data_ptr(), needed)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        (self._input,) = inputs
        (self._output,) = [name for name in names if name not in inputs]
        self._result = torch.empty(1, 3, size, size, device=device)

    def _stream_weights(self, facts: EngineFacts, pictures: int, limit: int) -> None:
        """Keeps as many weights on the card as the limit has room for; 0 is no limit."""
        left = limit - facts.memory - pictures - (facts.weights - facts.streamable)
        if limit and left < facts.streamable:
            self._engine.weight_streaming_budget_v2 = max(0, left)

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        batch = inputs[0]
        picture = batch.contiguous()
        self._context.set_tensor_address(self._input, picture.data_ptr())
        self._context.set_tensor_address(self._output, self._result.data_ptr())
        stream = torch.cuda.current_stream(batch.device)
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("CUDA error: TensorRT could not run its engine")
        stream.synchronize()  # the picture may be freed now
        return (self._result,)

    def close(self) -> None:
        self._context = self._engine = None
        self._memory = self._result = torch.empty(0)


def built_engine(model: TorchModel, precision: str, host: Host, budget: int | None) -> Engine:
    """The engine of a network in a precision, from the host's folder or built into it."""
    folder = host.state_folder()
    if folder is None:
        raise DependencyError("There is no folder to keep an engine of TensorRT in: its folder must be writable.")
    folder = folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{engine_name(model, precision, host.device())}.engine"
    facts = _kept_facts(path)
    if facts is None:
        facts = _built(model, precision, path, host, budget)
    return Engine(path, facts)


def engine_name(model: TorchModel, precision: str, device: torch.device) -> str:
    """Says for whom an engine is: it runs on no other card and under no other version."""
    of = torch.cuda.get_device_properties(device)
    key = (*model.key, of.name, of.major, of.minor, loaded().__version__, precision)
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    return f"{Path(model.spec.name).stem}-{precision}-{digest}"


def _kept_facts(path: Path) -> EngineFacts | None:
    try:
        content = json.loads(facts_file(path).read_text())
        return EngineFacts(**content) if path.is_file() else None
    except (OSError, ValueError, TypeError):
        return None


def _built(model: TorchModel, precision: str, path: Path, host: Host, budget: int | None) -> EngineFacts:
    from .export import export

    onnx = path.with_suffix(".onnx")
    progress = path.with_suffix(".progress")
    host.progress("export", 0, 1)
    export(model, precision, onnx, batch=1)
    settings = {
        "model": str(onnx),
        "engine": str(path),
        "timing": str(path.parent / "timings.cache"),
        "progress": str(progress),
        "workspace": min(WORKSPACE, budget or WORKSPACE),
    }
    # The builder's host memory is not the budget's, which is for the card.
    worker = Worker(BuildTask, settings, name=model.spec.name, patience=PATIENCE)
    try:
        about = worker.start(_reporting(progress, host))
    finally:
        worker.close()
        for file in (onnx, progress):
            with contextlib.suppress(OSError):
                file.unlink()
    return EngineFacts(**about)


def _reporting(file: Path, host: Host) -> Callable[[], None]:
    """Passes on what the builder has written, and the user's wish to stop."""

    def look() -> None:
        host.check_interrupt()
        with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
            phase, done, total = json.loads(file.read_text())
            host.progress(f"build: {phase}", done, total)

    return look
