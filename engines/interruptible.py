"""A stop in the middle of a network: on a CPU one pass takes seconds, and nobody waits that long for it to end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

INTERVAL = 0.1  # s between two questions; the longest single operation, a convolution, takes some tenths


class Interruptible(TorchFunctionMode):
    """While it is active, torch's operations in this thread are preceded by `check`, which raises to stop."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check
        self._next = time.monotonic() + INTERVAL

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if time.monotonic() >= self._next:
            self._check()
            self._next = time.monotonic() + INTERVAL
        return func(*args, **(kwargs or {}))


def interruptible(device: torch.device, check: Callable[[], None] | None) -> contextlib.AbstractContextManager[Any]:
    """`Interruptible` on a CPU. Other devices are only handed the work, which takes milliseconds."""
    return contextlib.nullcontext() if check is None or device.type != "cpu" else Interruptible(check)
