"""A child process of this package, from its start to its end. Nothing else here starts processes.

The child runs one task: a class of this package (see child.Task) that is named to it, with settings that are JSON.
Messages are lines of JSON on its pipes; what libraries print there goes to its standard error.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from ...errors import DependencyError, DeviceError

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
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


USUAL = Patience()


class Died(Exception):
    """The child is gone. The message continues "The worker process ..."."""


class OverBudget(Exception):
    """The child took more than it may; it has ended or was ended."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level


def never_stop() -> None:
    """What is asked while waiting, where nobody can interrupt."""


@dataclass(frozen=True)
class Start:
    """How a child is started.

    task: class of this package that the child makes. settings: what it is made with, JSON. frames: address of the
    shared memory. inherited: descriptors of it. variables: of the environment, where it does not set them. log: where
    the child's standard error goes, None for ours.
    """

    task: type[Any]
    settings: Mapping[str, Any]
    frames: Mapping[str, Any]
    inherited: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    log: IO[bytes] | None = None


def place_of(task: type[Any]) -> str:
    """A class of this package by module and name, such as "engines.ort.task:OnnxTask".

    The package's own name is left out: the host may have given it another.
    """
    package = __package__.removesuffix(".engines.worker")
    return f"{task.__module__.removeprefix(f'{package}.')}:{task.__qualname__}"


class Child:
    """One process from its start to its end.

    base: its resident set before the task was loaded, None until it has said so and where the RAM does not count.
    """

    def __init__(self, start: Start, budget: int | None, silent_seconds: float) -> None:
        """budget: bytes for the loading, None for no limit. Raises DependencyError, DeviceError, Died."""
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
                [sys.executable, "-I", str(BOOTSTRAP)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=start.log,
                env={**start.variables, **os.environ},
                pass_fds=start.inherited,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would flash a console
            )
        except OSError as error:
            raise DeviceError(f"No worker process could be started ({error}). Close other programs.") from error
        assert self._process.stdout is not None
        threading.Thread(target=_read, args=(self._process.stdout, self._inbox), daemon=True).start()
        # A child that nobody ended, because nobody closed its worker, ends when its pipe does.
        weakref.finalize(self, _hang_up, self._process)
        self._watched = psutil.Process(self._process.pid)
        self.tell({"path": [folder for folder in sys.path if folder], "task": place_of(start.task)})
        self.tell(
            {
                "settings": dict(start.settings),
                "frames": start.frames,
                "budget": budget,
                "silent_seconds": silent_seconds,
            }
        )

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
        """Waits for the next answer. budget: bytes that it may take above the base, None for no limit.

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
        """The child looks more often, but cannot while native code keeps Python from running; of RAM we can too."""
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
