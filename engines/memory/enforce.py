"""The budget as something that the allocator refuses to exceed.

torch's caching allocators can be told the share of a device that this process may reserve. The share is the
process's, not ours, so it is set for the duration of a run only, on top of what others of the process hold,
and put back after. Where there is no such switch (a CPU) the budget is watched: predicted, then measured.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Literal

import torch

from . import meter

# By an allocator that refuses; by measuring while it runs; or not at all, where nobody tells what is taken.
Enforcement = Literal["enforced", "watched", "predicted"]

_LOCK = threading.RLock()


@contextlib.contextmanager
def capped(device: torch.device, allowed: int, ours: int) -> Iterator[Enforcement]:
    """Holds the process to `allowed` bytes above what others of it have reserved, while the block runs.

    ours: bytes of `allowed` that our open sessions hold already. A narrower limit that the host has set stays.
    """
    allocator = _allocator(device)
    if allocator is None:
        yield "watched"
        return
    with _LOCK:
        meter.release_unused(device)  # so that what is reserved is what is used
        total, _ = meter.total_and_free(device)
        before = _fraction(allocator, device)
        wanted = (meter.used_bytes(device) - ours + allowed) / total
        allocator.set_per_process_memory_fraction(max(0.0, min(before, wanted)), device)
        try:
            yield "enforced"
        finally:
            allocator.set_per_process_memory_fraction(before, device)


def _allocator(device: torch.device) -> Any:
    """The module of torch that can limit this device's allocator, or None."""
    module = {"cuda": torch.cuda, "xpu": getattr(torch, "xpu", None)}.get(device.type)
    return module if hasattr(module, "set_per_process_memory_fraction") else None


def _fraction(allocator: Any, device: torch.device) -> float:
    """The share that is set now; torch before 2.8 cannot be asked and has none unless somebody set it."""
    fraction = getattr(allocator, "get_per_process_memory_fraction", None)
    return 1.0 if fraction is None else float(fraction(device))
