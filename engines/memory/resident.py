"""The memory that a process has in RAM, and the most it had; free of torch, so that a worker can read its own."""

from __future__ import annotations

import mmap
import os
import sys
from functools import lru_cache
from pathlib import Path

import psutil

if sys.platform == "linux":
    import resource

USUAL_STACK = 8 << 20  # bytes of a thread's stack where it has no limit

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """The resident set of this process now."""
    return int(_process(os.getpid()).memory_info().rss)


@lru_cache(maxsize=1)
def _process(pid: int) -> psutil.Process:
    """Making one takes twice as long as asking it, and a worker asks 200 times a second while it computes."""
    return psutil.Process(pid)


def reset_high_water() -> bool:
    """Starts the kernel's VmHWM anew (Linux 4.0 and later, where /proc is writable)."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def high_water() -> int:
    """The most that this process has had in RAM since, in bytes; 0 where the kernel does not say."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """A size that the kernel tells of this process, in bytes; 0 where it does not."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def refused_beyond(nbytes: int, threads: int) -> bool:
    """Has the system refuse this process more than `nbytes` above what it has; whether it does.

    Linux 4.7 and later do, for the rest of the process's life. threads: that may yet be started; their stacks are
    address space, hardly memory, and do not count.
    """
    if sys.platform != "linux":
        return False
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    stacks = threads * (stack if stack != resource.RLIM_INFINITY else USUAL_STACK)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = _status("VmData") + nbytes + stacks
    if hard != resource.RLIM_INFINITY and hard < ceiling:
        return False
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))
    try:
        mmap.mmap(-1, nbytes + stacks + mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return True
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))  # a system that only seems to be Linux
    return False
