"""A task in a process of its own, for engines whose memory nobody can cap and for what may crash.

    with Worker(OnnxTask, {"model": path, "provider": "directml"}, budget=512 * MIB) as worker:
        (picture,) = worker.run([batch])

`run` starts the process where there is none, loads the task, and passes arrays through shared memory. The child
samples the memory that its task takes and ends itself when it is above the budget; this side watches too, and ends it
when it gives no sign of life or takes too long. A child that dies is replaced once within a run. What cannot be mended
is one of our errors, and the next `run` begins with a fresh child.

A budget here is a target, not a limit: memory is seen when it has been taken. `peak_bytes` says what a run took.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import errors
from ...errors import BudgetError, DeviceError, SlimFusionError
from ..memory.budget import format_bytes
from .process import USUAL, Child, Died, OverBudget, Patience, Start, never_stop
from .shared_frames import SharedFrames, placed

# glibc keeps freed blocks of up to 32 MiB for later. Where they go back to the system at once, GFPGAN took 700 MiB
# instead of 950, and a twentieth more time.
FRUGAL = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 20)}


class Worker:
    """A task in a child process that is started when it is needed and replaced when it dies.

    task: class of this package, see child.Task. settings: what it is made with, JSON. budget: bytes that the child may
    take above its level before the task was loaded, of the memory that the task names; may be changed between runs;
    None to watch only. name: for sentences. frugal: what the child frees goes back to the system at once.

    about: what the task said when it was loaded. is_watched: whether the memory that counts can be read. peak_bytes:
    the most that the last run, or the loading before the first, took above that level; 0 where nobody reads it.
    held_bytes: what the child held after it. deaths: children lost so far.
    """

    def __init__(
        self,
        task: type[Any],
        settings: Mapping[str, Any],
        budget: int | None = None,
        *,
        name: str = "",
        frugal: bool = True,
        patience: Patience = USUAL,
    ) -> None:
        self.task, self.settings, self.budget, self.patience = task, settings, budget, patience
        self.name = name or Path(str(settings.get("model", task.__name__))).name
        self.about: Mapping[str, Any] = {}
        self.is_watched = False
        self.peak_bytes = self.held_bytes = self.deaths = 0
        self._variables = FRUGAL if frugal else {}
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
            result: list[np.ndarray] = self._twice(lambda: self._run_once(inputs, check_interrupt))
            return result

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
            where = self._frames.address, self._frames.inherited
            start = Start(self.task, self.settings, *where, self._variables)
            self._child = Child(start, self.budget, self.patience.silent)
            reply = self._answer(self._child, None, self.patience.start, check_interrupt)
            self.about, self.is_watched = reply["ready"], reply["watched"]
        return self._child, self._frames

    def _answer(
        self, child: Child, request: Mapping[str, Any] | None, seconds: float, check_interrupt: Callable[[], None]
    ) -> dict[str, Any]:
        """The child's answer to a request, or to its setup. Whatever is raised instead, no child is left behind
        that is not ready for the next request."""
        try:
            if request is not None:
                child.tell(request)
            reply = child.answer(seconds, self.patience.silent, self.budget, check_interrupt)
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
            result: SlimFusionError = own(reason)
            return result
        return DeviceError(
            f"{self.name} failed in its worker process ({reason}). Update the driver or choose another engine."
        )

    def _too_much(self, what: str) -> BudgetError:
        if self.budget is not None:
            what = f"{what}; {format_bytes(self.budget)} were allowed"
        sentence = f"{self.name} {what}. Use smaller tiles, or raise the budget."
        return BudgetError(sentence, self.peak_bytes, self.budget or self.peak_bytes)

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


@dataclass(frozen=True)
class Answer:
    """What came of a question to a child.

    value: what the task's `load` returned, None where it failed. failure: why, "" where it did not. log: what the
    child wrote to its standard error.
    """

    value: Any
    failure: str
    log: str


def run_once(task: type[Any], settings: Mapping[str, Any], seconds: float) -> Answer:
    """Loads a task in a child process once, for what it says; the child is ended then, or after `seconds`."""
    frames = SharedFrames()
    with tempfile.TemporaryFile() as log:
        value, failure = None, ""
        try:
            child = Child(Start(task, settings, frames.address, frames.inherited, log=log), None, seconds)
            try:
                reply = child.answer(seconds, seconds, None, never_stop)
            finally:
                child.end()
            value, failure = reply.get("ready"), reply.get("reason", "")
        except Died as death:
            failure = f"the child process {death}"
        except SlimFusionError as error:
            failure = str(error)
        finally:
            frames.close()
        log.seek(0)
        return Answer(value, failure, log.read().decode("utf-8", "replace"))
