"""What an engine is asked to do: a model, the work, the memory, the host, and how the user wants it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import SettingError
from .checks import check_numbers
from .host import Host
from .memory.budget import MemoryBudget
from .memory.planner import Work
from .network import PRECISIONS, Model


@dataclass(frozen=True)
class Options:
    """How the user wants a network to be run.

    precision: "auto", "fp32", "bf16" or "fp16".
    tile: px, 0 for automatic.
    overlap: px that neighbouring tiles share.
    fidelity: 0 (sharp) to 1 (faithful), for networks that have the control.
    Raises SettingError.
    """

    precision: str = "auto"
    tile: int = 0
    overlap: int = 32
    fidelity: float = 0.5

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *PRECISIONS):
            raise SettingError(
                f"There is no precision {self.precision!r}. Choose one of auto, {', '.join(PRECISIONS)}."
            )
        check_numbers(tile=self.tile, overlap=self.overlap, fidelity=self.fidelity)
        if not (0 <= self.tile < math.inf and 0 <= self.overlap < math.inf):
            raise SettingError(f"Tile and overlap are 0 px or more, not {self.tile} and {self.overlap}.")
        if not 0 <= self.fidelity <= 1:
            raise SettingError(f"The fidelity must be between 0 and 1, not {self.fidelity}.")


DEFAULTS = Options()


@dataclass(frozen=True, eq=False)
class Job:
    """All that a run is asked for.

    stage: what the report and the progress bar call it.
    is_main: the report names its model and its plan; those of the others, such as a detector, are only counted.
    """

    model: Model
    work: Work
    budget: MemoryBudget
    host: Host
    options: Options = DEFAULTS
    stage: str = "restore"
    is_main: bool = True
