"""Hostile files and wrong values, each of which must end in success or in an error of ours, soon and in little memory.

`python3 dev.py bench attack [SUBJECT ...]` prints what failed and last one line of JSON. Each subject is tried
in a child process of its own, which is ended when a case hangs or takes too much, and started again behind it.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import torch

from ...errors import SlimFusionError
from ..result import at_least, at_most, print_result
from . import files as attack_files
from . import onnx as attack_onnx
from . import values as attack_values
from . import weights as attack_weights
from .case import Case

MIB = 1 << 20
CASE_SECONDS = 20.0
START_SECONDS = 120.0
CASE_BYTES = 768 * MIB  # above what the child has before its first case
TOTAL_SECONDS = 300.0  # on two cores that nothing else uses
LEAST_CASES, LEAST_MUTATIONS = 300, 500
SIDE_BY_SIDE = 2
WEIGHT_MUTATIONS = 45  # of each form of weights


def _weights(folder: Path) -> Iterator[Case]:
    for case in attack_weights.cases(folder, WEIGHT_MUTATIONS):
        yield Case(case.name, case.open, is_mutation=True)


SUBJECTS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "onnx": attack_onnx.cases,
    "values": attack_values.cases,
    "weights": _weights,
    "pictures": attack_files.pictures,
    "costs": attack_files.cost_stores,
}


@dataclass
class Tally:
    """What became of a subject's cases. failures: one line for each that did not end well."""

    cases: int = 0
    mutations: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def _child(subject: str, skip: int) -> None:
    """Tries the cases behind the first `skip`; tells of each before and after on standard output."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        _tell(ready=True)
        for number, case in enumerate(SUBJECTS[subject](Path(folder))):
            if number < skip:
                continue
            _tell(number=number, name=case.name, is_mutation=case.is_mutation)
            _tell(end=_ending(case))


def _ending(case: Case) -> str:
    """ "" for success, "refused" for an error of ours, else the traceback's last lines."""
    try:
        case.open()
    except SlimFusionError as error:
        try:
            str(error).encode()
        except UnicodeEncodeError:
            return "its sentence cannot be printed"
        return "refused"
    except BaseException as error:  # whatever it is, it is the finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:120]!r} at {Path(where.filename).name}:{where.lineno}"
    return ""


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def attack(subject: str) -> Tally:
    """All cases of a subject, in as many children as it takes."""
    tally, skip = Tally(), 0
    while True:
        done, skip = _until_it_breaks(subject, skip, tally)
        if done:
            return tally


def _until_it_breaks(subject: str, skip: int, tally: Tally) -> tuple[bool, int]:
    """Whether all cases are through, and how many are behind us."""
    command = [sys.executable, "-m", __spec__.name, "--child", subject, "--skip", str(skip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            return _followed(subject, child, skip, tally)
        finally:
            child.kill()


def _followed(subject: str, child: subprocess.Popen[bytes], skip: int, tally: Tally) -> tuple[bool, int]:
    assert child.stdout is not None
    heard: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(child.stdout, heard), daemon=True).start()
    process, base, current = psutil.Process(child.pid), 0, ""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            told = heard.get(timeout=0.02)
        except queue.Empty:
            reason = _broken(process, base, deadline)
            if reason:
                tally.failures.append(f"{subject}: {current or 'start'}: {reason}")
                return not current, skip
            continue
        if told is None:
            code = child.wait()
            if code:
                tally.failures.append(f"{subject}: {current or 'start'}: its process ended with {code}")
            return not (code and current), skip
        deadline = time.monotonic() + CASE_SECONDS
        if "number" in told:
            base = base or _resident(process)
            current, skip = told["name"], told["number"] + 1
            tally.mutations += told["is_mutation"]
            tally.cases += not told["is_mutation"]
        elif "end" in told:
            tally.refused += told["end"] == "refused"
            if told["end"] not in ("", "refused"):
                tally.failures.append(f"{subject}: {current}: {told['end']}")


def _listen(stream: IO[bytes], heard: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in stream:
        if line.startswith(b"{"):
            heard.put(json.loads(line))
    heard.put(None)


def _broken(process: psutil.Process, base: int, deadline: float) -> str:
    """Why a case must be ended; "" where it may go on."""
    if time.monotonic() > deadline:
        return f"no end within {CASE_SECONDS:g} s"
    more = _resident(process) - base if base else 0
    return f"took {more // MIB} MiB" if more > CASE_BYTES else ""


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", default=list(SUBJECTS))
    parser.add_argument("--child", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments.child, arguments.skip)
        return
    started = time.monotonic()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        tallies = dict(zip(arguments.subjects, pool.map(attack, arguments.subjects), strict=True))
    seconds, times = time.monotonic() - started, os.times()
    cpu_seconds = times.children_user + times.children_system
    failures = [line for tally in tallies.values() for line in tally.failures]
    for subject, tally in tallies.items():
        tried = tally.cases + tally.mutations
        print(f"{subject}: {tried} tried, {tried - len(tally.failures)} survived, {len(tally.failures)} failed")
    for line in failures:
        print(line)
    bars = [at_most("failed", len(failures), 0), at_most("seconds", round(seconds, 1), TOTAL_SECONDS)]
    bars.append(at_most("CPU seconds", round(cpu_seconds, 1), SIDE_BY_SIDE * TOTAL_SECONDS))
    if set(arguments.subjects) == set(SUBJECTS):
        bars += [
            at_least("cases", sum(tally.cases for tally in tallies.values()), LEAST_CASES),
            at_least("mutations", sum(tally.mutations for tally in tallies.values()), LEAST_MUTATIONS),
        ]
    print_result("attack", bars)


if __name__ == "__main__":
    main()
