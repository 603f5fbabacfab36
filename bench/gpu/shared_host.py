"""A real ComfyUI in which a large checkpoint is loaded beside us: both work in turn, and /free gives all of it back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..demo import encoded, example_prompt
from ..host_driver import Host, HostError, Json, booted
from ..portraits import astronaut
from ..result import at_least, at_most
from .place import Findings, Place, Skipped

PACK = Path(__file__).with_name("checkpoint_pack")
SHARE = 0.6  # of the card's free memory, which the checkpoint takes
REHEARSED_GIB = 0.25
BUDGET_GIB = 1.0
LEFT_MIB = 64
FREED_SECONDS = 30.0
MIB, GIB = 1 << 20, 1 << 30


def measure(place: Place) -> Findings:
    try:
        with booted(packs=[PACK], on_cpu=place.is_rehearsal) as host:
            return _measured(host, place)
    except HostError as error:
        if "COMFYUI_PATH" in str(error):
            raise Skipped(str(error)) from error
        raise


def _measured(host: Host, place: Place) -> Findings:
    findings, info = Findings(), host.get("/object_info")
    host.upload("before.png", encoded(astronaut()))
    restoring = example_prompt(info, "before.png", BUDGET_GIB)
    first = _level(host)
    gib = REHEARSED_GIB if place.is_rehearsal else round(first["free"] * SHARE / GIB, 2)
    succeeded = [
        _ran(host, _checkpoint(gib, 1), findings, f"a checkpoint of {gib} GiB alone"),
        _ran(host, restoring, findings, "faces beside it"),
        _ran(host, _checkpoint(gib, 2), findings, "the checkpoint again"),
    ]
    loaded = _level(host)
    findings.rows["loaded beside one another"] = ", ".join(loaded["models"]) or "nothing"
    host.free()
    end = time.monotonic() + FREED_SECONDS
    while _level(host)["models"] and time.monotonic() < end:
        time.sleep(0.1)
    last = _level(host)
    findings.rows["allocated after /free"] = f"{last['allocated'] / MIB:.0f} MiB, {first['allocated'] / MIB:.0f} before"
    findings.bars += [
        at_least("prompts that succeeded beside a checkpoint", sum(succeeded), len(succeeded)),
        at_most("models loaded after /free", len(last["models"]), 0),
        at_most("MiB left after /free", round((last["allocated"] - first["allocated"]) / MIB, 1), LEFT_MIB),
    ]
    return findings


def _level(host: Host) -> Json:
    """{"free", "allocated": bytes of the card, torch's of this process, "models": what is loaded}."""
    return dict(host.get("/bench/level"))


def _checkpoint(gib: float, number: int) -> Json:
    """number: another each time, or the host would answer from its cache."""
    return {"use": {"class_type": "BenchUseCheckpoint", "inputs": {"gib": gib, "number": number}}}


def _ran(host: Host, prompt: dict[str, Any], findings: Findings, what: str) -> bool:
    start = time.perf_counter()
    run = host.run(prompt)
    good = run.ending == "execution_success"
    findings.rows[what] = f"{time.perf_counter() - start:.1f} s" if good else f"failed: {run.error[:200]}"
    return good
