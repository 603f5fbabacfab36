"""A network that somebody else has loaded and keeps, such as ComfyUI's UPSCALE_MODEL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import spandrel
import torch

from ..catalog.spec import ModelSpec
from ..engines.live_peak import CountedModel, MetaModel
from ..engines.network import PRECISIONS, Forward, Traits
from ..errors import ModelFileError
from .torch_model import Layout, TorchNetwork, constant_bytes, forward_of, meta_forward, spec_of

BORROWED = Traits(stays_loaded=False)


class BorrowedNetwork(TorchNetwork):
    """On the device while it is open, back where it came from after."""

    def __init__(self, forward: Forward, module: torch.nn.Module, home: torch.device) -> None:
        super().__init__(forward)
        self._module, self._home = module, home

    def close(self) -> None:
        super().close()
        self._module.to(self._home)


@dataclass(frozen=True, eq=False)
class BorrowedModel(CountedModel):
    """descriptor: spandrel's, of a network whose weights are in the CPU's memory already."""

    spec: ModelSpec
    key: tuple[Any, ...]
    layout: Layout
    descriptor: Any
    traits: Traits = BORROWED

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        dtype = PRECISIONS[precision]
        weights = 0 if device.type == "cpu" else self.spec.parameters * dtype.itemsize
        return weights + constant_bytes(self.layout, dtype)

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        forward, mode, _ = meta_forward(self.layout, dtype)
        return lambda inputs, fidelity: (forward(inputs[0], fidelity),), mode

    def load(self, device: torch.device, precision: str, limit: int) -> BorrowedNetwork:
        home = self.descriptor.device
        self.descriptor.model.to(device)
        forward = forward_of(self.descriptor, device, PRECISIONS[precision])
        return BorrowedNetwork(forward, self.descriptor.model, home)


def borrowed_model(descriptor: Any, name: str) -> BorrowedModel:
    """Raises ModelFileError for anything but an image network's descriptor."""
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ModelFileError(f"{name} is {type(descriptor).__name__}, not an image network that can be run here.")
    layout = Layout({key: value.to("meta") for key, value in descriptor.model.state_dict().items()}, name)
    # In the type that its owner has it in: nobody else's network is converted.
    spec = replace(spec_of(descriptor, layout, None), precisions=("fp32",))
    return BorrowedModel(spec, (name, id(descriptor)), layout, descriptor)
