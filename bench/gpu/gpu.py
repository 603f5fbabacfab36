"""Everything that wants a graphics card, in one command of at most twenty minutes.

`python3 dev.py bench gpu [--only PART] [--out FILE] [--rehearse]` runs its parts one after the other, each in
a process of its own that is ended when its time is over: memory under budgets, time against the floor, the engines,
a shared ComfyUI, and frames of 1080p and 4K. It writes a table and prints last one line of JSON. Without a card it says
so and succeeds. `--only tensorrt` is the proof of TensorRT alone. `--rehearse` runs every part in small on the
processor, to see that they work before there is a card.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from ...errors import SlimFusionError
from ..result import machine, print_result
from .place import Findings, Place, Skipped

SECONDS = 20 * 60
PATIENCE = 4  # times as long for a rehearsal, on a processor that others use
STARTED_LATEST = 30  # seconds that a part must have to be begun
NO_CARD = "torch finds no CUDA device here"


def _memory(place: Place) -> Findings:
    from . import budgets

    return budgets.measure(place)


def _speed(place: Place) -> Findings:
    from . import speed

    return speed.measure(place)


def _article(place: Place) -> Findings:
    from . import article

    return article.measure(place)


def _host(place: Place) -> Findings:
    from . import shared_host

    return shared_host.measure(place)


def _onnx(place: Place) -> Findings:
    from . import runtimes

    return runtimes.measure_onnx(place)


def _onnxruntime(place: Place) -> Findings:
    from . import runtimes

    return runtimes.measure_onnxruntime(place)


def _tensorrt(place: Place) -> Findings:
    from . import runtimes

    return runtimes.measure_tensorrt(place)


@dataclass(frozen=True)
class Part:
    """seconds: that it may take; all of them together are the command's."""

    title: str
    measure: Callable[[Place], Findings]
    seconds: int


PARTS = {
    "memory": Part("Budgets, enforced", _memory, 360),
    "speed": Part("A face against the floor", _speed, 140),
    "article": Part("Frames under 4 GiB", _article, 120),
    "host": Part("Beside a checkpoint in ComfyUI", _host, 110),
    "onnx": Part("ONNX in torch", _onnx, 60),
    "onnxruntime": Part("onnxruntime, CUDA", _onnxruntime, 110),
    "tensorrt": Part("TensorRT", _tensorrt, 300),
}


def run_part(name: str, is_rehearsal: bool, seconds: float) -> dict[str, Any]:
    """A part in this process, as JSON: its findings, or "skipped" or "failure" with the reason."""
    device = torch.device("cpu") if is_rehearsal else torch.device("cuda", torch.cuda.current_device())
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asdict(PARTS[name].measure(Place(device, is_rehearsal, Path(folder), seconds)))
        except Skipped as reason:
            return {"skipped": str(reason)}
        except SlimFusionError as error:
            return {"failure": str(error)}


def in_own_process(name: str, is_rehearsal: bool, seconds: float) -> dict[str, Any]:
    """The same in a fresh process, which is ended when its time is over."""
    command = [sys.executable, "-m", f"{__package__}.gpu", "--part", name, "--seconds", str(seconds)]
    command += ["--rehearse"] if is_rehearsal else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            return {"failure": f"did not end within {seconds:.0f} s"}
    lines = said.splitlines()
    print("\n".join(lines[:-1]), flush=True)
    if process.returncode or not lines:
        return {"failure": f"ended with {process.returncode}; what it said is above"}
    return dict(json.loads(lines[-1]))


def run_parts(names: list[str], is_rehearsal: bool, run: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All parts, one after the other, within the command's time."""
    patience, outcomes = PATIENCE if is_rehearsal else 1, {}
    end = time.monotonic() + patience * SECONDS
    for name in names:
        seconds = min(patience * PARTS[name].seconds, end - time.monotonic())
        if seconds < STARTED_LATEST:
            outcomes[name] = {"skipped": "no time was left"}
            continue
        print(f"{PARTS[name].title} ({name}, at most {seconds:.0f} s)", flush=True)
        begin = time.monotonic()
        outcomes[name] = run(name, is_rehearsal, seconds) | {"seconds": round(time.monotonic() - begin, 1)}
    return outcomes


def bars_of(outcomes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The bars of all parts; a part that failed is one that is missed."""
    bars = []
    for name, outcome in outcomes.items():
        if "failure" in outcome:
            bars.append({"name": f"{name}: {outcome['failure']}", "value": 0, "limit": 1, "ok": False})
        bars += outcome.get("bars", [])
    return bars


def table(outcomes: Mapping[str, Mapping[str, Any]]) -> str:
    """The findings as Markdown."""
    lines = [f"# GPU bench\n\n{machine()}\n"]
    for name, outcome in outcomes.items():
        lines.append(f"## {PARTS[name].title}\n")
        for state in ("skipped", "failure"):
            if state in outcome:
                lines.append(f"{state}: {outcome[state]}\n")
        lines += [f"{note}\n" for note in outcome.get("notes", [])]
        rows = [(what, str(value), "") for what, value in outcome.get("rows", {}).items()]
        rows += [
            (bar["name"], f"{bar['value']} (bar {bar['limit']})", "met" if bar["ok"] else "MISSED")
            for bar in outcome.get("bars", [])
        ]
        if rows:
            lines += ["| what | figure | |", "|---|---|---|"]
            lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows] + [""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py bench gpu", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--out", type=Path, default=Path("output/gpu.md"), help="the table (output/gpu.md)")
    parser.add_argument("--rehearse", action="store_true", help="in small, on the processor")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(run_part(args.part, args.rehearse, args.seconds)))
        return
    if not args.rehearse and not torch.cuda.is_available():
        print(f"skipped: {NO_CARD}")
        print_result("gpu", [], skipped=NO_CARD)
        return
    outcomes = run_parts([args.only] if args.only else list(PARTS), args.rehearse, in_own_process)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(table(outcomes), encoding="utf-8")
    print(f"{table(outcomes)}\nwritten to {args.out}")
    print_result("gpu", bars_of(outcomes), parts=outcomes)


if __name__ == "__main__":
    main()
