"""Virtual environments for providers of onnxruntime: two of its wheels in one environment overwrite one another.

They lie in the cache folder, outside the repository, hold what a worker process needs and no torch, and are kept.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...distill.perceptual import cache_folder
from ...engines.drivers import nvml

ROOT = Path(__file__).resolve().parents[2]
WORKER_NEEDS = ("numpy", "psutil")
HERE = ""  # the environment that this runs in

# Draws on the processor, and comes with Chromium: WebGPU runs on it where there is no card.
SWIFTSHADER = (
    Path("/usr/lib/chromium/vk_swiftshader_icd.json"),
    Path("/usr/lib64/chromium-browser/vk_swiftshader_icd.json"),
    Path("/opt/google/chrome/vk_swiftshader_icd.json"),
)
ICD = "VK_ICD_FILENAMES"  # where Vulkan's loader finds its drivers


class Unavailable(Exception):
    """A provider cannot be had here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """Where a provider runs.

    name: of the row and of its folder. wheel: what pip is given, HERE for this environment. provider: its key.
    as_plugin: the wheel stands beside onnxruntime's own. on_cpu: OpenVINO on the processor. systems: of
    platform.system() that the wheel is made for, none for all.
    """

    name: str
    wheel: str
    provider: str
    as_plugin: bool = False
    on_cpu: bool = False
    systems: tuple[str, ...] = ()


ENVIRONMENTS = (
    Environment("CPU", HERE, "cpu"),
    Environment("CUDA", "onnxruntime-gpu[cuda,cudnn]", "cuda"),
    Environment("OpenVINO, plugin, processor", "onnxruntime-ep-openvino", "openvino", as_plugin=True, on_cpu=True),
    Environment("OpenVINO, plugin, graphics", "onnxruntime-ep-openvino", "openvino", as_plugin=True),
    Environment("OpenVINO, wheel, processor", "onnxruntime-openvino", "openvino", on_cpu=True),
    Environment("WebGPU", "onnxruntime-webgpu", "webgpu"),
    Environment("WebGPU, plugin", "onnxruntime-ep-webgpu", "webgpu", as_plugin=True),
    Environment("DirectML", "onnxruntime-directml", "directml", systems=("Windows",)),
    Environment("CoreML", HERE, "coreml", systems=("Darwin",)),
)


def python_of(environment: Environment, system: str) -> Path:
    """The Python of an environment, made if it is not there. Raises Unavailable."""
    if environment.systems and system not in environment.systems:
        raise Unavailable(f"is for {' and '.join(environment.systems)}")
    if environment.provider == "cuda" and not nvml.devices():
        raise Unavailable("needs an NVIDIA card")  # and gigabytes of libraries
    if environment.wheel == HERE:
        return Path(sys.executable)
    folder = cache_folder() / "providers" / environment.wheel.partition("[")[0]
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed.json"
    wheels = (*(("onnxruntime",) if environment.as_plugin else ()), environment.wheel, *WORKER_NEEDS)
    if done.exists() and json.loads(done.read_text()) == list(wheels):
        return python
    print(f"making {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    _pip(python, wheels)
    done.write_text(json.dumps(wheels))
    return python


def _pip(python: Path, wheels: tuple[str, ...]) -> None:
    """Installs wheels, numpy as here so that files of arrays are read alike. Raises Unavailable."""
    pinned = [f"numpy=={importlib.metadata.version('numpy')}" if each == "numpy" else each for each in wheels]
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *pinned]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        lines = [line for line in result.stdout.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise Unavailable(f"could not be installed: {lines[-1]}")


def variables(environment: Environment, given: Mapping[str, str]) -> dict[str, str]:
    """The environment's variables; WebGPU draws on the processor where there is no card and no driver was named."""
    result = dict(given)
    if environment.provider == "webgpu" and ICD not in given and not has_card():
        driver = next((path for path in SWIFTSHADER if path.exists()), None)
        if driver is not None:
            result[ICD] = str(driver)
    return result


def has_card() -> bool:
    """Whether Linux knows a graphics card; elsewhere there always is one."""
    devices = Path("/dev")
    return sys.platform != "linux" or any([*devices.glob("dri/renderD*"), *devices.glob("nvidia[0-9]*")])


def command(python: Path, module: str) -> list[str]:
    """Runs `serve` of a module of this package, such as "bench.engines.provider_child", in another environment."""
    folder = str(ROOT / "engines" / "worker")
    start = f"import sys; sys.path.insert(0, {folder!r}); import bootstrap; bootstrap.load_package()"
    return [str(python), "-c", f"{start}; bootstrap.member({module + ':serve'!r})()"]
