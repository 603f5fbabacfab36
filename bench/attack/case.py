"""One try of an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """name: what is tried. open: tries it and returns or raises SlimFusionError. is_mutation: a good file, spoilt."""

    name: str
    open: Callable[[], object]
    is_mutation: bool = False
