"""What this process holds on graphics cards, whoever made them: asked of Windows, or of the drivers on Linux.

For a worker process, which runs one network on one card, that is what the network takes there. Free of torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ...errors import SlimFusionError
from . import drm, dxgi, nvml

Reader = Callable[[], int]


def readers() -> tuple[Reader, ...]:
    """Those that may answer on this system: bytes that this process holds on all cards that they know of."""
    if sys.platform == "win32":
        return (dxgi.own_bytes,)
    return (drm.own_bytes, nvml.own_bytes) if sys.platform == "linux" else ()


def levels() -> list[int]:
    """What each reader sees now; 0 where it cannot."""
    return [_level(reader) for reader in readers()]


def meter_since(before: list[int]) -> Reader | None:
    """What reads the bytes of this process on the card that it has woken since, or None where nobody tells them.

    before: what `levels` returned before the card was woken. A reader that saw nothing of that does not see this card.
    """
    seeing = [reader for reader, level in zip(readers(), before, strict=True) if _level(reader) > level]
    return (lambda: sum(map(_level, seeing))) if seeing else None


def _level(reader: Reader) -> int:
    try:
        return reader()
    except SlimFusionError:
        return 0
