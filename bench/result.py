"""The one line that every measurement ends with."""

from __future__ import annotations

import json
import platform
from typing import Any

import torch


def machine() -> str:
    """What it was measured on, in general words."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = torch.get_num_threads()
    return f"{platform.system()} {platform.machine()}, {threads} threads, {device}, torch {torch.__version__}"


def at_most(name: str, value: float, limit: float) -> dict[str, Any]:
    """A bar that is met when the value does not exceed the limit."""
    return {"name": name, "value": value, "limit": limit, "ok": value <= limit}


def at_least(name: str, value: float, limit: float) -> dict[str, Any]:
    """A bar that is met when the value reaches the limit."""
    return {"name": name, "value": value, "limit": limit, "ok": value >= limit}


def print_result(bench: str, bars: list[dict[str, Any]], **more: Any) -> None:
    """more: whatever belongs to the result and has no bar, by name."""
    print(json.dumps({"bench": bench, "machine": machine(), "bars": bars, **more}))
