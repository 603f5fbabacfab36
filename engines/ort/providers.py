"""What onnxruntime's execution providers are asked for, one function a provider, as plain values.

Nothing is imported here, so that a child process can read the table without torch. Options are strings, as
onnxruntime takes them. A limit holds only where a provider is `enforced`: DirectML and session entries swallow
unknown keys without an error, so that a setting that did not fail has proven nothing.
Facts from the providers' documentation and from the option names in the released wheels.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Options = dict[str, str]

CPU_NAME = "CPUExecutionProvider"
SHRINK = "memory.enable_memory_arena_shrinkage"
OUTSIDE_ARENA = 24 << 20  # bytes of the process that no allocator serves: code, stacks, shared frames (16 measured)
ARENA_BLOCK = 256  # bytes; a limit below its block is none
SAME_AS_REQUESTED = 1  # of onnxruntime's ArenaExtendStrategy, where it takes a number


@dataclass(frozen=True)
class Request:
    """What a session is wanted for.

    budget: bytes that the session's own memory may take, the device context not counted; None for no limit.
    stream: address of the CUDA stream to work on; 0, which is also torch's default stream, lets onnxruntime make one
    of its own, and the caller must then synchronise. as_plugin: the provider comes from a plugin wheel. on_cpu:
    OpenVINO on the processor instead of its graphics. system_refuses: the system keeps the whole process within the
    budget.
    """

    budget: int | None = None
    device_id: int = 0
    stream: int = 0
    as_plugin: bool = False
    on_cpu: bool = False
    system_refuses: bool = False


@dataclass(frozen=True)
class Settings:
    """What to give to onnxruntime for a session.

    providers: (name, options) in the order of preference, the CPU last. attributes: of SessionOptions.
    entries: for add_session_config_entry. last_run: entries of the last run's RunOptions, which give the arena
    back. cpu_arena: of the OrtArenaCfg to register for the CPU before the session is made, or None.
    """

    providers: tuple[tuple[str, Options], ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    entries: Options = field(default_factory=dict)
    last_run: Options = field(default_factory=dict)
    cpu_arena: dict[str, int] | None = None


@dataclass(frozen=True)
class Provider:
    """A provider, and how far its memory can be kept.

    enforced: an allocator refuses what goes beyond the budget; otherwise it is predicted, and watched where the memory
    can be read. limit: what exactly is bounded. plugin: the module of the wheel that brings it beside another
    onnxruntime.
    """

    key: str
    name: str
    title: str
    enforced: bool
    limit: str
    settings: Callable[[Request], Settings]
    plugin: str = ""

    def uses_gpu(self, request: Request) -> bool:
        """Whether it computes on a card, whose memory counts instead of this machine's RAM."""
        return self.key != "cpu" and not request.on_cpu

    @property
    def plugin_wheel(self) -> str:
        return self.plugin.replace("_", "-")


def _cuda(request: Request) -> Settings:
    options = {
        "device_id": str(request.device_id),
        "arena_extend_strategy": "kSameAsRequested",  # doubling takes what nobody asked for
        # DEFAULT means cuDNN's fallback since 1.20, several times slower; EXHAUSTIVE tries with memory past the limit.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if request.stream:
        options["user_compute_stream"] = str(request.stream)
    if request.budget is not None:
        options["gpu_mem_limit"] = str(request.budget)
    return Settings(
        (("CUDAExecutionProvider", options), (CPU_NAME, {})),
        {"enable_mem_pattern": False},  # its one large block comes on top of what the arena has
        last_run={SHRINK: f"gpu:{request.device_id}"},
    )


def _directml(request: Request) -> Settings:
    """DirectML has no option for memory; its pool can only be told to give back what is free."""
    return Settings(
        (("DmlExecutionProvider", {"device_id": str(request.device_id)}), (CPU_NAME, {})),
        {"enable_mem_pattern": False, "execution_mode": "ORT_SEQUENTIAL"},  # DirectML requires both
        {"ep.dml.disable_memory_arena": "1"},
    )


def _openvino(request: Request) -> Settings:
    """Computes in half precision unless told otherwise, on graphics and on newer processors alike.

    A plugin's device is chosen, and its settings are OpenVINO's own; the wheel takes both as options.
    """
    device = "CPU" if request.on_cpu else "GPU"
    options = {"device_type": device, "precision": "FP32"}
    if request.as_plugin:
        options = {"load_config": json.dumps({device: {"INFERENCE_PRECISION_HINT": "f32"}})}
    return Settings((("OpenVINOExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


def _webgpu(request: Request) -> Settings:
    options = {"powerPreference": "high-performance"}
    if request.budget is not None:
        options["storageBufferCacheMode"] = "lazyRelease"  # by default freed buffers are kept in buckets
    return Settings((("WebGpuExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


def _coreml(request: Request) -> Settings:
    """The Neural Engine computes in half precision only, so it is left out."""
    return Settings((("CoreMLExecutionProvider", {"MLComputeUnits": "CPUAndGPU"}), (CPU_NAME, {})))


def _cpu(request: Request) -> Settings:
    """The system's heap, which wastes less, or with a budget that the system does not keep an arena that refuses more.

    With a budget all stays in one layout: weights and pictures in blocks of channels are a tenth faster, but stand
    beside the others (for GFPGAN 390 against 309 MiB beside the weights).
    """
    attributes: dict[str, Any] = {"enable_mem_pattern": False, "enable_cpu_mem_arena": False}
    if request.budget is None:
        return Settings(((CPU_NAME, {}),), attributes)
    attributes["graph_optimization_level"] = "ORT_ENABLE_EXTENDED"
    if request.system_refuses:
        return Settings(((CPU_NAME, {}),), attributes)
    return Settings(
        ((CPU_NAME, {}),),
        {**attributes, "enable_cpu_mem_arena": True},
        {"session.use_env_allocators": "1"},
        {SHRINK: "cpu:0"},
        {"max_mem": max(ARENA_BLOCK, request.budget - OUTSIDE_ARENA), "arena_extend_strategy": SAME_AS_REQUESTED},
    )


_NO_LIMIT = "it has no limit of its own; a run that is seen to pass the budget is ended"

PROVIDERS: dict[str, Provider] = {
    provider.key: provider
    for provider in (
        Provider(
            "cuda", "CUDAExecutionProvider", "CUDA", True,
            "the session's arena refuses more; the CUDA context and the libraries' handles are outside of it", _cuda,
        ),
        Provider("directml", "DmlExecutionProvider", "DirectML", False, _NO_LIMIT, _directml),
        Provider("openvino", "OpenVINOExecutionProvider", "OpenVINO", False, _NO_LIMIT, _openvino,
                 "onnxruntime_ep_openvino"),
        Provider("webgpu", "WebGpuExecutionProvider", "WebGPU", False, _NO_LIMIT, _webgpu, "onnxruntime_ep_webgpu"),
        Provider("coreml", "CoreMLExecutionProvider", "CoreML", False, _NO_LIMIT, _coreml),
        Provider("cpu", CPU_NAME, "CPU", True,
                 "the system or an arena refuses more; weights that are packed anew count", _cpu),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """What the order depends on. system: as platform.system() names it. intel: the processor is Intel's."""

    system: str
    intel: bool


def this_machine() -> Machine:
    name = platform.processor()
    if platform.system() == "Linux":  # there it is empty, or the architecture
        name = Path("/proc/cpuinfo").read_text(errors="replace")
    return Machine(platform.system(), "GenuineIntel" in name)


def order(mode: str, machine: Machine, offered: Collection[str]) -> list[Provider]:
    """The providers to try, best first, the CPU always last.

    mode: compatibility goes to what runs on any card first; all others to the card's own. offered: keys of the
    providers that are installed.
    """
    common = ["openvino", "webgpu"] if machine.intel else ["webgpu", "openvino"]
    first = {"Windows": ["directml"], "Darwin": ["coreml"]}.get(machine.system, [])
    keys = [*first, *common, "cuda"] if mode == "compatibility" else ["cuda", *first, *common]
    return [PROVIDERS[key] for key in [*(key for key in keys if key in offered), "cpu"]]
