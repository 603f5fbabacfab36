"""What works on this machine, what does not, and the command that mends it.

Facts are gathered in one place, `gathered`; what is said of them are pure functions. Nothing is installed, written
or fetched. It runs without torch and without onnxruntime: their absence is what it is asked about.
"""

from __future__ import annotations

import pkgutil
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from .. import opencv
from ..engines.drivers import dxgi, nvml
from ..engines.ort.probe import Probe, probe
from ..engines.ort.providers import PROVIDERS, Request, order, this_machine
from ..engines.ort.runtime import (
    Capability,
    Installation,
    installed,
    reinstall,
    runs_on,
    version_numbers,
)
from ..environment import pip
from ..errors import SlimFusionError
from .finding import Finding, State

Say = Callable[[str], None]

OLDEST_PYTHON = (3, 10)
GIB = 1 << 30
LITTLE_MEMORY = GIB  # below it the working size falls to 720p
TORCH_INDEX = "https://download.pytorch.org/whl"

# What is imported, what pip calls it, and what needs it ("" for everything).
PACKAGES = (
    ("numpy", "numpy", ""),
    ("cv2", "opencv-python", ""),
    ("packaging", "packaging", ""),
    ("safetensors", "safetensors", ""),
    ("torchvision", "torchvision", ""),
    ("spandrel", "spandrel", ""),
    ("mtcnn", "mtcnn==1.0.0", "the built-in face detector"),
    ("spandrel_extra_arches", "spandrel_extra_arches", "CodeFormer"),
)
OLD_DRIVER = "driver version is insufficient"  # of CUDA's error 35
WITHOUT_OPENCV = "all nodes run without it, slower on large pictures, and clips without their flicker being measured"
NOT_IMPORTED = ("mtcnn",)  # only its files are read; its code wants TensorFlow


@dataclass(frozen=True)
class Torch:
    """What torch says of itself. cuda, cudnn and capability are those of a card that it can use, else empty.

    version: "" where it does not load, with the error. device: the name of the first accelerator, "" without one.
    card: the NVIDIA card that its driver lists, "" without one; torch may not be able to use it.
    """

    version: str = ""
    built_for: str = ""
    cuda: str = ""
    cudnn: int = 0
    device: str = ""
    capability: Capability | None = None
    error: str = ""
    card: str = ""


@dataclass(frozen=True)
class Level:
    """What one meter sees. name: of the device and the meter. free is what this process could take now."""

    name: str
    total: int
    free: int


def examine(models: Callable[[], Iterable[Finding]], say: Say = lambda text: None) -> list[Finding]:
    """Looks at everything. models: what is said of model files; asked only where torch loads. say: what is next."""
    say("torch")
    torch, error = imported("torch")
    facts = torch_facts(torch) if torch is not None else Torch(error=error)
    facts = replace(facts, card=next((card.name for card in nvml.devices()), ""))
    findings = [python_finding(sys.version_info[:2], sys.maxsize > 1 << 32), *torch_findings(facts)]
    say("packages")
    for module, wheel, use in PACKAGES:
        findings.append(package_finding(module, wheel, use, wrong_with(module, wheel), facts.version))
    findings += shared_findings()
    say("onnxruntime")
    installation = installed()
    findings += onnxruntime_findings(installation, facts, platform.machine())
    ran: list[str] = []
    for provider in order("auto", this_machine(), installation.offered) if installation.usable else []:
        say(f"{provider.title}, in a process of its own")
        result = probe(provider, Request(as_plugin=provider.key in installation.plugins))
        findings.append(provider_finding(result, facts, installation, sys.platform))
        ran += [provider.key] if result.ran else []
    say("memory")
    try:
        findings += idle_cards([card.name for card in dxgi.adapters() if not card.software], facts, installation, ran)
        findings.append(memory_finding(levels(torch)))
    except SlimFusionError as error:
        findings.append(Finding("Memory", "advice", str(error)))
    say("models")
    return [*findings, *(models() if torch is not None else ())]


def shared_findings() -> list[Finding]:
    """What does not go together with other packs; nothing without the package that reads their lists."""
    if imported("packaging")[0] is None:
        return []
    from .other_packs import sharing_findings

    return sharing_findings()


def wrong_with(module: str, wheel: str) -> str:
    """What is wrong with a package; "" where nothing is."""
    if module in NOT_IMPORTED:
        return presence(module, wheel)
    loaded, error = imported(module)
    if module == "cv2" and loaded is not None and not hasattr(loaded, "warpAffine"):
        return "an empty folder is left of it, as after uninstalling one of two wheels"
    return error


def imported(name: str) -> tuple[Any, str]:
    """A module, or None and the first line of what its import raised."""
    try:
        return pkgutil.resolve_name(name), ""
    except Exception as error:  # native libraries raise what they like
        return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def presence(name: str, wheel: str) -> str:
    """What is wrong with a module that is not imported; "" where the version that `wheel` names is there."""
    if not find_spec(name):
        return f"ModuleNotFoundError: No module named '{name}'"
    wanted, version = wheel.partition("==")[2], metadata.version(name)
    return "" if version == wanted else f"version {version} instead of {wanted}"


def torch_facts(torch: Any) -> Torch:
    version, hip = str(torch.__version__), getattr(torch.version, "hip", None)
    cuda = str(torch.version.cuda or "")
    built_for = f"ROCm {hip}" if hip else f"CUDA {cuda}" if cuda else "XPU" if "+xpu" in version else "the CPU"
    facts = Torch(version, built_for)
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if hip:
            return replace(facts, device=name)
        cudnn = (torch.backends.cudnn.version() or 0) // 10000  # 91002 is 9.10.2
        return replace(facts, cuda=cuda, cudnn=cudnn, device=name, capability=torch.cuda.get_device_capability())
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return replace(facts, device=torch.xpu.get_device_name())
    return replace(facts, device="mps" if torch.backends.mps.is_available() else "")


def python_finding(version: tuple[int, ...], wide: bool) -> Finding:
    detail = f"{sys.executable}, {platform.system()} {platform.machine()}"
    title = f"Python {'.'.join(map(str, version))}"
    if not wide:
        return Finding(title, "problem", f"{detail}: torch is not built for a Python of 32 bits. Install one of 64.")
    if version < OLDEST_PYTHON:
        return Finding(title, "problem", f"{detail}: at least Python {'.'.join(map(str, OLDEST_PYTHON))} is needed.")
    return Finding(title, "ok", detail)


def torch_findings(torch: Torch) -> list[Finding]:
    """torch itself, and whether it uses the NVIDIA card that the driver lists."""
    index = f" --index-url {TORCH_INDEX}/cu130" if torch.card else ""
    if not torch.version:
        return [Finding("torch", "problem", f"does not load: {torch.error}.", pip(f"install torch torchvision{index}"))]
    title, where = f"torch {torch.version}", torch.device or "the CPU; no accelerator was found"
    if torch.card and not torch.device and torch.built_for == "the CPU":
        detail = f"is built for the CPU, and does not use the {torch.card}. Cards before the RTX 20 need cu126 instead."
        return [Finding(title, "advice", detail, pip(f"install --force-reinstall torch torchvision{index}"))]
    if torch.card and not torch.device:
        detail = f"is built for {torch.built_for} and does not find the {torch.card}"
        return [Finding(title, "problem", f"{detail}: update the driver, or see what CUDA_VISIBLE_DEVICES hides.")]
    if torch.capability is not None:
        where = f"{where}, compute capability {'.'.join(map(str, torch.capability))}, cuDNN {torch.cudnn}"
    return [Finding(title, "ok", f"built for {torch.built_for}, runs on {where}")]


def package_finding(module: str, wheel: str, use: str, error: str, torch_version: str) -> Finding:
    """use: what needs the package; "" for everything."""
    if not error:
        return Finding(module, "ok", "loads")
    missing = error.startswith("ModuleNotFoundError") and f"'{module}'" in error
    detail = "is not installed" if missing else f"does not load: {error}"
    if module == "cv2":
        return Finding(module, "advice", f"{detail}; {WITHOUT_OPENCV}", opencv.mend(list(opencv.owners())))
    if use:
        return Finding(module, "advice", f"{detail}; {use} needs it", pip(f"install {wheel}"))
    mend = pip(f"install {wheel}")
    if module == "torchvision":
        mend = torchvision_mend(torch_version)
    elif not missing:
        mend = pip(f"install --force-reinstall --no-deps {wheel}")
    return Finding(module, "problem", detail, mend)


def torchvision_mend(torch_version: str) -> str:
    """The torchvision that was built with a torch: 2.x belongs to 0.(x + 15), of the same patch and build."""
    number, _, build = torch_version.partition("+")
    parts = number.split(".")
    if len(parts) != 3 or parts[0] != "2" or not all(part.isdigit() for part in parts):
        return pip("install --upgrade torch torchvision")
    index = f" --index-url {TORCH_INDEX}/{build}" if build else ""
    return pip(f"install --force-reinstall --no-deps torchvision==0.{int(parts[1]) + 15}.{parts[2]}{index}")


def onnxruntime_findings(installation: Installation, torch: Torch, machine: str) -> list[Finding]:
    """The wheel, and whether a wheel for CUDA goes with torch and with the card."""
    if installation.state == "missing":
        return [Finding("onnxruntime", "advice", installation.sentence, installation.mend)]
    if not installation.usable:
        return [Finding("onnxruntime", "problem", installation.sentence, installation.mend)]
    title = f"onnxruntime {installation.version}"
    if installation.sentence:
        state: State = "problem" if installation.state == "doubled" else "advice"
        finding = Finding(title, state, installation.sentence, installation.mend)
        return [finding, *_cuda_findings(installation, torch, machine)]
    brought = ", ".join(PROVIDERS[key].title for key in installation.offered)
    detail = f"{' and '.join(map(str, installation.wheels)) or 'of unknown origin'}, with {brought}"
    return [Finding(title, "ok", detail), *_cuda_findings(installation, torch, machine)]


def _cuda_findings(installation: Installation, torch: Torch, machine: str) -> list[Finding]:
    if not installation.cuda or torch.capability is None:
        return []
    findings = []
    ours, theirs = installation.cuda.split(".")[0], torch.cuda.split(".")[0]
    same = f"torch {torch.cuda}, onnxruntime {installation.cuda}"
    if ours != theirs:
        detail = f"{same}: onnxruntime finds no libraries of its version and falls back to the CPU without an error."
        findings.append(Finding("CUDA", "problem", detail, reinstall(installation.wheels)))
    else:
        findings.append(Finding("CUDA", "ok", same))
    wanted = cudnn_of(installation.version)
    if torch.cudnn != wanted:
        brought = torch.cudnn or "of no version"
        detail = f"torch brings cuDNN {brought}, onnxruntime {installation.version} needs {wanted}."
        findings.append(Finding("cuDNN", "problem", detail, pip(f"install nvidia-cudnn-cu{ours}=={wanted}.*")))
    if machine in ("x86_64", "AMD64") and not runs_on(installation.version, torch.capability):
        detail = (
            f"onnxruntime-gpu {installation.version} holds no code for {torch.device} "
            f"(compute capability {'.'.join(map(str, torch.capability))})."
        )
        findings.append(Finding("Card", "problem", detail, reinstall(installation.wheels)))
    return findings


def cudnn_of(version: str) -> int:
    """The major version of cuDNN that a wheel for CUDA is linked with (onnxruntime's table of requirements)."""
    return 9 if version_numbers(version) >= (1, 19) else 8


def provider_finding(result: Probe, torch: Torch, installation: Installation, system: str) -> Finding:
    """system: as sys.platform. A provider that does not run is a problem where it is the one meant for the device."""
    provider = PROVIDERS[result.key]
    if result.ran:
        memory = "enforced" if provider.enforced else "watched" if result.is_watched else "predicted"
        return Finding(provider.title, "ok", f"runs; memory {memory}: {provider.limit}")
    card = torch.capability is not None or bool(torch.card)
    if result.key == "cuda" and not card:
        return Finding(provider.title, "ok", "does not run, and no NVIDIA card was found that it could use")
    meant = {"cuda": card, "directml": True, "cpu": True}.get(result.key, False)
    detail = f"does not run: {result.reason}"
    if OLD_DRIVER in result.reason:
        return Finding(provider.title, "problem", f"{detail}. Update the NVIDIA driver.")
    mend = provider_mend(result, installation, system)
    return Finding(provider.title, "problem" if meant else "advice", detail, mend)


def provider_mend(result: Probe, installation: Installation, system: str) -> str:
    """The command for a provider that did not run; "" where no command helps."""
    provider, linux = PROVIDERS[result.key], system == "linux"
    if "below the minimum required version" in result.reason:
        return pip(f"install --upgrade {installation.wheels[0].name if installation.wheels else 'onnxruntime'}")
    if result.key in ("cuda", "cpu"):
        return reinstall(installation.wheels)
    if provider.plugin and "does not load" in result.reason:
        return pip(f"install --force-reinstall --no-deps {provider.plugin_wheel}")
    if result.key == "webgpu" and linux:
        return "sudo apt install libvulkan1 mesa-vulkan-drivers"
    return "sudo apt install intel-opencl-icd" if result.key == "openvino" and linux else ""


def idle_cards(names: Sequence[str], torch: Torch, installation: Installation, ran: Sequence[str]) -> list[Finding]:
    """Advice where there are graphics cards that nothing computes on. ran: keys of the providers that did."""
    if not names or torch.device or set(ran) - {"cpu"} or "webgpu" in installation.plugins:
        return []
    wheels = "onnxruntime-ep-webgpu" if installation.usable else "onnxruntime onnxruntime-ep-webgpu"
    detail = f"{' and '.join(names)}: nothing that is installed computes on it; WebGPU can, for .onnx models"
    return [Finding("Graphics", "advice", detail, pip(f"install {wheels}"))]


def levels(torch: Any) -> list[Level]:
    """What every meter sees that works here: torch's, the NVIDIA driver's and Windows'. Raises DeviceError."""
    loaded = []
    if torch is not None:
        from ..engines.host import best_device
        from ..engines.memory import meter

        for device in dict.fromkeys((best_device(), torch.device("cpu"))):
            total, free = meter.total_and_free(device)
            name = "RAM" if device.type == "cpu" else f"{meter.device_name(device)}, by torch"
            loaded.append(Level(name, total, free))
    for card in nvml.devices():
        if (bytes_of := nvml.device_bytes(card.index)) is not None:
            loaded.append(Level(f"{card.name}, by its driver", bytes_of[0], bytes_of[0] - bytes_of[1]))
    for index, adapter in enumerate(dxgi.adapters()):
        if not adapter.software:
            usage = dxgi.usage(index)
            loaded.append(Level(f"{adapter.name}, as Windows lets us", usage.budget, usage.budget - usage.used_local))
    return loaded


def memory_finding(seen: Sequence[Level]) -> Finding:
    lines = [f"{level.name}: {level.free / GIB:.1f} of {level.total / GIB:.1f} GiB free" for level in seen]
    little = [level.name for level in seen if level.free < LITTLE_MEMORY]
    if not little:
        return Finding("Memory", "ok", "\n".join(lines) or "no meter works here")
    lines.append(f"Less than 1 GiB is free on {' and '.join(little)}: close what is not needed.")
    return Finding("Memory", "advice", "\n".join(lines))


def summary(findings: Sequence[Finding]) -> str:
    problems, advice = (sum(finding.state == state for finding in findings) for state in ("problem", "advice"))
    if not problems and not advice:
        return "Everything that was looked at works."
    return f"{problems} {'problem' if problems == 1 else 'problems'}, {advice} to consider."


def as_text(findings: Sequence[Finding]) -> str:
    """The findings for people: the state, what it is, and the command below it."""
    lines = []
    for finding in findings:
        first, *rest = finding.detail.splitlines() or [""]
        lines.append(f"{finding.state:<8} {finding.title}: {first}")
        lines += [f"         {line}" for line in rest]
        lines += [f"         > {line}" for line in finding.mend.splitlines()]
    return "\n".join([*lines, summary(findings)])


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    ok = not any(finding.state == "problem" for finding in findings)
    return {"ok": ok, "summary": summary(findings), "findings": [asdict(finding) for finding in findings]}
