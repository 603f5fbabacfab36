"""An ONNX file rebuilt under torch, where a budget can be enforced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from ..catalog.spec import ModelSpec
from ..engines.live_peak import CountedModel, MetaModel
from ..engines.network import PRECISIONS, Traits
from ..engines.onnx import module as onnx_as_torch
from .onnx_description import Adapted, OnnxDescription, adapted, load_unchanged, scale_under_torch, spec_of
from .onnx_networks import GraphNetwork

FROM_ONNX = Traits("torch (from ONNX)")


@dataclass(frozen=True, eq=False)
class OnnxTorchModel(CountedModel):
    spec: ModelSpec
    key: tuple[Any, ...]
    description: OnnxDescription
    traits: Traits = FROM_ONNX

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        dtype = PRECISIONS[precision]
        return self.spec.parameters * dtype.itemsize + _meta(self.description, dtype)[2]

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        return _meta(self.description, dtype)[:2]

    def load(self, device: torch.device, precision: str, limit: int) -> GraphNetwork:
        return load_unchanged(self.description, partial(self._load, device, PRECISIONS[precision]))

    def _load(self, device: torch.device, dtype: torch.dtype) -> GraphNetwork:
        graph = onnx_as_torch.build(self.description.graph, device, dtype)
        return GraphNetwork(adapted(self.description, graph, torch.float32))


def onnx_torch_model(description: OnnxDescription) -> OnnxTorchModel:
    """Raises ModelFileError where torch cannot run the graph."""
    scale = scale_under_torch(description) if description.card.is_image_network else 1
    halves = description.is_picture_network
    # What was exported for one sample is run for many all the same.
    spec = spec_of(description, ("bf16", "fp32") if halves else ("fp32",), None, scale)
    return OnnxTorchModel(spec, (*description.key, "torch"), description)


@lru_cache(maxsize=4)  # memory and constants are asked for one after the other
def _meta(description: OnnxDescription, dtype: torch.dtype) -> tuple[Adapted, Any, int]:
    """How the network is called on tensors without data, their mode, and what loading keeps beside the weights."""
    module, mode = onnx_as_torch.meta_model(description.graph, dtype)
    held = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    constants = max(0, held - description.graph.parameters * dtype.itemsize)
    return adapted(description, module, torch.float32), mode, constants + module.opening_bytes
