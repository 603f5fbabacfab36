"""Load Fusion Model: makes a handle of a file's name. The weights are read when a node needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..catalog.files import BUNDLED, offered_model
from ..catalog.opening import Stamp
from ..engines.memory.budget import MemoryBudget
from ..engines.network import Model as NetworkModel
from ..errors import printable
from .host import Budget, ComfyHost, Model, io, model_folders, model_names, rare, said, schema

ENGINES = ("auto", "torch", "onnxruntime", "tensorrt")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")


@dataclass(frozen=True, eq=False)
class FusionModel:
    """SLIMFUSION_MODEL: which network, in which precision, under which budget."""

    model: NetworkModel
    precision: str
    budget: MemoryBudget

    def __repr__(self) -> str:
        return f"FusionModel({self.model.spec}, {self.precision}, {self.budget})"


def model_from(value: Any, name: str = BUNDLED) -> FusionModel:
    """What a restore node runs: a connected model (ours, or core's UPSCALE_MODEL), or else the file of that name.

    Raises ModelFileError, DependencyError.
    """
    if isinstance(value, FusionModel):
        return value
    if value is None:
        return load_model(name)
    from ..models.borrowed_model import borrowed_model

    return FusionModel(borrowed_model(value, "UPSCALE_MODEL"), "auto", MemoryBudget())


def load_model(
    name: str,
    engine: str = "auto",
    precision: str = "auto",
    budget: MemoryBudget | None = None,
    commercial_only: bool = False,
) -> FusionModel:
    """The file of that name in the model folders. Raises ModelFileError, SettingError, DependencyError."""
    from ..models.opening import Opening, open_model

    budget, path = budget or MemoryBudget(), offered_model(name, model_folders())
    opening = Opening(engine, precision, budget, commercial_only)
    return FusionModel(open_model(path, name, ComfyHost(), opening), precision, budget)


def model_stamp(name: str) -> str:
    """Changes when the file of that name changes. Raises ModelFileError."""
    path = offered_model(name, model_folders())
    return printable(f"{path}:{Stamp.of(path)}")


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionLoadModel",
            display_name="Load Fusion Model",
            category="SlimFusion",
            description="Loads a model to restore, swap or upscale with: the bundled restorer, or a .safetensors, "
            ".pth or .onnx file from the model folders (GFPGAN, CodeFormer, RestoreFormer, inswapper, ESRGAN ...).",
            search_aliases=[
                "gfpgan",
                "codeformer",
                "restoreformer",
                "gpen",
                "inswapper",
                "hyperswap",
                "onnx",
                "face restore model",
                "face swap model",
                "insightface",
                "upscale model",
                "加载模型",
            ],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_names(),
                    default=BUNDLED,
                    tooltip="The model file. The first one comes with SlimFusion and needs no download.",
                ),
                *rare(
                    io.Combo.Input(
                        "engine",
                        options=list(ENGINES),
                        default="auto",
                        tooltip="auto: torch, or onnxruntime for .onnx files in compatibility mode.",
                    ),
                    io.Combo.Input(
                        "precision",
                        options=list(PRECISIONS),
                        default="auto",
                        tooltip="auto: as the mode of Memory Budget Guard says.",
                    ),
                ),
                Budget.Input(
                    "budget",
                    optional=True,
                    tooltip="Optional, from Memory Budget Guard. If not connected, it is automatic.",
                ),
                *rare(
                    io.Boolean.Input(
                        "commercial_only",
                        display_name="commercial only",
                        default=False,
                        optional=True,
                        tooltip="Refuse files whose licence is not known to allow commercial use.",
                    )
                ),
            ],
            outputs=[Model.Output(display_name="model", tooltip="Connect it to a restore or swap node.")],
        )

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        """Older hosts do not check a value against the list. None: the value comes from another node, later."""
        return True if model is None else said(lambda: offered_model(model, model_folders()))

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        return model_stamp(model)

    @classmethod
    def execute(
        cls,
        model: str,
        engine: str,
        precision: str,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
    ) -> io.NodeOutput:
        return io.NodeOutput(load_model(model, engine, precision, budget, commercial_only))
