"""What running a network takes, by the size of what it is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Bytes of activations: `fixed + per_pixel * pixels`, pixels counted over the whole batch."""

    fixed: float
    per_pixel: float

    def bytes_for(self, pixels: int) -> int:
        return int(self.fixed + self.per_pixel * pixels)

    def scaled(self, factor: float) -> Cost:
        return Cost(self.fixed * factor, self.per_pixel * factor)

    def plus(self, nbytes: int) -> Cost:
        return Cost(self.fixed + nbytes, self.per_pixel)
