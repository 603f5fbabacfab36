"""Memory of graphics cards as Linux accounts for it, through the kernel's interface for them: AMD, Intel and others.

Each open card has a page in /proc/self/fdinfo that says what this process holds there (the kernel's
drm-usage-stats.rst). Where an old kernel does not, amdgpu says in /sys/class/drm what all processes hold, and what
others take meanwhile is then counted too. NVIDIA's own driver is in neither: see nvml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

OPEN_FILES, PAGES = Path("/proc/self/fd"), Path("/proc/self/fdinfo")
CARDS = Path("/sys/class/drm")
NODES = "/dev/dri/"

# Bytes with something behind them, under its name of today and its first one; regions are vram, gtt, system0 and such.
KEYS = ("drm-resident-", "drm-memory-")
AMOUNT = re.compile(r"(\d+)\s*(KiB|MiB)?$")
UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}
OF_ALL = ("mem_info_vram_used", "mem_info_gtt_used")  # amdgpu's, of a card, bytes


def own_bytes() -> int:
    """Bytes that this process holds on the cards that it has open; 0 where none is or none tells."""
    clients: dict[tuple[str, str], int] = {}  # several files may belong to one and the same
    silent = set()
    for number, node in _open_nodes():
        fields = _fields(number)
        told = _told(fields)
        if told is None:
            silent.add((CARDS / node / "device").resolve())
        else:
            clients[fields.get("drm-pdev", node), fields.get("drm-client-id", number)] = told
    return sum(clients.values()) + sum(map(_of_all, silent))


def _open_nodes() -> Iterator[tuple[str, str]]:
    """The number of each file that is a card, and the card's name, such as renderD128."""
    try:
        numbers = os.listdir(OPEN_FILES)
    except OSError:
        return
    for number in numbers:
        try:
            target = os.readlink(OPEN_FILES / number)
        except OSError:  # closed meanwhile
            continue
        if target.startswith(NODES):
            yield number, target.removeprefix(NODES)


def _fields(number: str) -> dict[str, str]:
    """The lines of a file's page, by what stands before the colon."""
    try:
        lines = (PAGES / number).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _told(fields: dict[str, str]) -> int | None:
    """Bytes of all regions of a page, or None where it tells none."""
    for key in KEYS:
        amounts = [AMOUNT.match(value) for name, value in fields.items() if name.startswith(key)]
        if amounts:
            return sum(int(amount[1]) * UNITS[amount[2]] for amount in amounts if amount)
    return None


def _of_all(card: Path) -> int:
    """Bytes that all processes hold on a card; 0 where its driver does not say."""
    used = 0
    for name in OF_ALL:
        try:
            used += int((card / name).read_text())
        except (OSError, ValueError):
            continue
    return used
