"""Video memory as Windows accounts for it, whoever made the card: DXGI through its COM interfaces.

`QueryVideoMemoryInfo` says of this process what it uses and what the video memory manager lets it have. Above that
nothing fails: memory is moved to RAM and work becomes slow. On a card whose memory is the machine's RAM all of it is
local. Slots and layouts are those of dxgi.h, dxgi1_4.h and guiddef.h; 64 bits only. Free of torch, so that a worker
can read its own.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from ...errors import DependencyError, DeviceError

FACTORY1 = UUID("770aae78-f26f-4dba-a829-253c83d1b387")
ADAPTER3 = UUID("645967a4-1392-4310-a798-8053ce3e93fd")

# Places in the tables of methods: IUnknown's, IDXGIFactory1's, IDXGIAdapter1's and IDXGIAdapter3's.
QUERY_INTERFACE, RELEASE = 0, 2
ENUM_ADAPTERS1, GET_DESC1, QUERY_VIDEO_MEMORY_INFO = 12, 10, 14

LOCAL, NON_LOCAL = 0, 1  # DXGI_MEMORY_SEGMENT_GROUP
SOFTWARE = 2  # DXGI_ADAPTER_FLAG_SOFTWARE
NOT_FOUND = 0x887A0002  # DXGI_ERROR_NOT_FOUND: there are no more adapters

# COM calls by the platform's convention, which is one and the same on 64 bits.
_prototype = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)


@dataclass(frozen=True)
class Adapter:
    """A graphics card, at the index that DirectML counts by. dedicated, shared: bytes of its own and of RAM."""

    name: str
    dedicated: int
    shared: int
    software: bool


@dataclass(frozen=True)
class Usage:
    """Of this process, in bytes. budget: of local memory, what it may have before it is moved out."""

    budget: int
    used_local: int
    used_non_local: int


class AdapterDesc1(ctypes.Structure):
    """DXGI_ADAPTER_DESC1. A wchar_t of Windows has two bytes everywhere."""

    _fields_ = [
        ("description", ctypes.c_uint16 * 128),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("subsystem", ctypes.c_uint32),
        ("revision", ctypes.c_uint32),
        ("dedicated_video", ctypes.c_size_t),
        ("dedicated_system", ctypes.c_size_t),
        ("shared_system", ctypes.c_size_t),
        ("luid_low", ctypes.c_uint32),
        ("luid_high", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    ]


class MemoryInfo(ctypes.Structure):
    """DXGI_QUERY_VIDEO_MEMORY_INFO."""

    _fields_ = [
        ("budget", ctypes.c_uint64),
        ("usage", ctypes.c_uint64),
        ("available_for_reservation", ctypes.c_uint64),
        ("reservation", ctypes.c_uint64),
    ]


def adapters() -> list[Adapter]:
    """The machine's graphics cards, software ones included, in DXGI's order; none where there is no DXGI."""
    factory = _factory()
    if factory is None:
        return []
    listed: list[Adapter] = []
    try:
        while (pointer := _adapter(factory, len(listed))) is not None:
            try:
                listed.append(_described(pointer))
            finally:
                _release(pointer)
    finally:
        _release(factory)
    return listed


def usage(adapter_index: int) -> Usage:
    """What this process uses of an adapter now.

    Raises DependencyError where there is no DXGI, DeviceError where there is no such adapter or it was lost.
    """
    pointer = _opened(adapter_index)
    local, non_local = (_memory(pointer, group, adapter_index) for group in (LOCAL, NON_LOCAL))
    return Usage(local.budget, local.usage, non_local.usage)


def own_bytes() -> int:
    """Bytes that this process uses of all cards, what was moved to RAM included. Raises as `usage` does."""
    used = (usage(index) for index in _cards())
    return sum(usage.used_local + usage.used_non_local for usage in used)


@lru_cache(maxsize=1)
def _cards() -> tuple[int, ...]:
    """The adapters that are cards, listed once: it is asked hundreds of times a second."""
    return tuple(index for index, adapter in enumerate(adapters()) if not adapter.software)


@lru_cache(maxsize=8)
def _opened(index: int) -> int:
    """The IDXGIAdapter3 of an adapter, kept for the process's life: it is asked hundreds of times a second."""
    factory = _factory()
    if factory is None:
        raise DependencyError("There is no DXGI here: it is a part of Windows 10 and later.")
    try:
        adapter = _adapter(factory, index)
    finally:
        _release(factory)
    if adapter is None:
        raise DeviceError(f"There is no graphics card {index}. Choose a smaller number, or leave it automatic.")
    try:
        return _interface(adapter, index)
    finally:
        _release(adapter)


def _factory() -> int | None:
    """An IDXGIFactory1 that the caller releases, or None where there is no DXGI."""
    library = _library()
    if library is None:
        return None
    pointer = ctypes.c_void_p()
    _check(library.CreateDXGIFactory1(_guid(FACTORY1), ctypes.byref(pointer)), "CreateDXGIFactory1")
    return pointer.value


def _library() -> Any:
    """dxgi.dll, or None where it is not to be had."""
    if sys.platform != "win32":
        return None
    try:
        return ctypes.WinDLL("dxgi.dll")
    except OSError:
        return None


def _adapter(factory: int, index: int) -> int | None:
    """An IDXGIAdapter1 that the caller releases, or None where the index is beyond the last."""
    pointer = ctypes.c_void_p()
    enumerate_adapters = _method(factory, ENUM_ADAPTERS1, ctypes.c_uint32, ctypes.c_void_p)
    status = enumerate_adapters(factory, index, ctypes.byref(pointer))
    if status & 0xFFFFFFFF == NOT_FOUND:
        return None
    _check(status, "EnumAdapters1")
    return pointer.value


def _described(adapter: int) -> Adapter:
    desc = AdapterDesc1()
    _check(_method(adapter, GET_DESC1, ctypes.c_void_p)(adapter, ctypes.byref(desc)), "GetDesc1")
    name = bytes(desc.description).decode("utf-16-le", "replace").partition("\0")[0]
    return Adapter(name, desc.dedicated_video, desc.shared_system, bool(desc.flags & SOFTWARE))


def _interface(adapter: int, index: int) -> int:
    """The IDXGIAdapter3 of an IDXGIAdapter1."""
    pointer = ctypes.c_void_p()
    query = _method(adapter, QUERY_INTERFACE, ctypes.c_void_p, ctypes.c_void_p)
    if query(adapter, _guid(ADAPTER3), ctypes.byref(pointer)) or pointer.value is None:
        raise DependencyError(f"Graphics card {index} does not tell its memory: that needs Windows 10 or later.")
    return pointer.value


def _memory(adapter: int, group: int, index: int) -> MemoryInfo:
    info = MemoryInfo()
    query = _method(adapter, QUERY_VIDEO_MEMORY_INFO, ctypes.c_uint32, ctypes.c_int32, ctypes.c_void_p)
    status = query(adapter, 0, group, ctypes.byref(info))
    if status:
        raise DeviceError(
            f"Graphics card {index} does not answer any more (0x{status & 0xFFFFFFFF:08X}): its driver was "
            "restarted or it was taken out. Restart the program."
        )
    return info


def _release(pointer: int) -> None:
    _method(pointer, RELEASE)(pointer)


def _method(pointer: int, slot: int, *types: Any) -> Any:
    """A method of a COM object: its first field is the table of all. The object goes first among the arguments."""
    table = ctypes.cast(pointer, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents
    return _prototype(ctypes.c_int32, ctypes.c_void_p, *types)(table[slot])


def _guid(value: UUID) -> Any:
    """A GUID by reference: the first three fields are little-endian."""
    return ctypes.byref(ctypes.create_string_buffer(value.bytes_le, 16))


def _check(status: int, call: str) -> None:
    if status:
        raise DeviceError(
            f"Windows does not list its graphics cards ({call}: 0x{status & 0xFFFFFFFF:08X}). Restart the program."
        )
