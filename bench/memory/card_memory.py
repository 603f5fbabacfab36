"""What a card loses while something runs, libraries and contexts included: what torch's own counters do not see."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

SAMPLE_SECONDS = 0.01


@dataclass
class Rise:
    """peak: bytes of a card above its level at the start, of all processes; 0 on what is no CUDA device."""

    peak: int = 0


@contextlib.contextmanager
def card_rise(device: torch.device) -> Iterator[Rise]:
    """Asks CUDA for what is free, again and again, while the block runs."""
    rise = Rise()
    if device.type != "cuda":
        yield rise
        return
    before, _ = torch.cuda.mem_get_info(device)
    stop = threading.Event()

    def look() -> None:
        rise.peak = max(rise.peak, before - torch.cuda.mem_get_info(device)[0])

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            look()

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield rise
    finally:
        stop.set()
        thread.join()
        look()
