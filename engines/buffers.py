"""Memory that is taken once and used again: for the stacks of tiles and results that every batch needs.

To take tens of mebibytes anew for every tile costs a page fault for each 4 KiB of them, and leaves the allocator
with holes; the largest that was needed serves all.
"""

from __future__ import annotations

import math

import torch


class Buffers:
    """Named float32 buffers on the CPU, each as large as the largest shape asked for so far."""

    def __init__(self) -> None:
        self._storages: dict[str, torch.Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A contiguous tensor of that shape whose content is whatever was there; the one before is overwritten."""
        size = math.prod(shape)
        storage = self._storages.get(name)
        if storage is None or storage.numel() < size:
            self._storages.pop(name, None)  # the smaller one goes before the larger one comes
            storage = self._storages[name] = torch.empty(size)
        return storage[:size].view(shape)
