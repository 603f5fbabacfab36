"""A network in a process of its own, for engines whose memory nobody can cap.

    with Worker({"kind": "onnx", "model": path, "provider": "directml"}, budget=512 * MIB) as worker:
        (picture,) = worker.run([batch])

`run` starts the process where there is none, loads the task, and passes arrays through shared memory. The child
samples its own memory and ends itself when it is above the budget; this side watches too, and ends it when it gives
no sign of life or takes too long. A child that dies is replaced once within a run. What cannot be mended is one of
our errors, and the next `run` begins with a fresh child.

A budget here is a target, not a limit: memory is seen when it has been taken. `peak_bytes` says what a run took.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from ... import errors
from ...errors import BudgetError, DependencyError, DeviceError, SlimFusionError
from ..memory.budget import format_bytes
from .shared_frames import SharedFrames, placed

START = Path(__file__).with_name("bootstrap.py")
# glibc keeps freed blocks of up to 32 MiB for later. Where they go back to the system at once, GFPGAN took 700 MiB
# in place of 950, and a twentieth more time.
FRUGAL = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 20)}
TICK_SECONDS = 0.02  # how often a waiting parent looks around
LEAVE_SECONDS = 5.0  # for a process that was told to end; a driver may hold it longer


@dataclass(frozen=True)
class Patience:
    """Seconds that a child is given.

    start: from its start until its task is loaded; some providers compile for minutes. run: for one run. silent:
    without a sign of life, which it gives five times a second unless native code keeps Python from running.
    """

    start: float = 600.0
    run: float = 300.0
    silent: float = 30.0


class Died(Exception):
    """The child is gone. The message continues "The worker process ..."."""


class OverBudget(Exception):
    """The child took more than it may; it has ended or was ended."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level


def never_stop() -> None:
    """What is asked while waiting, where nobody can interrupt."""


class Child:
    """One process from its start to its end.

    base: its resident set before the task was loaded, None until it has said so.
    """

    def __init__(
        self, script: Path, setup: Mapping[str, Any], inherited: tuple[int, ...], settings: Mapping[str, str]
    ) -> None:
        if not sys.executable:
            raise DependencyError(
                "This program does not say which Python it runs, so that no worker process can be started. Choose "
                "another engine."
            )
        self.base: int | None = None
        self._heard = False
        self._inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**settings, **os.environ},
                pass_fds=inherited,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would flash a console
            )
        except OSError as error:
            raise DeviceError(f"No worker process could be started ({error}). Close other programs.") from error
        assert self._process.stdout is not None
        threading.Thread(target=_read, args=(self._process.stdout, self._inbox), daemon=True).start()
        # A child that nobody ended, because nobody closed its worker, ends when its pipe does.
        weakref.finalize(self, _hang_up, self._process)
        self._watched = psutil.Process(self._process.pid)
        self.tell({"path": [folder for folder in sys.path if folder]})
        self.tell(setup)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Died(self.ending()) from error

    def answer(
        self, seconds: float, silent_seconds: float, budget: int | None, check_interrupt: Callable[[], None]
    ) -> dict[str, Any]:
        """Waits for the next answer. budget: for the resident set above the base, None where it does not count.

        Before its first sign of life a child is silent while it imports, and may be for as long as `seconds`.

        Raises Died, OverBudget, and what check_interrupt raises.
        """
        waited = silent = 0.0
        before = time.monotonic()
        while True:
            try:
                message = self._inbox.get(timeout=TICK_SECONDS)
            except queue.Empty:
                message = {}
            if message is None:
                raise Died(self.ending())
            if "over" in message:
                raise OverBudget(message["over"])
            if message and "beat" not in message:
                return message
            # Time in which this process itself stood still, as in a suspended laptop, is not the child's.
            passed = min(time.monotonic() - before, 2.0 * TICK_SECONDS)
            before = time.monotonic()
            waited += passed
            silent = 0.0 if message else silent + passed
            self._heard = self._heard or bool(message)
            self.base = message.get("base", self.base)
            check_interrupt()
            self._check_level(budget)
            if self._heard and silent > silent_seconds:
                raise Died(f"gave no sign of life for {silent_seconds:g} s and was ended")
            if waited > seconds:
                raise Died(f"did not finish within {seconds:g} s and was ended")

    def _check_level(self, budget: int | None) -> None:
        """The child looks more often, but cannot while native code keeps Python from running."""
        if budget is not None and self.base is not None:
            with contextlib.suppress(psutil.Error):  # it is about to be found dead
                level = self._watched.memory_info().rss - self.base
                if level > budget:
                    raise OverBudget(level)

    def ending(self) -> str:
        """How it ended, to continue "The worker process ..."."""
        try:
            code = self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its pipe and was ended"
        if code < 0:
            return f"was ended by signal {-code}"
        return f"ended by itself with code {code if code < 1 << 31 else hex(code)}"  # Windows' own are large

    def end(self) -> None:
        """Ends it at once, whatever it does."""
        self._process.kill()
        _hang_up(self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_SECONDS)


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # what it was not told in time
        process.stdin.close()


def _read(pipe: IO[bytes], inbox: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Puts the child's lines into the inbox, None at their end."""
    with pipe, contextlib.suppress(ValueError):  # a line that was cut off
        for line in pipe:
            inbox.put(json.loads(line))
    inbox.put(None)


class Worker:
    """A task in a child process that is started when it is needed and replaced when it dies.

    task: {"kind": name in worker_child.TASKS, ...its settings}. budget: bytes that the child may take above its
    level before the task was loaded; may be changed between runs; None to watch only. name: for sentences. meter:
    which memory counts, a name in worker_child.METERS. frugal: what the child frees goes back to the system at once.
    script: what the child is started with.

    about: what the task said when it was loaded. peak_bytes: the most that the last run, or the loading before the
    first, took above that level. held_bytes: what the child held after it. deaths: children lost so far.
    """

    def __init__(
        self,
        task: Mapping[str, Any],
        budget: int | None = None,
        *,
        name: str = "",
        meter: str = "resident",
        frugal: bool = True,
        patience: Patience = Patience(),
        script: Path = START,
    ) -> None:
        self.task, self.budget, self.meter, self.patience = task, budget, meter, patience
        self.name = name or Path(str(task.get("model", task["kind"]))).name
        self.about: Mapping[str, Any] = {}
        self.peak_bytes = self.held_bytes = self.deaths = 0
        self._script, self._settings = script, FRUGAL if frugal else {}
        self._frames: SharedFrames | None = None
        self._child: Child | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's, None while there is none."""
        child = self._child
        return None if child is None else child.pid

    def start(self, check_interrupt: Callable[[], None] = never_stop) -> Mapping[str, Any]:
        """Starts the child and loads the task unless that is done; returns `about`. Raises as `run` does."""
        with self._lock:
            self._twice(lambda: self._loaded(check_interrupt))
            return self.about

    def run(self, inputs: Sequence[np.ndarray], check_interrupt: Callable[[], None] = never_stop) -> list[np.ndarray]:
        """Runs the task on arrays of numbers; the results are the caller's.

        check_interrupt is called while waiting; when it raises, the child is ended. Raises BudgetError when the
        child took more than it may or found no memory, DeviceError when it died twice or its engine failed, and
        what the task says of a model or of its own dependencies.
        """
        with self._lock:
            return self._twice(lambda: self._run_once(inputs, check_interrupt))

    def close(self) -> None:
        """Ends the child and gives the shared memory back; waits for a run in another thread."""
        with self._lock:
            self._end_child()
            if self._frames is not None:
                self._frames.close()
                self._frames = None

    def _twice(self, work: Callable[[], Any]) -> Any:
        """Does the work, a second time when the child died of it."""
        try:
            return work()
        except Died:
            try:
                return work()
            except Died as death:
                raise DeviceError(
                    f"The worker process that runs {self.name} {death}, for the second time in a row. Update the "
                    "driver or choose another engine; if it was killed, the system may have run out of memory."
                ) from death

    def _run_once(self, inputs: Sequence[np.ndarray], check_interrupt: Callable[[], None]) -> list[np.ndarray]:
        child, frames = self._loaded(check_interrupt)
        layouts, end = placed(inputs)
        frames.reserve(end)
        frames.put(inputs, layouts)
        request = {"inputs": layouts, "end": end, "frames": frames.address, "budget": self.budget}
        reply = self._answer(child, request, self.patience.run, check_interrupt)
        frames.follow(reply["frames"])
        return [frames.view(layout).copy() for layout in reply["done"]]

    def _loaded(self, check_interrupt: Callable[[], None]) -> tuple[Child, SharedFrames]:
        """A child with its task loaded."""
        if self._frames is None:
            self._frames = SharedFrames()
        if self._child is not None and not self._child.alive:  # it was ended between two runs, and nothing is lost
            self._end_child()
        if self._child is None:
            setup = {
                "task": dict(self.task),
                "budget": self.budget,
                "meter": self.meter,
                "silent_seconds": self.patience.silent,
                "frames": self._frames.address,
            }
            self._child = Child(self._script, setup, self._frames.inherited, self._settings)
            reply = self._answer(self._child, None, self.patience.start, check_interrupt)
            self.about = reply["ready"]
        return self._child, self._frames

    def _answer(
        self, child: Child, request: Mapping[str, Any] | None, seconds: float, check_interrupt: Callable[[], None]
    ) -> dict[str, Any]:
        """The child's answer to a request, or to its setup. Whatever is raised instead, no child is left behind
        that is not ready for the next request."""
        try:
            if request is not None:
                child.tell(request)
            watched = self.budget if self.meter == "resident" else None
            reply = child.answer(seconds, self.patience.silent, watched, check_interrupt)
        except OverBudget as over:
            self._end_child()
            self.peak_bytes = over.level
            raise self._too_much(f"took {format_bytes(over.level)} in its worker process") from None
        except BaseException as error:
            self._end_child()
            self.deaths += isinstance(error, Died)
            raise
        self.peak_bytes, self.held_bytes = reply["peak"], reply["level"]
        if "error" in reply:
            if request is None:  # it has nothing loaded
                self._end_child()
            raise self._told(reply["error"], reply["reason"])
        return reply

    def _told(self, kind: str, reason: str) -> SlimFusionError:
        """An error that the child has described."""
        if kind == "MemoryError":
            return self._too_much(f"ran out of memory in its worker process ({reason})")
        own = getattr(errors, kind, None) if kind else None
        if own is not None:
            return own(reason)
        return DeviceError(
            f"{self.name} failed in its worker process ({reason}). Update the driver or choose another engine."
        )

    def _too_much(self, what: str) -> BudgetError:
        allowed = "" if self.budget is None else f"; {format_bytes(self.budget)} were allowed"
        sentence = f"{self.name} {what}{allowed}. Use smaller tiles, or raise the budget."
        return BudgetError(sentence, self.peak_bytes, self.budget or self.peak_bytes)

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None
