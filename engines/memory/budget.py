"""How many bytes the user lets us add on a device, and what to do when they are not enough."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import SettingError
from ..checks import check_numbers

Mode = Literal["auto", "performance", "quality", "compatibility"]
OnLowMemory = Literal["degrade", "fail"]

MODES: tuple[str, ...] = get_args(Mode)
ON_LOW_MEMORY: tuple[str, ...] = get_args(OnLowMemory)

MIB = 1 << 20
GIB = 1 << 30
MOST_GIB = 1 << 30  # more than any machine has

# The share of a device that may be in use when we are done asking: the rest is for allocators' rounding,
# the desktop and whatever starts while we run.
SAFETY_LINE = 0.85

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "m": MIB, "mib": MIB, "mb": 10**6}
_UNITS |= {"g": GIB, "gib": GIB, "gb": 10**9, "kb": 10**3}


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that may be added on the device above its level once the device context exists.

    limit: bytes, or None for `SAFETY_LINE` of the device less what others hold.
    """

    limit: int | None = None
    mode: Mode = "auto"
    on_low_memory: OnLowMemory = "degrade"
    keep_loaded: bool = True

    def __post_init__(self) -> None:
        check_numbers(limit=0 if self.limit is None else self.limit)
        if self.limit is not None and not 0 < self.limit < math.inf:
            raise SettingError(
                f"A memory budget must be more than zero, not {self.limit} bytes. Leave it out for automatic."
            )
        if self.mode not in MODES:
            raise SettingError(f"There is no mode {self.mode!r}. Choose one of {', '.join(MODES)}.")
        if self.on_low_memory not in ON_LOW_MEMORY:
            raise SettingError(f"On low memory the choice is {' or '.join(ON_LOW_MEMORY)}, not {self.on_low_memory!r}.")

    def __str__(self) -> str:
        amount = "automatic" if self.limit is None else format_bytes(self.limit)
        return f"{amount}, {self.mode}, {self.on_low_memory} on low memory"


# What holds where the user says nothing.
AUTOMATIC = MemoryBudget()


def budget_from_gib(gib: float, mode: Mode, on_low_memory: OnLowMemory, keep_loaded: bool) -> MemoryBudget:
    """The budget that a number of GiB means, 0 being automatic."""
    check_numbers(budget=gib)
    if not 0 <= gib <= MOST_GIB:
        raise SettingError(f"A memory budget must be 0 (automatic) or more GiB, not {gib}.")
    return MemoryBudget(int(gib * GIB) or None, mode, on_low_memory, keep_loaded)


def parse_bytes(text: str) -> int:
    """The bytes that a text such as "1GiB", "1.5 g", "700MB" or "734003200" means."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise SettingError(f"{text!r} is not an amount of memory. Write it like 1GiB, 700MB or 1.5g.")
    if float(match.group(1)) * unit > MOST_GIB * GIB:
        raise SettingError(f"{text[:40]!r} is more memory than any machine has.")
    return int(float(match.group(1)) * unit)


def format_bytes(nbytes: int) -> str:
    """Bytes as a person reads them: MiB below 1 GiB, GiB above."""
    if abs(nbytes) < GIB:
        return f"{nbytes / MIB:.0f} MiB"
    return f"{nbytes / GIB:.2f} GiB"


def allowed_bytes(budget: MemoryBudget, total: int, free: int, ours: int) -> int:
    """The bytes that may be ours on a device right now.

    total, free: of the device. ours: what our sessions hold already, which counts into the budget.
    A limit above what is physically there is cut to it: a promise of memory that others hold is none.
    """
    reachable = free + ours
    if budget.limit is not None:
        return min(budget.limit, reachable)
    held_by_others = total - free - ours
    return max(0, min(int(total * SAFETY_LINE) - held_by_others, reachable))
