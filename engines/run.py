"""The one way to run a network: plan inside the budget, lease a session, run, measure, report."""

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
from .cache import SESSIONS, SessionCache
from .memory import enforce, meter, planner
from .memory.budget import format_bytes
from .memory.costs import COSTS, CostStore
from .memory.planner import Plan
from .memory.report import Report
from .planning import Job, planned
from .session import Blueprint, Session, Tensors

Result = TypeVar("Result", torch.Tensor, Tensors)


class Run:
    """A session at work under a plan. Made by `open_run`.

    plans: what may be tried on the device, best first; the first is in use. outside_peak: bytes that were taken at
    most in another process.
    """

    def __init__(
        self, job: Job, device: torch.device, plans: tuple[Plan, ...], report: Report, sessions: SessionCache
    ) -> None:
        self.blueprint = job.blueprint
        self.device = device
        self._plans = plans
        self._items = job.work.count
        self._is_tiled = job.work.tiled
        self._stage = job.stage
        self._options = job.options
        self._host = job.host
        self._report = report
        self._sessions = sessions
        self._buffers = Buffers()
        self._lease = contextlib.ExitStack()
        self._session: Session | None = None
        self._done = 0
        self.outside_peak = 0

    @property
    def plan(self) -> Plan:
        return self._plans[0]

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
                height, width = chunk[0].shape[1:]
                if not self._fits_whole(height, width):
                    yield self._in_tiles(chunk.pop(0))
                    continue
                batch = torch.stack(chunk[: self._together(height, width)])
                results = self._attempt(self._pictures(batch))
                if results is None:
                    continue
                del chunk[: len(batch)]
                self._count(len(batch))
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

    def _together(self, height: int, width: int) -> int:
        """How many pictures of a size the plan has memory for at a time; a power of two, so that sizes are few."""
        most = max(1, self.plan.pixels // (height * width))
        return 1 << (min(most, self.blueprint.spec.largest_batch or most).bit_length() - 1)

    def _fits_whole(self, height: int, width: int) -> bool:
        return not self._is_tiled or (height <= self.plan.tile[0] and width <= self.plan.tile[1])

    def _in_tiles(self, item: torch.Tensor) -> torch.Tensor:
        scale = self.blueprint.spec.scale
        canvas = torch.empty(item.shape[1] * scale, item.shape[2] * scale, 3)
        self.frame(item.permute(1, 2, 0), canvas)
        return canvas.permute(2, 0, 1)

    def infer(self, items: Iterable[Tensors]) -> Iterator[Tensors]:
        """Runs the items of a network that is not picture to picture, a batch at a time, and yields the results
        in the same order.

        items: one tensor for each input, without the batch's dimension, on the CPU.
        """
        waiting = iter(items)
        while chunk := list(islice(waiting, self.plan.batch)):
            while chunk:
                size = 1 << (min(len(chunk), self.plan.batch).bit_length() - 1)
                stacked = tuple(torch.stack(each) for each in zip(*chunk[:size], strict=True))
                results = self._attempt(partial(Session.infer, inputs=stacked))
                if results is None:
                    continue
                del chunk[:size]
                self._count(size)
                yield from zip(*results, strict=True)

    def _count(self, items: int) -> None:
        self._done += items
        self._host.check_interrupt()
        self._host.progress(self._stage, self._done, self._items)

    def frame(self, frame: torch.Tensor, canvas: torch.Tensor) -> None:
        """Runs a whole frame in tiles.

        frame: (H, W, 3) float32 0..1 RGB on the CPU. canvas: (H * scale, W * scale, 3) float32, overwritten.
        """
        spec = self.blueprint.spec
        working = frame
        small = canvas
        height, width = frame.shape[:2]
        size = planner.fitted(height, width, self.plan.working_size)
        if size != (height, width):
            working = resized(frame, *size)
            small = torch.empty(size[0] * spec.scale, size[1] * spec.scale, 3)
        while not self._frame_in_tiles(working, small):
            continue
        if small is not canvas:
            canvas.copy_(resized(small, canvas.shape[0], canvas.shape[1]))
        self._done += 1

    def _frame_in_tiles(self, frame: torch.Tensor, canvas: torch.Tensor) -> bool:
        """Whether the frame was done; if not, memory ran out and the plan is now one degradation further down."""
        plan, spec = self.plan, self.blueprint.spec
        height, width = frame.shape[:2]
        grid = tiles.grid(height, width, plan.tile, plan.halo, plan.overlap, spec.multiple)
        steps = len(grid)

        def network(batch: torch.Tensor) -> torch.Tensor:
            results = self._attempt(self._pictures(batch, self._buffers))
            if results is None:
                raise _SteppedDown
            return results

        def after_batch(done: int) -> None:
            self._host.check_interrupt()
            self._host.progress(self._stage, self._done * steps + done, self._items * steps)

        try:
            tiles.run_tiled(frame, canvas, grid, plan.batch, spec.scale, network, after_batch, self._buffers)
        except _SteppedDown:
            return False
        return True

    def _pictures(self, batch: torch.Tensor, buffers: Buffers | None = None) -> Callable[[Session], torch.Tensor]:
        return lambda session: session.run(batch, self._options.fidelity, buffers)

    def _attempt(self, work: Callable[[Session], Result]) -> Result | None:
        """The network's result, or None when memory ran out and the plan is now one degradation further down."""
        assert self._session is not None
        try:
            with self._report.stage(self._stage):
                results = work(self._session)
            self.outside_peak = max(self.outside_peak, self._session.outside_peak)
        except BudgetError as error:  # of an engine that holds itself to its budget
            self._step_down(error)
            return None
        except RuntimeError as error:
            if is_out_of_memory(error):
                self._step_down(error)
                return None
            if is_device_failure(error):
                reason = str(error).splitlines()[0].rstrip(".")
                raise DeviceError(
                    f"{self.device} stopped working in the middle of {self.blueprint.spec.name} ({reason}). Restart "
                    "the program; if it happens again, update the driver or choose the CPU."
                ) from error
            raise

        if all(torch.isfinite(each).all() for each in results):
            return results
        self._leave_precision()
        return None

    def _leave_precision(self) -> None:
        """Goes on in full precision when half of it gave no numbers. Raises ModelFileError when that is in use."""
        failed = self.plan.precision
        full = tuple(plan for plan in self._plans if plan.precision == "fp32" != failed)
        if not full:
            raise ModelFileError(
                f"{self.blueprint.spec.name} gives values that are no numbers in {failed}, so its result is no "
                "picture. Choose precision auto or fp32; if it was that, the file is damaged: get it again."
            )
        self._change_to(full, f"fp32 instead of {failed}, which gave values that are no numbers")

    def _step_down(self, error: Exception) -> None:
        failed = self.plan
        lower = tuple(plan for plan in self._plans[1:] if plan.predicted_peak < failed.predicted_peak)
        if not lower:
            raise self._host.out_of_memory(
                BudgetError(
                    f"{self.blueprint.spec.name} ran out of memory on {self.device} although "
                    f"{format_bytes(failed.predicted_peak)} were predicted and {format_bytes(failed.allowed)} "
                    "allowed, and nothing smaller is left to try. Close other programs, or raise the budget.",
                    failed.predicted_peak,
                    failed.allowed,
                )
            ) from error
        self._change_to(lower, "ran out of memory once and went one step down")

    def _change_to(self, plans: tuple[Plan, ...], degradation: str) -> None:
        """Goes on with the first of other plans, in another session where its precision is another."""
        failed, self._plans = self.plan, plans
        meter.release_unused(self.device)
        _describe(self._report, self.plan, self.device)
        self._report.degradations.append(degradation)  # each time anew
        if self.plan.precision != failed.precision:
            self._lease.close()
            self._take_session()

    def _take_session(self) -> None:
        working = self.plan.predicted_peak - self.blueprint.weight_bytes(self.plan.precision, self.device)
        lease = self._sessions.lease(
            self.blueprint, self.device, self.plan.precision, working, self._host, self.plan.allowed
        )
        self._session = self._lease.enter_context(lease)


class _SteppedDown(Exception):
    """The plan has changed while a frame was under way: the frame begins again."""


@contextlib.contextmanager
def open_run(job: Job, report: Report, sessions: SessionCache = SESSIONS, costs: CostStore = COSTS) -> Iterator[Run]:
    """Plans the work and holds a session for it.

    The report is filled as far as it is known, also when the block is left by an error. Raises BudgetError
    before anything is allocated when the work does not fit, ModelFileError, SettingError.
    """
    with report.stage("plan"):
        device, plans = planned(job, report, sessions, costs)
        plan = plans[0]
        sessions.make_way(job.blueprint, device, plan.precision)
    if plan.doubts:
        costs.doubt(job.blueprint, plan.precision, device, job.host.state_folder())
        report.notes.append(
            "earlier runs took more than this budget allows; tried once as predicted without what they measured"
        )
    if device != job.host.device():
        report.note_degradation(f"{device} instead of {job.host.device()}")
    report.model, report.device, report.engine = job.blueprint.spec.name, str(device), job.blueprint.engine
    report.notes += [note for note in job.blueprint.notes if note not in report.notes]
    _describe(report, plan, device)
    is_open = sessions.is_open(job.blueprint, device, plan.precision)
    ours = job.blueprint.weight_bytes(plan.precision, device) if is_open else 0
    opened_before = sessions.opened
    run = Run(job, device, plans, report, sessions)
    try:
        with enforced(job.blueprint, device, plan, ours) as enforcement, _measured(device, report, ours):
            report.enforcement = enforcement
            with contextlib.ExitStack() as stack:
                if device.type == "cpu":
                    stack.enter_context(meter.keeping_freed() if plan.keeps_freed else meter.returning_freed())
                with report.stage("load"):
                    stack.enter_context(run.leased())
                yield run
    finally:
        report.sessions_built += sessions.opened - opened_before
        report.measured_peak += run.outside_peak
    if run.plan is plan and not plan.keeps_freed:  # what the gaps take is no property of the network
        _learn(job, device, plan, report, costs)
    if not job.budget.keep_loaded:
        sessions.release(device)


def enforced(
    blueprint: Blueprint, device: torch.device, plan: Plan, ours: int
) -> contextlib.AbstractContextManager[enforce.Enforcement]:
    """Holds the run to its plan's bytes where anybody can: torch's allocator, or the engine's own."""
    if blueprint.enforcer == "torch":
        return enforce.capped(device, plan.allowed, ours)
    return contextlib.nullcontext("enforced" if blueprint.enforcer == "engine" else "watched")


@contextlib.contextmanager
def metered(device: torch.device, report: Report) -> Iterator[None]:
    """Puts the memory of work without a session into the report; what it leaves in RAM counts in what comes next."""
    before = meter.used_bytes(device)
    with _measured(device, report):
        yield
    if device.type == "cpu":
        report.planning_bytes += max(0, meter.used_bytes(device) - before)


@contextlib.contextmanager
def _measured(device: torch.device, report: Report, ours: int = 0) -> Iterator[None]:
    """Puts the block's memory into the report, with what planning has taken there.

    ours: bytes that count although they were there before.
    """
    ours += _planned_bytes(report, device)
    with meter.peak(device, ours) as measured:
        yield
    report.measured_peak = max(report.measured_peak, measured.peak + ours)
    report.add_samples([(moment, level + ours) for moment, level in measured.samples])


def _learn(job: Job, device: torch.device, plan: Plan, report: Report, costs: CostStore) -> None:
    """Corrects the prediction by what was measured, where it was the network that took the most."""
    blueprint = job.blueprint
    staging = planner.staging_bytes(job.work, blueprint.spec, plan) if device.type == "cpu" else 0
    beside = report.measured_peak - blueprint.weight_bytes(plan.precision, device) - _planned_bytes(report, device)
    if beside > job.work.after_bytes:
        folder = job.host.state_folder()
        costs.learn(blueprint, plan.precision, device, plan.pixels, beside - staging, folder)


def _planned_bytes(report: Report, device: torch.device) -> int:
    """What planning took on a device: it works on the CPU."""
    return report.planning_bytes if device.type == "cpu" else 0


def _describe(report: Report, plan: Plan, device: torch.device) -> None:
    planning = _planned_bytes(report, device)
    report.precision = plan.precision
    report.allowed = plan.allowed + planning
    report.predicted_peak = max(report.predicted_peak, plan.predicted_peak + planning)
    report.batch, report.tile, report.overlap = plan.batch, plan.tile, plan.overlap
    for degradation in plan.degradations:
        report.note_degradation(degradation)


def resized(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(H, W, 3) float32 at another size, averaged over what it shrinks."""
    planes = picture.permute(2, 0, 1)[None]
    result = F.interpolate(planes, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return result[0].permute(1, 2, 0)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory: its own type on GPUs, a sentence on CPUs and MPS."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return "not enough memory" in text or "out of memory" in text or "Cannot allocate memory" in text


def is_device_failure(error: RuntimeError) -> bool:
    """Whether a device was lost or its driver gave up, as opposed to a mistake in what was asked of it."""
    kind = getattr(torch, "AcceleratorError", None)  # torch 2.8 and later
    if kind is not None and isinstance(error, kind):
        return True
    return any(sign in str(error) for sign in ("CUDA error", "HIP error", "device lost", "DEVICE_LOST"))
