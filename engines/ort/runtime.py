"""The only door to onnxruntime: what is installed under that name, what is wrong with it, and sessions.

onnxruntime is never required. Several wheels bring the same module and overwrite one another's files; taking one
of them away leaves a folder that imports and holds nothing. What is found is said in a sentence, with the command
that mends it; nothing is ever installed from here.
"""

from __future__ import annotations

import contextlib
import pkgutil
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Literal

from ...environment import forbid_telemetry, pip
from ...errors import DependencyError, DeviceError
from .providers import PROVIDERS, Provider, Request, Settings

State = Literal["usable", "old", "doubled", "empty", "broken", "missing"]

WHEELS_BEGIN_WITH = ("onnxruntime", "ort")
FATAL = 4  # of onnxruntime's severities of what it prints
# Windows has no runtime of Visual C++ of its own, and an old one does not load what newer compilers made.
VISUAL_C = "winget install --exact --id Microsoft.VCRedist.2015+.x64"
# Provider libraries are registered in a process once, under a name of their own.
REGISTERED_AS = "slimfusion.{}"

Capability = tuple[int, int]


@dataclass(frozen=True)
class Wheel:
    """An installed distribution that owns files of the module `onnxruntime`."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Installation:
    """What is installed as `onnxruntime`.

    version, cuda and providers are empty where nothing loads; providers are those that it lists, which is no promise
    that they run. plugins: keys of the providers whose plugin wheel is there. sentence: what is wrong, "" where
    nothing is. mend: the command that mends it, one a line.
    """

    state: State
    wheels: tuple[Wheel, ...] = ()
    version: str = ""
    cuda: str = ""
    providers: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    sentence: str = ""
    mend: str = ""

    @property
    def usable(self) -> bool:
        return self.state in ("usable", "old", "doubled")

    @property
    def offered(self) -> tuple[str, ...]:
        """Keys of the providers that may be tried."""
        listed = (key for key, provider in PROVIDERS.items() if provider.name in self.providers)
        return tuple(dict.fromkeys((*listed, *self.plugins)))


def installed() -> Installation:
    """Looks at the wheels and imports the module, with whatever comes of it."""
    wheels = owners()
    module, error = _imported()
    if module is None or not hasattr(module, "InferenceSession"):
        return _unusable(wheels, module, error)
    has_plugins = hasattr(module, "get_ep_devices")
    facts: dict[str, Any] = {
        "wheels": wheels,
        "version": str(module.__version__),
        "cuda": str(getattr(module, "cuda_version", "") or ""),
        "providers": tuple(module.get_available_providers()),
        "plugins": plugin_keys() if has_plugins else (),
    }
    if len(wheels) > 1:
        names = " and ".join(map(str, wheels))
        sentence = f"{names} own the same module, onnxruntime, and overwrite one another: which one runs is chance."
        return Installation("doubled", **facts, sentence=sentence, mend=reinstall(wheels))
    if not has_plugins:
        sentence = f"onnxruntime {module.__version__} works, but cannot load plugin providers such as WebGPU."
        return Installation("old", **facts, sentence=sentence, mend=pip(f"install --upgrade {_named(wheels)}"))
    return Installation("usable", **facts)


def _unusable(wheels: tuple[Wheel, ...], module: Any, error: Exception | None) -> Installation:
    names = " and ".join(map(str, wheels)) or "no wheel"
    if module is not None:
        where = ", ".join(getattr(module, "__path__", [])) or "an unknown place"
        sentence = (
            f"The module onnxruntime is an empty folder ({where}; owned by {names}): "
            "uninstalling one of two wheels leaves it like that."
        )
        return Installation("empty", wheels, sentence=sentence, mend=reinstall(wheels))
    if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime" and not wheels:
        sentence = "onnxruntime is not installed. Torch runs .onnx models too; compatibility mode needs it."
        return Installation("missing", sentence=sentence, mend=pip(f"install {fitting_wheel()}"))
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    sentence = f"onnxruntime ({names}) is installed but does not load: {type(error).__name__}: {first}."
    mend = VISUAL_C if sys.platform == "win32" and "DLL load failed" in first else reinstall(wheels)
    return Installation("broken", wheels, sentence=sentence, mend=mend)


def loaded() -> Any:
    """The module onnxruntime. Raises DependencyError with what is wrong and how to mend it."""
    module, _ = _imported()
    if module is None or not hasattr(module, "InferenceSession"):
        installation = installed()
        raise DependencyError(f"{installation.sentence} Type: {installation.mend.replace(chr(10), ', then ')}")
    return module


def _imported() -> tuple[Any, Exception | None]:
    forbid_telemetry()
    try:
        import onnxruntime
    except Exception as error:  # native libraries, other versions of numpy: there is no end to what comes here
        return None, error
    return onnxruntime, None


@cache
def owners() -> tuple[Wheel, ...]:
    """The wheels that bring the module onnxruntime, by name; looked for once, as it is imported once."""
    versions = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "")
        if name.lower().startswith(WHEELS_BEGIN_WITH) and _owns(distribution):
            versions[name.lower().replace("_", "-")] = distribution.version
    return tuple(Wheel(name, version) for name, version in sorted(versions.items()))


def _owns(distribution: metadata.Distribution) -> bool:
    return any(file.parts[:2] == ("onnxruntime", "capi") for file in distribution.files or [])


def plugin_keys() -> tuple[str, ...]:
    return tuple(key for key, provider in PROVIDERS.items() if provider.plugin and find_spec(provider.plugin))


def reinstall(wheels: tuple[Wheel, ...]) -> str:
    """Takes all of them away and puts one in their place; in any other order files are missing at the end."""
    names = " ".join(wheel.name for wheel in wheels) or "onnxruntime"
    return f"{pip(f'uninstall -y {names}')}\n{pip(f'install --no-cache-dir {fitting_wheel()}')}"


def _named(wheels: tuple[Wheel, ...]) -> str:
    return wheels[0].name if wheels else "onnxruntime"


def fitting_wheel() -> str:
    """What to give to pip on this machine; asks torch for the card when it is loaded."""
    torch: Any = sys.modules.get("torch")
    cuda = getattr(getattr(torch, "version", None), "cuda", None) or ""
    capability = torch.cuda.get_device_capability() if cuda and torch.cuda.is_available() else None
    return wheel_for(sys.platform, cuda, capability)


def wheel_for(system: str, cuda: str, capability: Capability | None) -> str:
    """system: as sys.platform. cuda: torch's, "" without. capability: the card's, None where there is none."""
    if capability is not None and capability >= (6, 0):
        if not cuda.startswith("13"):
            return '"onnxruntime-gpu<1.27"'  # the last ones for CUDA 12
        # Beside a torch for CUDA 13 those need CUDA 12 of their own.
        return "onnxruntime-gpu" if runs_on("1.27", capability) else '"onnxruntime-gpu[cuda,cudnn]<1.27"'
    return "onnxruntime-directml" if system == "win32" else "onnxruntime"


def runs_on(version: str, capability: Capability) -> bool:
    """Whether the wheel onnxruntime-gpu of a version has code for a card.

    Read with cuobjdump from 1.26.0 (CUDA 12, with PTX of 9.0) and 1.31.1 (CUDA 13, without PTX). Machine code runs
    on the same generation at the same or a later step; PTX on everything later.
    """
    if version_numbers(version) >= (1, 27):
        built_for, ptx = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)], None
    else:
        built_for, ptx = [(6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)], (9, 0)
    same = any(major == capability[0] and minor <= capability[1] for major, minor in built_for)
    return same or (ptx is not None and capability >= ptx)


def version_numbers(version: str) -> tuple[int, int]:
    """(1, 32) of "1.32.0"; (0, 0) where there are no numbers."""
    parts = [part for part in version.split(".")[:2] if part.isdigit()]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else (0, 0)


def open_session(
    model: bytes | str,
    provider: Provider,
    request: Request,
    alone: bool = False,
) -> Any:
    """An InferenceSession whose first provider is `provider`, with its settings.

    model: the file's bytes or its path. alone: no other provider may take a part of the network. Raises DependencyError
    where onnxruntime, the provider or its plugin is not there, DeviceError where another provider was taken in its
    place, and onnxruntime's own errors.
    """
    ort = loaded()
    settings = provider.settings(request)
    if alone and provider.key != "cpu":
        entries = settings.entries | {"session.disable_cpu_ep_fallback": "1"}
        settings = replace(settings, providers=settings.providers[:1], entries=entries)
    options = session_options(ort, settings)
    if request.as_plugin:
        options.add_provider_for_devices([plugin_device(ort, provider, request)], settings.providers[0][1])
        session = ort.InferenceSession(model, options)
    else:
        _check_built_in(ort, provider)
        # Without this switch a provider that fails is replaced, and the error goes to the console.
        session = ort.InferenceSession(model, options, providers=list(settings.providers), enable_fallback=0)
    if provider.name not in session.get_providers():
        raise DeviceError(f"onnxruntime took {', '.join(session.get_providers())} instead of {provider.title}")
    return session


def _check_built_in(ort: Any, provider: Provider) -> None:
    """Names that a build does not know are passed over without an error, or with a riddle."""
    if provider.name not in ort.get_available_providers():
        built = " and ".join(map(str, owners())) or f"onnxruntime {ort.__version__}"
        raise DependencyError(f"{provider.title} is not part of {built}")
    if provider.key == "cuda":
        _load_cuda(ort)


def session_options(ort: Any, settings: Settings) -> Any:
    """The SessionOptions of settings; registers the CPU's arena where one is asked for."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL  # errors are raised; printed too, they frighten where a smaller step mends them
    enums = {"execution_mode": ort.ExecutionMode, "graph_optimization_level": ort.GraphOptimizationLevel}
    for name, value in settings.attributes.items():
        setattr(options, name, getattr(enums[name], value) if name in enums else value)
    for name, value in settings.entries.items():
        options.add_session_config_entry(name, value)
    if settings.cpu_arena is not None:
        place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(place, ort.OrtArenaCfg(settings.cpu_arena))
    return options


def _load_cuda(ort: Any) -> None:
    """CUDA's libraries come with torch; of another major version they have to come from elsewhere."""
    cuda = None
    with contextlib.suppress(ImportError):
        import torch

        cuda = torch.version.cuda
    ours = str(getattr(ort, "cuda_version", "") or "")
    if hasattr(ort, "preload_dlls") and ours.split(".")[0] != str(cuda).split(".")[0]:
        ort.preload_dlls()


def plugin_device(ort: Any, provider: Provider, request: Request) -> Any:
    """The device of a plugin provider, its library registered if it was not. Raises DependencyError."""
    name = REGISTERED_AS.format(provider.key)
    devices = _plugin_devices(ort, provider)
    if not devices:
        try:
            ort.register_execution_provider_library(name, pkgutil.resolve_name(f"{provider.plugin}:get_library_path")())
        except Exception as error:  # onnxruntime's errors have no common base
            if "already registered" not in str(error):
                raise DependencyError(f"The {provider.title} plugin does not load: {error}") from error
        devices = _plugin_devices(ort, provider)
    kind = "CPU" if request.on_cpu else "GPU"
    fitting = [device for device in devices if device.device.type.name == kind]
    if request.device_id >= len(fitting):
        raise DependencyError(
            f"The {provider.title} plugin offers no {kind} number {request.device_id} here ({len(fitting)} found). "
            "A driver may be missing."
        )
    return fitting[request.device_id]


def _plugin_devices(ort: Any, provider: Provider) -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == provider.name]
