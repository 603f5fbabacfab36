"""From a model file of any kind to a network that can be planned for and run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..catalog.files import BUNDLED_FILE
from ..engines.host import Host, StandaloneHost
from ..engines.memory.budget import AUTOMATIC, MemoryBudget
from ..engines.network import Model
from ..errors import ModelFileError, SettingError, printable
from . import library
from .onnx_description import describe, refused_by_torch
from .onnx_runtime_model import onnx_runtime_model
from .onnx_torch_model import onnx_torch_model

ENGINES = ("auto", "torch", "onnxruntime", "tensorrt")


@dataclass(frozen=True)
class Opening:
    """How a model file is opened.

    engine: one of ENGINES.
    precision: as in Options.
    budget: its mode chooses between engines, and a file that must be tried out to be described stays within it.
    commercial_only: refuse a file whose licence is not known to allow commercial use.
    Raises SettingError.
    """

    engine: str = "auto"
    precision: str = "auto"
    budget: MemoryBudget = AUTOMATIC
    commercial_only: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise SettingError(f"There is no engine {self.engine!r}. Choose one of {', '.join(ENGINES)}.")


AS_USUAL = Opening()


def open_model(
    path: Path | str = BUNDLED_FILE, name: str = "", host: Host | None = None, opening: Opening = AS_USUAL
) -> Model:
    """Describes a model file, the bundled one unless another is named; nothing of it is loaded.

    name: for reports, the file's own where it is empty. Raises ModelFileError, SettingError, DependencyError,
    DeviceError, BudgetError.
    """
    path = Path(path)
    name, host = printable(name or path.name), host or StandaloneHost()
    if path.suffix.lower() == ".onnx":
        return _from_onnx(path, name, host, opening)
    if opening.engine == "onnxruntime":
        raise SettingError(
            f"{name} holds weights for torch, which onnxruntime cannot run. Choose the engine auto or torch, or write "
            f"it as ONNX first: python -m slimfusion export {path.name} {path.stem}.onnx"
        )
    # Imported late: spandrel takes a second, which ONNX files do without.
    from .torch_model import torch_model

    model = torch_model(path, name)
    if opening.commercial_only and path != BUNDLED_FILE:
        library.identified(path, host=host).check_commercial()
    if opening.engine != "tensorrt":
        return model
    from .tensorrt_model import tensorrt_model

    full = opening.precision == "auto" and opening.budget.mode == "quality"
    return tensorrt_model(model, "fp32" if full else opening.precision, host)


def _from_onnx(path: Path, name: str, host: Host, opening: Opening) -> Model:
    """Torch is taken unless the user asks for onnxruntime or for compatibility, or torch cannot run the graph."""
    engine = opening.engine
    if engine == "tensorrt":
        raise SettingError(f"{name}: engines of TensorRT are built from torch's weights. Choose the engine auto.")
    file = library.identified(path, host=host)
    if opening.commercial_only:
        file.check_commercial()
    if file.card is None:
        raise ModelFileError(f"{name} is not an ONNX model that is supported: {file.note}.")
    description = describe(path, name, file.card, file.licence)
    refusal = refused_by_torch(description)
    if engine == "torch" and refusal:
        raise ModelFileError(f"{name} {refusal}. Get another export of the model, or choose the engine onnxruntime.")
    if engine == "torch" or (engine == "auto" and not refusal and opening.budget.mode != "compatibility"):
        return onnx_torch_model(description)
    return onnx_runtime_model(description, opening.budget, refusal)
