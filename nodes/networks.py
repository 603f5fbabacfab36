"""What nodes share that ask networks about faces: the user's files, the budget, and the inputs for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.memory.budget import MemoryBudget
from .host import Budget, ComfyHost, catalogue_folders, io

if TYPE_CHECKING:
    from ..faces.ask import Askable


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


def askable(budget: MemoryBudget | None, commercial_only: bool) -> Askable:
    """The networks that lie in the user's folders; they are looked for when one is needed."""
    from ..faces.ask import Askable
    from ..faces.model_files import search

    host = ComfyHost()
    return Askable(lambda: search(catalogue_folders(), host=host), budget or MemoryBudget(), host, commercial_only)
