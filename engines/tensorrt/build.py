"""Builds a TensorRT engine from an ONNX file, in a worker process: what a builder takes is bounded by nothing.

The network is strongly typed: its precision is the file's, since TensorRT 11 knows no flag for it. The workspace is
a filter of tactics, not a budget; what an engine takes when it runs is in its facts, exactly. Torch is not imported.
Names of TensorRT 10 and 11; those of version 1 of its memory interface are gone in 11.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DependencyError, ModelFileError, OutputError
from ..worker.child import RAM, Meter

# Scratch memory of one layer while tactics are compared, where the user's budget does not say less.
WORKSPACE = 512 << 20


@dataclass(frozen=True)
class EngineFacts:
    """What an engine takes, in bytes, as it says itself.

    memory: activations and scratch of one context. weights: all of them; streamable: those that may stay with the
    host and be streamed.
    """

    memory: int
    weights: int
    streamable: int


def loaded() -> Any:
    """The module tensorrt. Raises DependencyError."""
    try:
        import tensorrt
    except Exception as error:  # its libraries fail in many ways
        raise DependencyError(
            f"TensorRT does not load ({error}). It needs an NVIDIA card and its wheel for your CUDA: "
            "python -m pip install tensorrt-cu12 (or tensorrt-cu13)."
        ) from error
    return tensorrt


class BuildTask:
    """A worker's task whose loading is the whole work. What it takes is measured in RAM and bounded by nothing.

    settings: {"model": ONNX file, "engine": file to write, "timing": file of timings, shared by all engines,
    "progress": file to write the progress to, "workspace": bytes, "device": the card's index}.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._trt = loaded()

    @property
    def meter(self) -> Meter:
        return RAM

    def load(self) -> dict[str, int]:
        plan, facts = built(self._trt, self._settings)
        target = Path(self._settings["engine"])
        try:
            for path, content in ((target, plan), (facts_file(target), json.dumps(asdict(facts)).encode())):
                part = path.with_name(f"{path.name}.part")
                part.write_bytes(content)
                part.replace(path)
        except OSError as error:
            raise OutputError(f"The engine {target} cannot be written ({error.strerror or error}).") from error
        return asdict(facts)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(inputs)


def facts_file(engine: Path) -> Path:
    return engine.with_suffix(".json")


def built(trt: Any, settings: Mapping[str, Any]) -> tuple[bytes, EngineFacts]:
    """The engine's bytes and facts. Raises ModelFileError."""
    model = Path(settings["model"])
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly is None else 1 << int(strongly))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        reasons = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise ModelFileError(f"TensorRT cannot read {model.name}: {reasons}. Export it again, or use another engine.")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(settings["workspace"]))
    config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)
    config.progress_monitor = _monitor(trt, Path(settings["progress"]))
    timings = Path(settings["timing"])
    cache = config.create_timing_cache(timings.read_bytes() if timings.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=True)  # of another card or version: begins anew
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelFileError(
            f"TensorRT found no way to build {model.name} on this card; a workspace that is too small for one of its "
            "layers does this. Raise the budget, or use another engine."
        )
    timings.write_bytes(memoryview(config.get_timing_cache().serialize()))
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    return bytes(memoryview(plan)), facts_of(trt, engine)


def facts_of(trt: Any, engine: Any) -> EngineFacts:
    return EngineFacts(
        memory=int(engine.device_memory_size_v2),
        weights=int(engine.get_engine_stat(trt.EngineStat.TOTAL_WEIGHTS_SIZE)),
        streamable=int(engine.streamable_weights_size),
    )


def _monitor(trt: Any, file: Path) -> Any:
    """TensorRT tells it what it is doing; it writes the outermost phase's steps for the parent to read."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # tensorrt has no types
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._outermost = ""

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outermost, self._steps[phase_name] = phase_name, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self._outermost:
                file.write_text(json.dumps([phase_name, step + 1, self._steps[phase_name]]))
            return True  # go on: to stop, the process is ended

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
