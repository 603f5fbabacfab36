"""How much memory a device has, how much is free, and how much a piece of work took.

CUDA and XPU answer through torch's allocator and driver; MPS through torch; for the CPU the resident set of
this process is what counts, since that is what a small machine runs out of.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

import psutil
import torch

from . import resident
from .cgroup import container_memory
from .samples import MOST_SAMPLES, Sample, thinned

# Short enough to see the peaks of single layers (a convolution of a 512 px face takes about 20 ms on a
# laptop's core), long enough not to slow the work down.
SAMPLE_SECONDS = 0.005

# Of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SHORTENING = 1 << 17  # bytes of a block with which glibc looks at the end of an arena when it is freed


@dataclass
class Measured:
    """What a `peak` block took: bytes above the level at its start, and the course of it.

    samples: (time as perf_counter gives it, bytes above the start), thinned where there are many. before: bytes of ours
    that the start holds already, for `watched`.
    """

    base: int
    peak: int = 0
    samples: list[Sample] = field(default_factory=list)
    before: int = 0


# For who watches from another thread: the block that is being measured on each device, and the highest peak there.
_UNDER_WAY: dict[torch.device, Measured] = {}
_HIGHEST: dict[torch.device, int] = {}


def watched(device: torch.device, anew: bool = False) -> tuple[int, int]:
    """Bytes that what is measured on a device takes now, and the most since it was last asked `anew`."""
    if anew:
        _HIGHEST[device] = 0
    measured = _UNDER_WAY.get(device)
    levels = [level for _, level in list(measured.samples)] if measured is not None else []
    before = measured.before if measured is not None else 0
    highest = max(_HIGHEST.get(device, 0), before + max(levels, default=0))
    return before + (levels[-1] if levels else 0), highest


def device_name(device: torch.device) -> str:
    """The device's own name, for what was measured on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return torch.xpu.get_device_name(device)
    return f"{device.type} {platform.machine()} {torch.get_num_threads()} threads"


def total_and_free(device: torch.device) -> tuple[int, int]:
    """Bytes that the device has and bytes that could be taken now without taking them from anyone."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return total, free + cached
    if device.type == "xpu":
        free, total = torch.xpu.mem_get_info(device)
        return total, free
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return total, max(0, total - torch.mps.driver_allocated_memory())
    memory, container = psutil.virtual_memory(), container_memory()
    if container is None:
        return memory.total, memory.available
    return min(memory.total, container[0]), min(memory.available, container[1])


def used_bytes(device: torch.device) -> int:
    """Bytes that this process holds on the device now."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    if device.type == "xpu":
        return torch.xpu.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return resident.resident_bytes()


def half_precisions(device: torch.device) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The half precisions that the device computes fast, and those that run on it at all.

    A CPU has no arithmetic in fp16 to speak of; in bf16 it is fast where it has the instructions for it. Where oneDNN
    has no bf16 for it, a convolution unfolds its input: nine times the bytes, which no budget gains by.
    """
    if device.type == "cpu":
        good = ("bf16",) if _cpu_has_bf16() else ()
        return good, good or (("bf16",) if cpu_convolves(torch.bfloat16) else ())
    if device.type == "cuda":
        half = ("fp16",) if torch.cuda.get_device_capability(device) >= (7, 0) else ()
        bf16 = ("bf16",) if torch.cuda.is_bf16_supported(including_emulation=False) else ()
        return (*half, *bf16), ("fp16", *bf16)
    if device.type == "mps":
        return ("fp16",), ("fp16",)
    return ("fp16", "bf16"), ("fp16", "bf16")


def _cpu_has_bf16() -> bool:
    """AVX-512 BF16 or AMX, asked of torch where it can tell (2.4 and later)."""
    asks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(check() for check in asks if check is not None)


def cpu_convolves(dtype: torch.dtype) -> bool:
    """Whether oneDNN convolves a type on this CPU; where not, torch unfolds the input. bf16 needs AVX-512."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    names = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    if dtype not in names:
        return True
    supports = getattr(torch.ops.mkldnn, names[dtype], None)
    return bool(supports is not None and supports())


def release_unused(device: torch.device) -> None:
    """Give back to the system what is cached but not used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        trim()


def trim() -> None:
    """Gives the C library's free memory back to the system, where it keeps it: glibc."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)


def keeping_freed() -> contextlib.AbstractContextManager[None]:
    """While the block runs, what is freed on the CPU is kept for the next layer instead of going back at once.

    glibc maps every large block anew, and the kernel clears its pages one by one: a tenth of GFPGAN's time. After
    the block it does so again, and what was kept is given back. Other C libraries do as they always do.
    """
    return _thresholds(mapped=1 << 30, trimmed=(1 << 31) - 1)


def returning_freed() -> contextlib.AbstractContextManager[None]:
    """While the block runs, blocks of a mebibyte and more go back to the system as soon as they are freed.

    Left to itself glibc puts blocks of up to 32 MiB, a layer's on a small picture, where their gaps stay: 40 to 110
    MiB above what is in use were measured on four networks, 0 to 15 here.
    """
    return _thresholds(mapped=1 << 20, trimmed=1 << 20)


@contextlib.contextmanager
def _thresholds(mapped: int, trimmed: int) -> Iterator[None]:
    """Sets from which size on glibc maps a block by itself, and how much it keeps of the rest."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt"):
        yield
        return
    assert library is not None
    library.mallopt(M_MMAP_THRESHOLD, mapped)
    library.mallopt(M_TRIM_THRESHOLD, trimmed)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_THRESHOLD, 32 << 20)  # where glibc's own adjustment ends
        _shorten_arena(library)
        library.mallopt(M_TRIM_THRESHOLD, 64 << 20)
        trim()


def _shorten_arena(library: ctypes.CDLL) -> None:
    """Gives back the free end of this thread's arena, which malloc_trim does only for the main thread's.

    A host works in a thread of its own: up to 64 MiB stayed there after a run. Freeing a block shortens the arena.
    """
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.mallopt(M_TRIM_THRESHOLD, 0)
    library.free(library.malloc(SHORTENING))


@contextlib.contextmanager
def peak(device: torch.device, before: int = 0) -> Iterator[Measured]:
    """Measures the highest level above the start while the block runs.

    On CUDA the allocator's own peak is exact; elsewhere a thread samples, and on Linux the kernel's
    high-water mark catches what falls between two samples. before: bytes of ours that are there already, for
    `watched`.
    """
    measured = Measured(used_bytes(device), before=before)
    exact_kernel_peak = device.type == "cpu" and resident.reset_high_water()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(device, measured, stop), daemon=True)
    outer = _UNDER_WAY.get(device)
    _UNDER_WAY[device] = measured
    sampler.start()
    try:
        yield measured
    finally:
        _UNDER_WAY.pop(device)
        if outer is not None:
            _UNDER_WAY[device] = outer
        stop.set()
        sampler.join()
        highest = measured.base + max((level for _, level in measured.samples), default=0)
        if device.type == "cuda":
            highest = max(highest, torch.cuda.max_memory_reserved(device))
        if exact_kernel_peak:
            highest = max(highest, resident.high_water())
        measured.peak = max(0, highest - measured.base)
        _HIGHEST[device] = max(_HIGHEST.get(device, 0), before + measured.peak)


def _sample(device: torch.device, measured: Measured, stop: threading.Event) -> None:
    """Until it is told to stop, and once after that."""
    stopped = False
    while True:
        measured.samples.append((perf_counter(), used_bytes(device) - measured.base))
        if len(measured.samples) >= 2 * MOST_SAMPLES:
            measured.samples = thinned(measured.samples)
        if stopped:
            return
        stopped = stop.wait(SAMPLE_SECONDS)
