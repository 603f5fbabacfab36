"""A model file, described: what it is, what it wants, how big it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .contracts import Contract


@dataclass(frozen=True)
class Port:
    """An input or output of a network: its shape without the batch, None where any length will do."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class ModelSpec:
    """path: None for a network that the host has loaded already. parameters: their number.

    scale: output px for one input px. multiple: input sides must be multiples of it. halo: px thrown away
    around a tile, as its contract has it. exact_halo: px after which a tile equals the whole picture; the
    same as halo where the network's receptive field is too large for that. precisions: those that the
    architecture is known to survive, best first. inputs, outputs: of a network that does not take and give
    pictures, in the order of its file. largest_batch: None where any batch will do.
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
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    largest_batch: int | None = None

    @property
    def is_face_network(self) -> bool:
        return self.contract.domain == "face"

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that the network is fixed to; a vector counts as one row. None where any will do."""
        if self.contract.size is not None:
            return self.contract.size, self.contract.size
        if not self.inputs:
            return None
        *_, height, width = (1, *self.inputs[0].shape)
        return None if height is None or width is None else (height, width)

    def __str__(self) -> str:
        return f"{self.name} ({self.contract.architecture}, {self.parameters / 1e6:.1f} M parameters)"
