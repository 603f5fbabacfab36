"""Memory of NVIDIA cards as their driver accounts for it, for whoever is no part of torch.

Through the driver's own library, which is there wherever the driver is. A process is told apart on Linux only:
Windows' display driver model never says, nor does a container whose numbers for processes are not the driver's.
Names and layouts are those of nvml.h. Free of torch, so that a worker can read its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SUCCESS, INSUFFICIENT_SIZE = 0, 7
NOT_AVAILABLE = (1 << 64) - 1  # bytes of a process that the driver does not tell
NAME_LENGTH = 96
SPARE_PROCESSES = 8  # that may start between two calls


@dataclass(frozen=True)
class Device:
    """A card, at the driver's index. total: bytes."""

    index: int
    name: str
    total: int


class Memory(ctypes.Structure):
    """nvmlMemory_t"""

    _fields_ = [("total", ctypes.c_uint64), ("free", ctypes.c_uint64), ("used", ctypes.c_uint64)]


class ProcessInfo(ctypes.Structure):
    """nvmlProcessInfo_t, as its second and third versions have it."""

    _fields_ = [
        ("pid", ctypes.c_uint32),
        ("used", ctypes.c_uint64),
        ("gpu_instance", ctypes.c_uint32),
        ("compute_instance", ctypes.c_uint32),
    ]


def devices() -> list[Device]:
    """The driver's cards; none where there is no driver."""
    library, count = _library(), ctypes.c_uint32()
    if library is None or library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != SUCCESS:
        return []
    listed = []
    for index in range(count.value):
        handle, levels = _handle(index), device_bytes(index)
        if handle is not None and levels is not None:
            listed.append(Device(index, _text(library.nvmlDeviceGetName, handle), levels[0]))
    return listed


def device_bytes(index: int) -> tuple[int, int] | None:
    """Bytes that a card has and bytes that all processes use of it, or None where nobody says."""
    library, handle, memory = _library(), _handle(index), Memory()
    if handle is None or library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != SUCCESS:
        return None
    return memory.total, memory.used


def own_bytes() -> int:
    """Bytes that this process holds on all cards, contexts included; 0 where there is no driver.

    Where the driver does not tell processes apart, what all of them hold: what others take meanwhile counts too.
    """
    indices, pid = _indices(), os.getpid()
    told = [process_bytes(index, pid) for index in indices]
    if any(reading is not None for reading in told):
        return sum(reading or 0 for reading in told)
    return sum((device_bytes(index) or (0, 0))[1] for index in indices)


@lru_cache(maxsize=1)
def _indices() -> tuple[int, ...]:
    """Of the driver's cards, listed once: it is asked hundreds of times a second."""
    return tuple(card.index for card in devices())


def process_bytes(index: int, pid: int) -> int | None:
    """Bytes that a process uses of a card, its context included, or None where the driver does not tell it apart.

    A process may stand in the list of those that compute, of those that draw (Vulkan's), or in both with all it has.
    """
    handle = _handle(index)
    if handle is None:
        return None
    lists = (_processes(handle, kind) for kind in ("Compute", "Graphics"))
    used = [info.used for infos in lists for info in infos if info.pid == pid and info.used != NOT_AVAILABLE]
    return max(used, default=None)


def _processes(handle: ctypes.c_void_p, kind: str) -> list[ProcessInfo]:
    """The processes of a kind on a card; none where the driver does not list them, as those of before 2020."""
    library = _library()
    calls = (getattr(library, f"nvmlDeviceGet{kind}RunningProcesses_v{version}", None) for version in (3, 2))
    call = next((reading for reading in calls if reading is not None), None)
    if call is None:
        return []
    count = ctypes.c_uint32(0)
    status = call(handle, ctypes.byref(count), None)
    if status != INSUFFICIENT_SIZE:
        return []
    count = ctypes.c_uint32(count.value + SPARE_PROCESSES)
    infos = (ProcessInfo * count.value)()
    status = call(handle, ctypes.byref(count), infos)
    return list(infos[: count.value]) if status == SUCCESS else []


@lru_cache(maxsize=1)
def _library() -> Any:
    """The driver's library, ready, or None where there is none."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == SUCCESS else None
    except (OSError, AttributeError):  # AttributeError: a library without the call, older than any that torch takes
        return None


@lru_cache(maxsize=64)
def _handle(index: int) -> ctypes.c_void_p | None:
    library, handle = _library(), ctypes.c_void_p()
    if library is None or library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != SUCCESS:
        return None
    return handle


def _text(call: Any, handle: ctypes.c_void_p) -> str:
    text = ctypes.create_string_buffer(NAME_LENGTH)
    return text.value.decode(errors="replace") if call(handle, text, NAME_LENGTH) == SUCCESS else ""
