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
from typing import Any, Literal

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
    precision: fp32, fp16 or bf16. stream: address of the CUDA stream to work on; 0, which is also torch's default
    stream, lets onnxruntime make one of its own, and the caller must then synchronise. cache_folder: where
    compiled engines may be kept; "" for nowhere. as_plugin: the provider comes from a plugin wheel. on_cpu: OpenVINO
    on the processor instead of its graphics. system_refuses: the system keeps the whole process within the budget.
    """

    budget: int | None = None
    device_id: int = 0
    precision: str = "fp32"
    stream: int = 0
    cache_folder: str = ""
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

    enforced: an allocator refuses what goes beyond the budget; otherwise it is predicted and watched. limit says
    what exactly is bounded. plugin: the module of the wheel that brings it beside another onnxruntime.
    """

    key: str
    name: str
    title: str
    enforced: bool
    limit: str
    settings: Callable[[Request], Settings]
    plugin: str = ""

    @property
    def enforcement(self) -> Literal["enforced", "watched"]:
        return "enforced" if self.enforced else "watched"

    @property
    def plugin_wheel(self) -> str:
        return self.plugin.replace("_", "-")


def _on_stream(request: Request) -> Options:
    return {"user_compute_stream": str(request.stream)} if request.stream else {}


def _cuda_options(request: Request) -> Options:
    options = {
        "device_id": str(request.device_id),
        "arena_extend_strategy": "kSameAsRequested",  # doubling takes what nobody asked for
        # DEFAULT means cuDNN's fallback since 1.20, several times slower; EXHAUSTIVE tries with memory past the limit.
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "0",
        "do_copy_in_default_stream": "1",
        **_on_stream(request),
    }
    if request.budget is not None:
        options["gpu_mem_limit"] = str(request.budget)
    return options


def _cuda(request: Request) -> Settings:
    return Settings(
        (("CUDAExecutionProvider", _cuda_options(request)), (CPU_NAME, {})),
        {"enable_mem_pattern": False},  # its one large block comes on top of what the arena has
        last_run={SHRINK: f"gpu:{request.device_id}"},
    )


def _tensorrt(request: Request) -> Settings:
    """The provider of the GPU wheel, for TensorRT 10; nodes that it leaves go to CUDA."""
    options = {
        "device_id": str(request.device_id),
        "trt_context_memory_sharing_enable": "1",
        **_on_stream(request),
    }
    if request.precision in ("fp16", "bf16"):
        options[f"trt_{request.precision}_enable"] = "1"
    if request.budget is not None:
        options["trt_max_workspace_size"] = str(request.budget)  # a filter of tactics, no budget
    if request.cache_folder:
        for kind in ("engine", "timing"):
            options |= {f"trt_{kind}_cache_enable": "1", f"trt_{kind}_cache_path": request.cache_folder}
    cuda = _cuda(request)
    return Settings(
        (("TensorrtExecutionProvider", options), *cuda.providers), cuda.attributes, cuda.entries, cuda.last_run
    )


def _tensorrt_rtx(request: Request) -> Settings:
    """Compiles on the device in seconds; needs an RTX 30 or newer. A plugin's device is chosen, not numbered."""
    options = {} if request.as_plugin else {"device_id": str(request.device_id)}
    if request.stream:
        options |= {"has_user_compute_stream": "1", **_on_stream(request)}
    if request.budget is not None:
        options["nv_max_workspace_size"] = str(request.budget)  # of the build, no budget either
    if request.cache_folder:
        options["nv_runtime_cache_path"] = request.cache_folder
    return Settings((("NvTensorRTRTXExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


def _directml(request: Request) -> Settings:
    """DirectML has no option for memory; its pool can only be told to give back what is free."""
    return Settings(
        (("DmlExecutionProvider", {"device_id": str(request.device_id)}), (CPU_NAME, {})),
        {"enable_mem_pattern": False, "execution_mode": "ORT_SEQUENTIAL"},  # DirectML requires both
        {"ep.dml.disable_memory_arena": "1"},
    )


def _openvino(request: Request) -> Settings:
    """Its GPU computes in half precision unless told otherwise. A plugin takes its settings as OpenVINO's own."""
    device = "CPU" if request.on_cpu else "GPU"
    if request.as_plugin:
        config = {
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": {"fp16": "f16", "bf16": "bf16"}.get(request.precision, "f32"),
        }
        if request.cache_folder:
            config["CACHE_DIR"] = request.cache_folder
        options = {"load_config": json.dumps({device: config})}
    else:
        options = {
            "device_type": device if request.device_id == 0 else f"{device}.{request.device_id}",
            "precision": "FP16" if request.precision == "fp16" else "FP32",
            "num_streams": "1",
        }
        if request.cache_folder:
            options["cache_dir"] = request.cache_folder
    return Settings((("OpenVINOExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


def _webgpu(request: Request) -> Settings:
    options = {"powerPreference": "high-performance"}
    if request.budget is not None:
        options["storageBufferCacheMode"] = "lazyRelease"  # by default freed buffers are kept in buckets
    return Settings((("WebGpuExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


def _migraphx(request: Request) -> Settings:
    options = {"device_id": str(request.device_id), "migraphx_arena_extend_strategy": "kSameAsRequested"}
    if request.precision in ("fp16", "bf16"):
        options[f"migraphx_{request.precision}_enable"] = "1"
    if request.budget is not None:
        options["migraphx_mem_limit"] = str(request.budget)
    return Settings(
        (("MIGraphXExecutionProvider", options), (CPU_NAME, {})),
        {"enable_mem_pattern": False},
        last_run={SHRINK: f"gpu:{request.device_id}"},
    )


def _coreml(request: Request) -> Settings:
    """The Neural Engine computes in half precision only, so fp32 keeps to the CPU and the GPU."""
    options = {
        "ModelFormat": "MLProgram",
        "MLComputeUnits": "CPUAndGPU" if request.precision == "fp32" else "ALL",
        "RequireStaticInputShapes": "1",
    }
    return Settings((("CoreMLExecutionProvider", options), (CPU_NAME, {})), {"enable_mem_pattern": False})


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


_NO_LIMIT = "it has no limit of its own: predicted, watched from outside and backed off from"

PROVIDERS: dict[str, Provider] = {
    provider.key: provider
    for provider in (
        Provider(
            "cuda", "CUDAExecutionProvider", "CUDA", True,
            "the session's arena refuses more; the CUDA context and the libraries' handles are outside of it", _cuda,
        ),
        Provider("tensorrt", "TensorrtExecutionProvider", "TensorRT", False,
                 "the workspace size only filters tactics; weights and activations are outside of it", _tensorrt),
        Provider("tensorrt_rtx", "NvTensorRTRTXExecutionProvider", "TensorRT for RTX", False,
                 "the workspace size bounds the build alone", _tensorrt_rtx, "onnxruntime_ep_nv_tensorrt_rtx"),
        Provider("directml", "DmlExecutionProvider", "DirectML", False, _NO_LIMIT, _directml),
        Provider("openvino", "OpenVINOExecutionProvider", "OpenVINO", False, _NO_LIMIT, _openvino,
                 "onnxruntime_ep_openvino"),
        Provider("webgpu", "WebGpuExecutionProvider", "WebGPU", False, _NO_LIMIT, _webgpu, "onnxruntime_ep_webgpu"),
        Provider("migraphx", "MIGraphXExecutionProvider", "MIGraphX", False,
                 "its limit holds for the arena alone, not for what MIGraphX takes itself", _migraphx),
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
    providers that are installed. TensorRT stands behind CUDA, because no option bounds what its builder takes: it
    runs when it is asked for by name.
    """
    own = ["cuda", "tensorrt_rtx", "tensorrt", "migraphx"]
    common = ["openvino", "webgpu"] if machine.intel else ["webgpu", "openvino"]
    first = {"Windows": ["directml"], "Darwin": ["coreml"]}.get(machine.system, [])
    keys = [*first, *common, *own] if mode == "compatibility" else [*own, *first, *common]
    return [PROVIDERS[key] for key in [*(key for key in keys if key in offered), "cpu"]]
