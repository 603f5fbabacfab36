"""The child's side of a worker: it loads one task, runs it on shared arrays, and watches itself meanwhile.

Messages are lines of JSON. From the parent: one that sets up, then one for each run. From the child: "beat" while it
works, "over" when it has passed the budget (its last word), and one of "ready", "done" and "error" as an answer.
Which memory counts is the task's to say: the process's RAM, or what its driver says of a card. Torch is not imported
here, nor by what is imported here.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ...errors import SlimFusionError
from ..memory import resident
from .shared_frames import SharedFrames, placed

SAMPLE_SECONDS = 0.005  # as the parent's own meter
BEAT_SECONDS = 0.2
OVER_BUDGET, PARENT_IS_GONE = 3, 4  # exit codes

# What a library says when memory ran out; onnxruntime has no type for it.
OUT_OF_MEMORY = (
    "failed to allocate", "available memory of", "bad_alloc", "bad allocation", "out of memory", "not enough memory",
    "e_outofmemory", "8007000e",
)  # fmt: skip

Meter = Callable[[], int]  # how many bytes this process has now

RAM: Meter = resident.resident_bytes


class Task(Protocol):
    """Something that a worker runs, made from settings that are JSON.

    Making one imports libraries and wakes the device; memory counts from `load` on. meter: of the memory that counts,
    None where nobody can tell it. load returns what the parent may want to know, as JSON. MemoryError means that
    memory ran out.
    """

    @property
    def meter(self) -> Meter | None: ...

    def load(self) -> Mapping[str, Any]: ...

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]: ...


def reason_of(error: Exception) -> str:
    """An error's first line. Raises MemoryError when the error says that memory ran out."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in OUT_OF_MEMORY):
        raise MemoryError(reason) from error
    return reason


class Channel:
    """Lines of JSON to and from the parent; when the parent is gone, so are we, in the middle of whatever it is."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._writing = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def receive(self) -> dict[str, Any]:
        return self._inbox.get()

    def send(self, message: Mapping[str, Any]) -> None:
        with self._writing:
            try:
                self._writer.write(json.dumps(message).encode() + b"\n")
                self._writer.flush()
            except OSError:
                os._exit(PARENT_IS_GONE)

    def _read(self) -> None:
        try:
            for line in self._reader:
                self._inbox.put(json.loads(line))
        finally:
            os._exit(PARENT_IS_GONE)


class Watch:
    """Samples this process's memory while it works, tells the parent that it lives, ends it when it takes too much.

    Where native code keeps Python from running, nothing is sampled: then a timer that needs no Python ends the
    process, should the parent not have done it.
    """

    def __init__(self, channel: Channel, silent_seconds: float) -> None:
        self._channel, self._silent_seconds = channel, silent_seconds
        self._meter: Meter | None = None
        self._parent = os.getppid()
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._busy = threading.Event()
        self._setting_timer = threading.Lock()
        self._base: int | None = None
        self._budget: int | None = None
        self._peak = 0
        self._exact = False
        threading.Thread(target=self._sample, daemon=True).start()

    def count_from_here(self, meter: Meter | None) -> None:
        """What was there before belongs to Python, the libraries and the device's context, not to the task."""
        if meter is None:
            return
        self._exact = meter is RAM and resident.reset_high_water()
        self._meter, self._base = meter, meter()
        if meter is RAM:  # which the parent can see too
            self._channel.send({"beat": 0, "base": self._base})

    def figures(self) -> dict[str, int]:
        """Bytes above the base: the most since the work began, and now."""
        return {"peak": self._peak, "level": self._level()}

    @contextlib.contextmanager
    def working(self, budget: int | None) -> Iterator[None]:
        """While the block runs, samples are taken and the budget holds."""
        self._budget, self._peak = budget, 0
        if self._exact:
            resident.reset_high_water()
        self._busy.set()
        self._set_timer()  # here too: the work may stop Python before another sample is taken
        try:
            yield
        finally:
            self._busy.clear()
            self._set_timer()
            self._peak = max(self._peak, self._level())
            if self._exact and self._base is not None:
                self._peak = max(self._peak, resident.high_water() - self._base)

    def _level(self) -> int:
        return 0 if self._meter is None or self._base is None else self._meter() - self._base

    def _sample(self) -> None:
        next_beat = 0.0
        while True:
            if not self._busy.wait(BEAT_SECONDS):
                self._leave_with_parent()
                continue
            level = self._level()
            self._peak = max(self._peak, level)
            if self._budget is not None and level > self._budget:
                self._channel.send({"over": level})
                os._exit(OVER_BUDGET)
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT_SECONDS
                self._leave_with_parent()
                self._channel.send({"beat": level})
                self._set_timer()
            time.sleep(SAMPLE_SECONDS)

    def _set_timer(self) -> None:
        with self._setting_timer:
            if not self._busy.is_set():
                faulthandler.cancel_dump_traceback_later()
                return
            # Under a limit of the system there may be no memory for its thread: then the parent alone watches.
            with contextlib.suppress(RuntimeError):
                faulthandler.dump_traceback_later(2.0 * self._silent_seconds, exit=True, file=self._nowhere)

    def _leave_with_parent(self) -> None:
        """Another parent has adopted us: a process forked from the first one may still hold its end of the pipe."""
        if os.getppid() != self._parent:
            os._exit(PARENT_IS_GONE)


class Server:
    """One task and its answers."""

    def __init__(self, channel: Channel, setup: Mapping[str, Any], task: Callable[[Mapping[str, Any]], Task]) -> None:
        self._channel, self._setup, self._make = channel, setup, task
        self._frames = SharedFrames(setup["frames"])
        self._watch = Watch(channel, setup["silent_seconds"])
        self._task: Task | None = None

    def load(self) -> dict[str, Any]:
        task = self._make(self._setup["settings"])
        meter = task.meter
        self._watch.count_from_here(meter)
        about = task.load()
        self._task = task
        return {"ready": dict(about), "watched": meter is not None}

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._task is not None
        self._frames.follow(request["frames"])
        results = self._task.run([self._frames.view(layout) for layout in request["inputs"]])
        layouts, end = placed(results, request["end"])
        self._frames.reserve(end)
        self._frames.put(results, layouts)
        return {"done": layouts, "frames": self._frames.address}

    def answer(self, work: Callable[[], dict[str, Any]], budget: int | None) -> None:
        with self._watch.working(budget):
            try:
                answer = work()
            except Exception as error:  # whatever it is, the parent is told
                answer = described(error)
        self._channel.send({**answer, **self._watch.figures()})


def described(error: Exception) -> dict[str, Any]:
    """An error for the parent: our own types by name with their sentence, others with a reason."""
    if isinstance(error, SlimFusionError):
        return {"error": type(error).__name__, "reason": str(error)}
    try:
        reason = reason_of(error)
    except MemoryError as shortage:
        return {"error": "MemoryError", "reason": str(shortage)}
    return {"error": "", "reason": f"{type(error).__name__}: {reason}"}


def serve(reader: BinaryIO, writer: BinaryIO, task: Callable[[Mapping[str, Any]], Task]) -> None:
    """The child's whole life; it ends with the pipe. task: makes the task from its settings."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if sys.platform == "linux":  # when the system runs out of memory, it shall take this process and not the server
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
    channel = Channel(reader, writer)
    setup = channel.receive()
    server = Server(channel, setup, task)
    server.answer(server.load, setup["budget"])
    while True:
        request = channel.receive()
        server.answer(lambda request=request: server.run(request), request["budget"])  # type: ignore[misc]
