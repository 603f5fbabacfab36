"""A model file that was looked at: what its card leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .card import ModelCard, Port


@dataclass(frozen=True)
class ModelSpec:
    """name: for people. path: None for a network that the host has loaded already.
    architecture: spandrel's name for weights, the card's for ONNX files. licence: the file's. parameters: their number.
    scale: output px for one input px. multiple: input sides must be multiples of it.
    halo: px thrown away around a tile. exact_halo: px after which a tile equals the whole picture; the same as halo
    where the network's receptive field is too large for that.
    precisions: those that the network is known to survive, best first.
    inputs: of a network that is not picture to picture, with the lengths that its file fixes, in the card's order.
    largest_batch: None where any batch will do.
    """

    name: str
    path: Path | None
    card: ModelCard
    architecture: str
    licence: str
    parameters: int
    scale: int
    multiple: int
    halo: int
    exact_halo: int
    precisions: tuple[str, ...]
    inputs: tuple[Port, ...] = ()
    largest_batch: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that the network is fixed to; a vector counts as one row. None where any will do."""
        if self.card.is_face_restorer:
            assert self.card.size is not None
            return self.card.size, self.card.size
        if not self.inputs:
            return None
        *_, height, width = (1, *self.inputs[0].shape)
        return None if height is None or width is None else (height, width)

    def __str__(self) -> str:
        return f"{self.name} ({self.architecture}, {self.parameters / 1e6:.1f} M parameters)"
