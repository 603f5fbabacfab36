"""What torch's errors mean: out of memory, or a device that is gone."""

from __future__ import annotations

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: its own type on GPUs, a sentence on CPUs and MPS."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return "not enough memory" in text or "out of memory" in text or "Cannot allocate memory" in text


def is_device_failure(error: RuntimeError) -> bool:
    """Whether a device was lost or its driver gave up, as opposed to a mistake in what was asked of it."""
    kind = getattr(torch, "AcceleratorError", None)  # torch 2.8 and later
    if kind is not None and isinstance(error, kind):
        return True
    return any(sign in str(error) for sign in ("CUDA error", "HIP error", "device lost", "DEVICE_LOST"))
