"""What nodes share that ask networks about faces: the user's files, the budget, and the inputs for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.memory.budget import MemoryBudget
from ..faces.detect.settings import TURNED
from .host import Budget, ComfyHost, catalogue_folders, io

if TYPE_CHECKING:
    from ..faces.identity.library import ModelLibrary


def network_inputs() -> list[io.Input]:
    """Appended to a node's own inputs."""
    return [
        Budget.Input("budget", optional=True, tooltip="From the Memory Budget Guard; automatic without."),
        io.Boolean.Input(
            "commercial_only",
            default=False,
            optional=True,
            tooltip="Use only networks whose licence is known to allow commercial use.",
        ),
    ]


def library(budget: MemoryBudget | None, commercial_only: bool) -> ModelLibrary:
    """The networks that lie in the user's folders; they are looked for when one is needed."""
    from ..faces.identity.library import ModelLibrary
    from ..models.library import search

    host = ComfyHost()
    return ModelLibrary(lambda: search(catalogue_folders(), host=host), budget or MemoryBudget(), host, commercial_only)


def detection_inputs() -> list[io.Input]:
    """Appended to the inputs of a node that looks for faces itself; values of `DetectionSettings`."""
    return [
        io.Combo.Input(
            "turned",
            options=list(TURNED),
            default=TURNED[0],
            optional=True,
            tooltip="Faces that lie or are upside down. auto: turned frames are tried where no face is found upright.",
        ),
        io.Int.Input(
            "min_face",
            default=0,
            min=0,
            max=16384,
            optional=True,
            tooltip="Smallest face in px; smaller ones stay as they are. 0: automatic.",
        ),
    ]
