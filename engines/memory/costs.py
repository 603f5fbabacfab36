"""What networks cost: counted once a process, corrected by what runs have measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import meter
from .cost import Cost
from .factors import Factors

if TYPE_CHECKING:
    from ..network import Model

# What there is beside what is counted: on a CPU rearranged weights, on a GPU cuDNN's workspaces; on a CPU also what
# the first runs leave behind, whatever their size: kernels that oneDNN compiles, its threads' own memory.
SCRATCH = {"cpu": 1.15, "cuda": 1.3}
OTHER_SCRATCH = 1.5
LEFT_BEHIND = {"cpu": 10 << 20}

# Bytes below which the process's own noise is larger than what could be learnt.
LEARNABLE = 64 << 20


@dataclass(frozen=True, eq=False)
class Place:
    """A model in a precision on a device. folder: where what runs have measured is kept, None for nowhere."""

    model: Model
    precision: str
    device: torch.device
    folder: Path | None = None

    @property
    def scratch(self) -> float:
        return SCRATCH.get(self.device.type, OTHER_SCRATCH)

    @property
    def factor_key(self) -> str:
        """What a measured factor is valid for. Files of one architecture and size behave alike."""
        spec = self.model.spec
        network = f"{spec.architecture}-{spec.parameters}-x{spec.scale}"
        return f"{network} {self.model.traits.engine} {self.precision} {meter.device_name(self.device)}"


class CostStore:
    """Bytes of activations of networks.

    What is counted is multiplied by a factor (see `factors`), one for a network, engine, precision and device.
    """

    def __init__(self, factors: Factors | None = None) -> None:
        self._counted: dict[tuple[Any, ...], Cost] = {}
        self._factors = factors or Factors()

    def cost(self, place: Place) -> Cost:
        """Bytes of activations, kernels' scratch included."""
        if place.model.traits.is_exact:
            return self._count(place)
        return self._scaled(place, self._factors.value(place.factor_key, place.scratch, place.folder))

    def doubtful_cost(self, place: Place) -> Cost | None:
        """`cost` without what was learnt, where that may be tried; None where it was tried or there is nothing."""
        if place.model.traits.is_exact or not self._factors.may_doubt(place.factor_key, place.folder):
            return None
        return self._scaled(place, place.scratch)

    def doubt(self, place: Place) -> None:
        """Notes that `doubtful_cost` is tried now."""
        self._factors.doubt(place.factor_key, place.folder)

    def learn(self, place: Place, pixels: int, measured: int) -> None:
        """Takes in that a forward pass over so many pixels took `measured` bytes beside the weights."""
        if place.model.traits.is_exact:
            return
        counted = self._count(place).bytes_for(pixels)
        if counted < LEARNABLE:
            return
        of_network = measured - LEFT_BEHIND.get(place.device.type, 0)
        self._factors.measured(place.factor_key, of_network / counted, place.folder)

    def forget(self, folder: Path | None) -> int:
        """Forgets what runs have measured of all networks; returns of how many. Raises OutputError."""
        return self._factors.forget(folder)

    def _scaled(self, place: Place, factor: float) -> Cost:
        return self._count(place).scaled(factor).plus(LEFT_BEHIND.get(place.device.type, 0))

    def _count(self, place: Place) -> Cost:
        device_type = place.device.type
        key = (place.model.key, place.precision, device_type == "cpu")
        if key not in self._counted:
            self._counted[key] = place.model.activations(place.precision, device_type)
        return self._counted[key]


# The process's own.
COSTS = CostStore()
