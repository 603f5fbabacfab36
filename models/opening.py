"""From a model file of any kind to a network that can be planned for and run."""

from __future__ import annotations

from pathlib import Path

from ..catalog.files import BUNDLED_FILE
from ..engines.host import Host
from ..engines.memory.budget import AUTOMATIC, MemoryBudget
from ..engines.session import Blueprint
from ..errors import ModelFileError, SettingError, printable
from . import library as model_files
from . import onnx_model as onnx_backend

ENGINES = ("auto", "torch", "onnxruntime", "tensorrt")


def blueprint_from_path(
    path: Path,
    name: str,
    host: Host,
    engine: str = "auto",
    precision: str = "auto",
    budget: MemoryBudget = AUTOMATIC,
    commercial_only: bool = False,
) -> Blueprint:
    """Describes a model file; nothing of it is loaded.

    engine: one of ENGINES. precision: as in Options. budget: its mode chooses between engines, and a file that must be
    tried out to be described stays within it. Raises ModelFileError, SettingError, DependencyError, DeviceError,
    BudgetError.
    """
    name = printable(name)
    if engine not in ENGINES:
        raise SettingError(f"There is no engine {engine!r}. Choose one of {', '.join(ENGINES)}.")
    if path.suffix.lower() == ".onnx":
        return _from_onnx(path, name, host, engine, budget, commercial_only)
    if engine == "onnxruntime":
        raise SettingError(
            f"{name} holds weights for torch, which onnxruntime cannot run. Choose the engine auto or torch, or write "
            f"it as ONNX first: python -m slimfusion export {path.name} {path.stem}.onnx"
        )
    # Imported late: spandrel takes a second, which ONNX files do without.
    from .torch_model import blueprint_from_file

    blueprint = blueprint_from_file(path, name)
    if engine == "tensorrt":
        from .tensorrt_model import engine_blueprint

        full = precision == "auto" and budget.mode == "quality"
        blueprint = engine_blueprint(blueprint, "fp32" if full else precision, host)
    if commercial_only and path != BUNDLED_FILE:
        model_files.identified(path, host=host).check_commercial()
    return blueprint


def _from_onnx(
    path: Path, name: str, host: Host, engine: str, budget: MemoryBudget, commercial_only: bool
) -> Blueprint:
    if engine == "tensorrt":
        raise SettingError(f"{name}: engines of TensorRT are built from torch's weights. Choose the engine auto.")
    found = model_files.identified(path, host=host)
    if commercial_only:
        found.check_commercial()
    if found.family is None:
        raise ModelFileError(f"{name} is no ONNX model that is known here: {found.note}.")
    return onnx_backend.blueprint_from_onnx(path, name, found.family, found.licence, engine, budget)
