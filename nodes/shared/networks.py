"""Inputs and networks that several nodes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engines.memory.budget import MemoryBudget
from ...errors import FacesError
from ...faces.detect.settings import TURNED
from ...faces.identity.keeping import KEEP_IDENTITY, KeepIdentity, Keeping
from ..host import Budget, ComfyHost, catalogue_folders, io, rare

if TYPE_CHECKING:
    from ...faces.identity.identity import Identity
    from ...faces.identity.library import ModelLibrary


def automatic_budget_input() -> io.Input:
    return Budget.Input(
        "budget", optional=True, tooltip="Optional, from Memory Budget Guard. If not connected, it is automatic."
    )


def network_inputs() -> list[io.Input]:
    """Appended to a node's own inputs."""
    return [
        automatic_budget_input(),
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


def detection_inputs(unless: str = " Unused if faces is connected.") -> list[io.Input]:
    """Appended to the inputs of a node that can detect faces itself; values of `DetectionSettings`.

    unless: what their tooltips end with; "" where a node has no input for faces.
    """
    return rare(
        io.Combo.Input(
            "turned",
            display_name="rotated faces",
            options=list(TURNED),
            default=TURNED[0],
            optional=True,
            tooltip="How faces that lie on their side or upside down are found. auto: rotate a frame only if no "
            f"upright face is found in it.{unless}",
        ),
        io.Int.Input(
            "min_face",
            display_name="min face (px)",
            default=0,
            min=0,
            max=16384,
            optional=True,
            tooltip=f"Ignore smaller faces. 0 = automatic.{unless}",
        ),
    )


def keep_identity_input(tooltip: str) -> io.Input:
    """Appended last: workflows that were saved before it existed have no value for it, and run as they did."""
    return io.Combo.Input(
        "keep_identity",
        display_name="keep identity",
        options=list(KEEP_IDENTITY),
        default=KEEP_IDENTITY[0],
        optional=True,
        tooltip=tooltip,
    )


def keeping_for(mode: KeepIdentity, identity: Identity | None) -> Keeping:
    """How a node watches and keeps the likeness of faces. Raises FacesError for an identity that cannot be compared."""
    if identity is not None and identity.bundled is None:
        raise FacesError(
            f"The identity {identity.name!r} has no vector of the bundled recogniser, which watches the likeness: make "
            "it again with Face Identity, or leave it out."
        )
    return Keeping(mode, None if identity is None else identity.bundled, watch=True)
