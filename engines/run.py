"""A session at work under a plan: items one by one or together, frames in tiles, and what to do when memory runs out.

There is one way down. A piece of work that runs out of memory, or gives values that are no numbers, changes the plan
and raises `_PlanChanged`; `Run._retried` then does the piece again under the new plan, until it is done or no plan is
left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
import torch.nn.functional as F

from ..errors import BudgetError, DeviceError, ModelFileError
from . import tiles
from .buffers import Buffers
from .cache import SessionCache
from .failures import is_device_failure, is_out_of_memory
from .job import Job
from .memory import meter, planner
from .memory.budget import format_bytes
from .memory.planner import Plan
from .memory.report import Report
from .network import Loaded, Tensors
from .session import Session

Piece = TypeVar("Piece")
Result = TypeVar("Result", torch.Tensor, Tensors)


class _PlanChanged(Exception):
    """The plan has changed while a piece of work was under way: the piece begins again."""


class Run:
    """A session at work. Made by `Planned.open`.

    plans: what may be tried on the device, best first; the first is in use.
    outside_peak: bytes that were taken at most in another process.
    peak: bytes that were taken at most, weights included; known when the run is over.
    staying: bytes of our other sessions, which stay meanwhile.
    """

    def __init__(
        self, job: Job, device: torch.device, plans: tuple[Plan, ...], report: Report, sessions: SessionCache
    ) -> None:
        self.device = device
        self._job = job
        self._model = job.model
        self._plans = plans
        self._report = report
        self._sessions = sessions
        self._buffers = Buffers()
        self._lease = contextlib.ExitStack()
        self._session: Session | None = None
        self._done = 0
        self.outside_peak = 0
        self.peak = 0
        self.staying = 0

    @property
    def plan(self) -> Plan:
        return self._plans[0]

    @property
    def network(self) -> Loaded:
        """The loaded network, for work that is more than a forward pass."""
        assert self._session is not None
        return self._session.open()

    @contextlib.contextmanager
    def leased(self) -> Iterator[Run]:
        """Holds a session in the plan's precision; another one when the plan falls to another precision."""
        with self._lease:
            self._take_session()
            yield self

    def crops(self, items: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Runs pictures and yields the results in the same order: those of one size that follow one another
        together, as many as the plan's pixels allow, and one that is larger than the plan's tile in tiles.

        items: (3, h, w) float32 0..1 RGB on the CPU, each side a multiple of what the network wants; no more of
        them are asked for than are run together. Results: (3, h * scale, w * scale) float32.
        """
        for chunk in self._chunks(items):
            while chunk:
                results = self._retried(partial(self._first_of, chunk))
                del chunk[: len(results)]
                self._count(len(results))
                yield from results

    def _chunks(self, items: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
        """Items that follow one another, of one size and no more than may be run together."""
        chunk: list[torch.Tensor] = []
        for item in items:
            if chunk and item.shape != chunk[0].shape:
                yield chunk
                chunk = []
            chunk.append(item)
            if len(chunk) == self._together(*item.shape[1:]):
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _first_of(self, chunk: list[torch.Tensor]) -> torch.Tensor:
        """The results (n, 3, h * scale, w * scale) of as many items as the plan runs together, at least one."""
        height, width = chunk[0].shape[1:]
        if self._job.work.tiled and (height > self.plan.tile[0] or width > self.plan.tile[1]):
            scale = self._model.spec.scale
            canvas = torch.empty(height * scale, width * scale, 3)
            self._in_tiles(chunk[0].permute(1, 2, 0), canvas)
            return canvas.permute(2, 0, 1)[None]
        batch = torch.stack(chunk[: self._together(height, width)])
        return self._attempt(lambda session: session.run(batch, self._job.options.fidelity))

    def _together(self, height: int, width: int) -> int:
        """How many pictures of a size the plan has memory for at a time; a power of two, so that sizes are few."""
        most = max(1, self.plan.pixels // (height * width))
        return 1 << (min(most, self._model.spec.largest_batch or most).bit_length() - 1)

    def infer(self, items: Iterable[Tensors]) -> Iterator[Tensors]:
        """Runs the items of a network that is not picture to picture, a batch at a time, and yields the results
        in the same order.

        items: one tensor for each input, without the batch's dimension, on the CPU.
        """
        waiting = iter(items)
        while chunk := list(islice(waiting, self.plan.batch)):
            while chunk:
                results = self._retried(partial(self._inferred, chunk))
                del chunk[: len(results)]
                self._count(len(results))
                yield from results

    def _inferred(self, chunk: list[Tensors]) -> list[Tensors]:
        """The results of as many items as the plan runs together."""
        size = 1 << (min(len(chunk), self.plan.batch).bit_length() - 1)
        inputs = tuple(torch.stack(parts) for parts in zip(*chunk[:size], strict=True))
        return list(zip(*self._attempt(lambda session: session.infer(inputs)), strict=True))

    def _count(self, items: int) -> None:
        self._done += items
        self._job.host.check_interrupt()
        self._job.host.progress(self._job.stage, self._done, self._job.work.count)

    def frame(self, frame: torch.Tensor, canvas: torch.Tensor) -> None:
        """Runs a whole frame in tiles.

        frame: (H, W, 3) float32 0..1 RGB on the CPU. canvas: (H * scale, W * scale, 3) float32, overwritten.
        """
        height, width = frame.shape[:2]
        size = planner.fitted(height, width, self.plan.working_size)
        if size == (height, width):
            self._retried(lambda: self._in_tiles(frame, canvas))
        else:
            scale = self._model.spec.scale
            small = torch.empty(size[0] * scale, size[1] * scale, 3)
            shrunk = resized(frame, *size)
            self._retried(lambda: self._in_tiles(shrunk, small))
            canvas.copy_(resized(small, *canvas.shape[:2]))
        self._done += 1

    def _in_tiles(self, frame: torch.Tensor, canvas: torch.Tensor) -> None:
        plan, spec, host = self.plan, self._model.spec, self._job.host
        height, width = frame.shape[:2]
        grid = tiles.grid(height, width, plan.tile, plan.halo, plan.overlap, spec.multiple)
        steps, stage, fidelity = len(grid), self._job.stage, self._job.options.fidelity

        done = self._done * steps

        def network(batch: torch.Tensor) -> torch.Tensor:
            nonlocal done
            results = self._attempt(lambda session: session.run(batch, fidelity, self._buffers))
            done += len(batch)
            host.check_interrupt()
            host.progress(stage, done, self._job.work.count * steps)
            return results

        tiles.run_tiled(frame, canvas, grid, plan.batch, network, self._buffers)

    def _retried(self, piece: Callable[[], Piece]) -> Piece:
        """What a piece of work returns, done again whenever the plan had to change in the middle of it."""
        while True:
            with contextlib.suppress(_PlanChanged):
                return piece()

    def _attempt(self, forward: Callable[[Session], Result]) -> Result:
        """A forward pass's result. Raises `_PlanChanged`, and errors where no plan is left."""
        assert self._session is not None
        try:
            with self._report.stage(self._job.stage):
                results = forward(self._session)
            self.outside_peak = max(self.outside_peak, self._session.outside_peak)
        except BudgetError as error:  # of an engine that holds itself to its budget
            self._step_down(error)
        except RuntimeError as error:
            if is_out_of_memory(error):
                self._step_down(error)
            if is_device_failure(error):
                reason = str(error).splitlines()[0].rstrip(".")
                raise DeviceError(
                    f"{self.device} stopped working in the middle of {self._model.spec.name} ({reason}). Restart "
                    "the program; if it happens again, update the driver or choose the CPU."
                ) from error
            raise
        if not all(torch.isfinite(result).all() for result in results):
            self._leave_precision()
        return results

    def _leave_precision(self) -> None:
        """Goes on in full precision when half of it gave no numbers. Raises ModelFileError when that is in use."""
        failed = self.plan.precision
        full = tuple(plan for plan in self._plans if plan.precision == "fp32" != failed)
        if not full:
            raise ModelFileError(
                f"{self._model.spec.name} outputs values that are not numbers (NaN) in {failed}. Choose precision auto "
                "or fp32. If it was one of them, the file is damaged: download it again."
            )
        self._change_to(full, f"fp32 instead of {failed}, which produced values that are not numbers (NaN)")

    def _step_down(self, error: Exception) -> None:
        failed = self.plan
        lower = tuple(plan for plan in self._plans[1:] if plan.predicted_peak < failed.predicted_peak)
        if not lower:
            raise self._job.host.out_of_memory(
                BudgetError(
                    f"{self._model.spec.name} ran out of memory on {self.device} although "
                    f"{format_bytes(failed.predicted_peak)} were predicted and {format_bytes(failed.allowed)} "
                    "allowed, and nothing smaller is left to try. Close other programs, or raise the budget.",
                    failed.predicted_peak,
                    failed.allowed,
                )
            ) from error
        self._change_to(lower, "ran out of memory once and went one step down")

    def _change_to(self, plans: tuple[Plan, ...], degradation: str) -> None:
        """Goes on with the first of other plans, in another session where its precision is another.

        Always raises `_PlanChanged`.
        """
        failed, self._plans = self.plan, plans
        meter.release_unused(self.device)
        self._report.describe_plan(self.plan, self.device, self._job.is_main, self.staying)
        self._report.degradations.append(degradation)  # each time anew
        if self.plan.precision != failed.precision:
            self._lease.close()
            self._take_session()
        raise _PlanChanged

    def _take_session(self) -> None:
        plan = self.plan
        working = plan.predicted_peak - self._model.weight_bytes(plan.precision, self.device)
        lease = self._sessions.lease(self._model, self.device, plan.precision, working, self._job.host, plan.allowed)
        self._session = self._lease.enter_context(lease)


def resized(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(H, W, 3) float32 at another size, averaged over what it shrinks."""
    planes = picture.permute(2, 0, 1)[None]
    result = F.interpolate(planes, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return result[0].permute(1, 2, 0)
