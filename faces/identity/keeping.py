"""How nodes, the command line and the library ask for the likeness of faces to be watched and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ...errors import FacesError, SettingError
from .select import BUNDLED_DIMENSION

KeepIdentity = Literal["off", "auto", "strong"]
KEEP_IDENTITY: tuple[str, ...] = get_args(KeepIdentity)
LOOK_BYTES = 8 << 20  # of one look, what torch makes ready included
# Bytes: what a network was given, once more as numbers, the change, its coarse part, and where that is held back.
KEEP_PIXEL = (4 * 3 + 2) * 4


@dataclass(frozen=True, eq=False)
class Keeping:
    """Whether the likeness of faces is watched, and kept.

    mode: "off" lets everything pass, "auto" takes back what leads a face away from itself, "strong" more of it.
    reference: (128,) the bundled recogniser's vector of who is shown, None where each face is compared with what came
    in. watch: tell the likeness in the report even where nothing is kept. Raises SettingError.
    """

    mode: KeepIdentity = "off"
    reference: np.ndarray | None = None
    watch: bool = False

    def __post_init__(self) -> None:
        if self.mode not in KEEP_IDENTITY:
            raise SettingError(f"Identity is kept {', '.join(KEEP_IDENTITY)}, not {self.mode!r}: choose one of them.")
        if self.reference is not None and self.reference.shape != (BUNDLED_DIMENSION,):
            raise FacesError(
                f"The reference is a vector of shape {self.reference.shape}, not of the bundled recogniser: make the "
                "identity again."
            )

    @property
    def looks(self) -> bool:
        """Whether the recogniser is needed at all."""
        return self.watch or self.mode != "off"

    @property
    def keeps(self) -> bool:
        """Whether a change may be held back."""
        return self.mode != "off"

    def bytes_for(self, pixels: int) -> int:
        """What looking at one face takes on the CPU beside the recogniser's weights. pixels: of its picture."""
        held = KEEP_PIXEL * pixels if self.keeps else 0
        return LOOK_BYTES + held if self.looks else 0


NOT_KEPT = Keeping()
