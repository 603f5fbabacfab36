"""Load Fusion Model: a name from the list becomes a cheap handle; weights are read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..catalog.files import BUNDLED, offered_model
from ..catalog.opening import Stamp
from ..engines.memory.budget import MemoryBudget
from ..engines.network import Model as NetworkModel
from ..errors import printable
from .host import Budget, ComfyHost, Model, io, model_folders, model_names, said, schema

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


def model_from(value: Any) -> FusionModel:
    """Either of the two model types a node takes: ours as it is, core's UPSCALE_MODEL wrapped."""
    if isinstance(value, FusionModel):
        return value
    from ..models.borrowed_model import borrowed_model

    return FusionModel(borrowed_model(value, "UPSCALE_MODEL"), "auto", MemoryBudget())


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="SlimFusionLoadModel",
            display_name="Load Fusion Model",
            category="SlimFusion",
            description="Chooses a restoration network: the bundled one, or a file from "
            "models/facerestore_models or models/upscale_models (GFPGAN, RestoreFormer, CodeFormer, ESRGAN ...), "
            "as .safetensors, .pth or .onnx.",
            search_aliases=["gfpgan", "onnx", "codeformer", "restoreformer", "face restore", "upscale model"],
            inputs=[
                io.Combo.Input("model", options=model_names(), default=BUNDLED, tooltip="The model file."),
                io.Combo.Input(
                    "engine",
                    options=list(ENGINES),
                    default="auto",
                    tooltip="auto: torch, or for .onnx in compatibility mode onnxruntime.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="auto",
                    tooltip="auto follows the mode of the Memory Budget Guard.",
                ),
                Budget.Input("budget", optional=True, tooltip="From the Memory Budget Guard; automatic without."),
                io.Boolean.Input(
                    "commercial_only",
                    default=False,
                    optional=True,
                    tooltip="Refuse files whose licence is not known to allow commercial use.",
                ),
            ],
            outputs=[Model.Output(display_name="model")],
        )

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        """Older hosts do not hold a value against the list. None: it comes from another node and is not there yet."""
        return True if model is None else said(lambda: offered_model(model, model_folders()))

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        path = offered_model(model, model_folders())
        return printable(f"{path}:{Stamp.of(path)}")

    @classmethod
    def execute(
        cls,
        model: str,
        engine: str,
        precision: str,
        budget: MemoryBudget | None = None,
        commercial_only: bool = False,
    ) -> io.NodeOutput:
        from ..models.opening import Opening, open_model

        budget = budget or MemoryBudget()
        path = offered_model(model, model_folders())
        opening = Opening(engine, precision, budget.mode, commercial_only)
        return io.NodeOutput(FusionModel(open_model(path, model, ComfyHost(), opening), precision, budget))
