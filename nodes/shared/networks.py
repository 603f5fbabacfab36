"""Inputs and networks that several nodes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engines.memory.budget import MemoryBudget
from ...faces.detect.settings import TURNED
from ..host import Budget, ComfyHost, catalogue_folders, io, rare

if TYPE_CHECKING:
    from ...faces.identity.library import ModelLibrary


def network_inputs() -> list[io.Input]:
    """Appended to a node's own inputs."""
    return [
        Budget.Input(
            "budget", optional=True, tooltip="Optional, from Memory Budget Guard. If not connected, it is automatic."
        ),
        *rare(
            io.Boolean.Input(
                "commercial_only",
                display_name="commercial only",
                default=False,
                optional=True,
                tooltip="Use only models whose licence is known to allow commercial use.",
            )
        ),
    ]


def library(budget: MemoryBudget | None, commercial_only: bool) -> ModelLibrary:
    """The models in the user's folders. They are searched when one is needed."""
    from ...faces.identity.library import ModelLibrary
    from ...models.library import search

    host = ComfyHost()
    return ModelLibrary(lambda: search(catalogue_folders(), host=host), budget or MemoryBudget(), host, commercial_only)


def detection_inputs() -> list[io.Input]:
    """Appended to the inputs of a node that can detect faces itself; values of `DetectionSettings`."""
    return rare(
        io.Combo.Input(
            "turned",
            display_name="rotated faces",
            options=list(TURNED),
            default=TURNED[0],
            optional=True,
            tooltip="How faces that lie on their side or upside down are found. auto: rotate a frame only if no "
            "upright face is found in it. Unused if faces is connected.",
        ),
        io.Int.Input(
            "min_face",
            display_name="min face (px)",
            default=0,
            min=0,
            max=16384,
            optional=True,
            tooltip="Ignore smaller faces. 0 = automatic. Unused if faces is connected.",
        ),
    )
