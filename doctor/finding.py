"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "advice", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. detail: a sentence or lines. mend: commands, one a line; "" where none is due."""

    title: str
    state: State
    detail: str
    mend: str = ""
