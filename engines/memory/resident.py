"""The memory that a process has in RAM, and the most it had; free of torch, so that a worker can read its own."""

from __future__ import annotations

from pathlib import Path

import psutil

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """The resident set of this process now."""
    return int(psutil.Process().memory_info().rss)


def reset_high_water() -> bool:
    """Starts the kernel's VmHWM anew (Linux 4.0 and later, where /proc is writable)."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def high_water() -> int:
    """The most that this process has had in RAM since, in bytes; 0 where the kernel does not say."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
