"""How faces are looked for: what the nodes, the command line and the library hand to the detection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ...catalog.cards import detectors
from ...catalog.found import Found
from ...engines.checks import check_numbers
from ...errors import SettingError

Turned = Literal["auto", "always", "never"]

# All but the first need a model file of the user's.
DETECTORS = ("mtcnn", *(card.name for card in detectors.DETECTORS))
TURNED = ("auto", "always", "never")

# px of the longer side of the smallest face that is changed when nothing else is asked for, by a network that does not
# enlarge faces; how large they must be for GFPGAN's kind and for swappers was not measured.
SMALLEST_CHANGED = 40


@dataclass(frozen=True)
class DetectionSettings:
    """Which detector looks for which faces.

    detector: one of DETECTORS. score: minimum confidence, 0..1. max_faces: most faces per frame, best first; 0 has no
    limit. min_face, max_face: px of the longer side of the smallest and largest face kept; 0 for min_face looks for as
    small ones as the detector usually does, and leaves too small ones as they are; 0 for max_face has no
    limit. turned: look at the frame turned by 90, 180 and 270 degrees: auto only where nothing sure is found upright.
    tiled: look at large frames in tiles too, for small faces. find_file: returns the model file of a detector by its
    name; every detector but mtcnn needs it. Raises SettingError for a value outside its range.
    """

    detector: str = "mtcnn"
    score: float = 0.8
    max_faces: int = 0
    min_face: int = 0
    max_face: int = 0
    turned: Turned = "auto"
    tiled: bool = True
    find_file: Callable[[str], Found] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_numbers(score=self.score, max_faces=self.max_faces, min_face=self.min_face, max_face=self.max_face)
        if self.detector not in DETECTORS:
            raise SettingError(f"There is no detector {self.detector!r}. Choose one of {', '.join(DETECTORS)}.")
        if self.turned not in TURNED:
            raise SettingError(f"The setting turned must be one of {', '.join(TURNED)}, not {self.turned!r}.")
        if not 0 <= self.score <= 1:
            raise SettingError(f"The detection score must be between 0 and 1, not {self.score}.")
        for name in ("max_faces", "min_face", "max_face"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"The setting {name} must be 0 (no limit) or more, not {getattr(self, name)}.")
        if self.max_face and self.max_face < self.min_face:
            raise SettingError(
                f"The largest face, {self.max_face} px, must not be smaller than the smallest, {self.min_face} px."
            )

    def smallest_changed(self, chosen: bool, usual: int = SMALLEST_CHANGED) -> int:
        """px of the longer side of the smallest face that a restorer or swapper changes.

        chosen: the faces were handed over by the user, so that only a limit of the user's own leaves some out.
        usual: when nothing is asked for.
        """
        return self.min_face or (0 if chosen else usual)


DEFAULT_DETECTION = DetectionSettings()
