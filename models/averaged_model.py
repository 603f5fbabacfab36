"""An upscaler of a larger scale as one of a smaller: its results are averaged over areas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from ..catalog.spec import ModelSpec
from ..engines.live_peak import CountedModel, MetaModel
from ..engines.network import Model, Network, Tensors, Traits, runnable


@dataclass(frozen=True, eq=False)
class AveragedModel(CountedModel):
    """side: of the squares of the model's result that become one pixel, px."""

    spec: ModelSpec
    key: tuple[Any, ...]
    model: CountedModel
    side: int
    traits: Traits = Model.traits

    def weight_bytes(self, precision: str, device: torch.device) -> int:
        return self.model.weight_bytes(precision, device)

    def meta_model(self, dtype: torch.dtype) -> MetaModel:
        forward, mode = self.model.meta_model(dtype)
        return lambda inputs, fidelity: _averaged(forward(inputs, fidelity), self.side), mode

    def load(self, device: torch.device, precision: str, limit: int) -> AveragedNetwork:
        return AveragedNetwork(runnable(self.model.load(device, precision, limit)), self.side)


class AveragedNetwork(Network):
    def __init__(self, network: Network, side: int) -> None:
        self._network, self._side = network, side

    def run(self, inputs: Tensors, fidelity: float) -> Tensors:
        result = _averaged(self._network.run(inputs, fidelity), self._side)
        self.outside_peak = self._network.outside_peak
        return result

    def interrupt_with(self, check: Callable[[], None]) -> None:
        self._network.interrupt_with(check)

    def close(self) -> None:
        self._network.close()


def averaged_model(model: CountedModel, factor: int) -> CountedModel:
    """The model with scale `factor`, of which its own scale is a multiple."""
    side = model.spec.scale // factor
    if side == 1:
        return model
    spec = replace(model.spec, scale=factor)
    return AveragedModel(spec, (*model.key, f"averaged by {side}"), model, side, model.traits)


def _averaged(results: Tensors, side: int) -> Tensors:
    """(n, 3, h, w), overwritten, as the mean of each square: of what can be seen, so it is clamped first."""
    return (F.avg_pool2d(results[0].clamp_(0, 1), side),)
