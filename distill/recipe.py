"""What defines a training run: its length, its network, its losses, and the rate at each moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import SettingError

Stage = Literal["faithful", "sharp", "joint"]
SMALLEST_WOVEN = 64  # px: below it the frequencies of the grid have no neighbours of their own
WARM_UP = 0.02  # share of a stage


@dataclass(frozen=True)
class Recipe:
    """Exactly one of `minutes` and `steps` is the length.

    The first stage trains the whole network to be faithful; the last `sharp_share` of the length trains a second
    decoder on the same encoder, which then rests, to look like the original. start: weights to go on from. vgg:
    share of each batch that VGG16 judges beside AlexNet, which costs ten times as much. pixels: weight of the
    absolute difference beside LPIPS. teacher: weight of the teacher's pictures; temperature: how far from the
    truth they are believed. identity: weight of the distance between embeddings of faces. rests: the encoder keeps
    the start's weights, so that each decoder can be refined alone; in a joint stage its finest levels keep them.
    joint: one stage for the whole network, each step at a fidelity of its own. weave: weight of lines at the
    network's grid. half: bfloat16, for processors that compute in it.
    """

    minutes: float | None = None
    steps: int | None = None
    widths: tuple[int, ...] = (48, 96, 160, 256)
    depths: tuple[int, ...] = (1, 1, 1, 1)
    patch: int = 128
    batch: int = 16
    rate: float = 5e-4
    last_rate: float = 1e-5
    decay: float = 1e-4
    average: float = 0.999
    seed: int = 20
    half: bool = False
    start: Path | None = None
    sharp_share: float = 0.5
    vgg: float = 0.0
    pixels: float = 1.0
    teacher: float = 0.0
    temperature: float = 0.1
    identity: float = 0.0
    rests: bool = False
    joint: bool = False
    weave: float = 0.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None) or (self.minutes or self.steps or 0) <= 0:
            raise SettingError("A run needs a length above 0: either in minutes or in steps.")
        if not 0 <= self.sharp_share <= 1:
            raise SettingError(f"The share of the sharp stage lies between 0 and 1, not at {self.sharp_share}.")
        if self.rests and self.start is None:
            raise SettingError("An encoder that rests needs weights to start from: name them, or let it train.")
        if self.temperature <= 0:
            raise SettingError(f"The temperature must be above 0, not {self.temperature}.")
        grid = 2 ** len(self.widths)
        if self.patch < 32 or self.patch % grid:
            raise SettingError(f"The patch must be a multiple of {grid} px and at least 32, not {self.patch}.")
        if self.weave and self.patch < SMALLEST_WOVEN:
            raise SettingError(f"A weave is seen in patches of {SMALLEST_WOVEN} px and more, not of {self.patch}.")

    def facts(self) -> str:
        """What must be equal for a run to be the same one; its length may be extended."""
        kept = ("widths", "depths", "patch", "batch", "rate", "seed", "half", "sharp_share", "vgg", "pixels")
        more = ("teacher", "temperature", "identity", "rests", "joint", "weave")
        return ", ".join(f"{name} {getattr(self, name)}" for name in (*kept, *more))

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run that is done, 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))

    def stage_at(self, done: float) -> tuple[Stage, float]:
        """The stage at a share of the run, and the share of that stage that is done."""
        if self.joint:
            return "joint", done
        faithful = 1 - self.sharp_share
        if done < faithful or self.sharp_share == 0:
            return "faithful", done / faithful
        return "sharp", (done - faithful) / self.sharp_share

    def rate_at(self, done: float) -> float:
        """Learning rate at a share of a stage: linear warm-up, then half a cosine (Loshchilov & Hutter 2017)."""
        if done < WARM_UP:
            return self.rate * max(0.02, done / WARM_UP)
        phase = (done - WARM_UP) / (1 - WARM_UP)
        return self.last_rate + (self.rate - self.last_rate) * 0.5 * (1 + math.cos(math.pi * phase))
