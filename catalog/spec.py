"""A model file, described: what it is, what it wants, how big it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .contracts import Contract


@dataclass(frozen=True)
class ModelSpec:
    """path: None for a network that the host has loaded already. parameters: their number.

    scale: output px for one input px. multiple: input sides must be multiples of it. halo: px thrown away
    around a tile, as its contract has it. exact_halo: px after which a tile equals the whole picture; the
    same as halo where the network's receptive field is too large for that. precisions: those that the
    architecture is known to survive, best first.
    """

    name: str
    path: Path | None
    contract: Contract
    parameters: int
    scale: int
    multiple: int
    halo: int
    exact_halo: int
    precisions: tuple[str, ...]

    @property
    def is_face_network(self) -> bool:
        return self.contract.domain == "face"

    def __str__(self) -> str:
        return f"{self.name} ({self.contract.architecture}, {self.parameters / 1e6:.1f} M parameters)"
