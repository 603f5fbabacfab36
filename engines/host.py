"""What the engines ask of whoever runs them: devices, room, progress, a way to stop.

Inside ComfyUI the answers come from its model manager (nodes/host.py); in a script or on the command line
from `StandaloneHost`. Nothing below this protocol knows which of the two it is talking to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from ..errors import BudgetError, SettingError
from .memory import meter

if TYPE_CHECKING:
    from .session import Session

Progress = Callable[[str, int, int], None]


class Host(Protocol):
    """The services of the program around us."""

    def device(self) -> torch.device:
        """The device that work runs on unless the user says otherwise."""
        ...

    def make_room(self, nbytes: int, device: torch.device) -> None:
        """Let go of what others hold on `device` until `nbytes` are free, as far as that is possible."""
        ...

    def open(self, session: Session, working_bytes: int) -> None:
        """Open `session` on its device; `working_bytes` are needed beside its weights while it runs."""
        ...

    def progress(self, stage: str, done: int, total: int) -> None:
        """Say how far `stage` is."""
        ...

    def check_interrupt(self) -> None:
        """Raise when the user has asked to stop."""
        ...

    def state_folder(self) -> Path | None:
        """Where measurements may be kept between runs; None where nothing may be written."""
        ...

    def out_of_memory(self, error: BudgetError) -> Exception:
        """The error to raise when memory ran out and every step down was taken: the host's own kind."""
        ...


def best_device() -> torch.device:
    """The first accelerator that torch offers, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        return torch.device("xpu", torch.xpu.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def named_device(name: str | torch.device) -> torch.device:
    """The device that a name means, its index included. Raises SettingError when it cannot be used here."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with the device's backend
        reason = str(error).splitlines()[0].rstrip(".")
        raise SettingError(f"The device {str(name)!r} cannot be used ({reason}). Choose auto or cpu.") from error


class StandaloneHost:
    """The host of a script: one process, nobody else to share the device with."""

    def __init__(
        self,
        device: str | torch.device = "auto",
        progress: Progress | None = None,
        state_folder: Path | None = None,
    ) -> None:
        self._device = best_device() if str(device) == "auto" else named_device(device)
        self._progress = progress
        self._state_folder = state_folder

    def device(self) -> torch.device:
        return self._device

    def make_room(self, nbytes: int, device: torch.device) -> None:
        meter.release_unused(device)

    def open(self, session: Session, working_bytes: int) -> None:
        session.open()

    def progress(self, stage: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(stage, done, total)

    def check_interrupt(self) -> None:
        """A script is stopped by KeyboardInterrupt, which needs no help."""

    def state_folder(self) -> Path | None:
        return self._state_folder

    def out_of_memory(self, error: BudgetError) -> Exception:
        return error
