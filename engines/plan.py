"""Plan once, without touching anything, then open once: `plan(job)` returns a `Planned`, whose `open` makes a `Run`.

Planning asks what the work takes and refuses what can never fit into the user's budget. Opening makes room, chooses
the best plan for what is then available, leases the session, holds the run to its memory and measures it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ..errors import BudgetError
from .cache import SESSIONS, SessionCache
from .job import Job
from .memory import meter, planner
from .memory.budget import MemoryBudget, allowed_bytes, format_bytes
from .memory.costs import COSTS, CostStore, Place
from .memory.planner import Available, Plan, Question, Requirement
from .memory.report import Report
from .run import Run

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class OnDevice:
    """A job's question to the planner on one device.

    best: bytes that the best plan takes. planning_bytes: what asking took in RAM, and keeps.
    """

    device: torch.device
    question: Question
    best: int
    planning_bytes: int


@dataclass(frozen=True, eq=False)
class Planned:
    """A job that fits its budget, as far as that is known before room is made. Nothing is taken yet.

    first: the device that it runs on if it fits there. fallback: the one that is tried after it, or None.
    """

    job: Job
    first: OnDevice
    fallback: torch.device | None
    sessions: SessionCache
    costs: CostStore

    @contextlib.contextmanager
    def open(self, report: Report) -> Iterator[Run]:
        """A run that holds a session of the job's model for the duration of the block.

        The report is filled as far as it is known, also when the block is left by an error. Raises BudgetError
        before anything is allocated when the work does not fit, and what loading the model raises.
        """
        job, sessions = self.job, self.sessions
        with report.stage("plan"):
            device, plans = self._chosen(report)
            best = plans[0]
            sessions.make_way(job.model, device, best.precision)
        staying = sessions.staying_bytes(job.model, device, best.precision)
        self._describe(device, best, report, staying)
        is_open = sessions.is_open(job.model, device, best.precision)
        ours = job.model.weight_bytes(best.precision, device) if is_open else 0
        opened_before, planning = sessions.opened, report.planning_on(device)
        run = Run(job, device, plans, report, sessions)
        run.staying = staying
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(_held(job, device, best, ours, report))
                stack.enter_context(self._measured(run, ours + planning + staying, report))
                with report.stage("load"):
                    stack.enter_context(run.leased())
                yield run
        finally:
            report.sessions_built += sessions.opened - opened_before
        if run.plan is best and not best.keeps_freed:  # what the gaps take is no property of the network
            self._learn(run, planning + staying)
        if not job.budget.keep_loaded:
            sessions.release(device)

    def _chosen(self, report: Report) -> tuple[torch.device, tuple[Plan, ...]]:
        """The first device that the work fits on once room is made there, and its plans, best first."""
        try:
            return self.first.device, self._plans(self.first, report)
        except BudgetError:
            if self.fallback is None:
                raise
        return self.fallback, self._plans(_on_device(self.job, self.fallback, self.costs), report)

    def _plans(self, choice: OnDevice, report: Report) -> tuple[Plan, ...]:
        """The plans that fit on a device. Lets other sessions go and asks the host for room where that is needed."""
        job, device = self.job, choice.device
        report.planning_bytes += choice.planning_bytes
        wanted = min(choice.best, choice.question.budget.limit or choice.best)
        available = self._available(choice, report)
        if available.allowed < wanted or available.free < planner.LITTLE:
            if closed := self.sessions.release_others(job.model, device):
                report.note_degradation(f"closed other models of SlimFusion, {format_bytes(closed)}")
            wanted_room = max(wanted, planner.LITTLE)
            job.host.make_room(wanted_room, device)
            report.note_degradation(f"asked the host to free memory, {format_bytes(wanted_room)}")
            available = self._available(choice, report)
        return _fitting(job, device, choice.question, available, self.costs)

    def _available(self, choice: OnDevice, report: Report) -> Available:
        """What we may use, less what stays with other sessions and planning, and what is free at all."""
        device, sessions = choice.device, self.sessions
        total, free = meter.total_and_free(device)
        ours = sessions.held_bytes(device)
        staying = sessions.staying_bytes(self.job.model, device, next(iter(choice.question.requirements)))
        gone = staying + report.planning_on(device)
        allowed = allowed_bytes(choice.question.budget, total, free, ours) - gone
        return Available(device.type, max(0, allowed), free + ours - staying)

    def _describe(self, device: torch.device, best: Plan, report: Report, staying: int) -> None:
        """Tells the report, and the cost store of a doubt, what will be done."""
        job = self.job
        if best.doubts:
            self.costs.doubt(_place(job, best.precision, device))
            report.notes.append(
                "earlier runs took more than this budget allows; tried once as predicted without what they measured"
            )
        if device != _wanted_device(job):
            report.note_degradation(f"{device} instead of {_wanted_device(job)}")
        if job.is_main:
            report.model, report.device, report.engine = job.model.spec.name, str(device), job.model.traits.engine
        report.notes += [note for note in job.model.traits.notes if note not in report.notes]
        report.describe_plan(best, device, job.is_main, staying)

    @contextlib.contextmanager
    def _measured(self, run: Run, before: int, report: Report) -> Iterator[None]:
        """Puts the block's memory into the report. before: bytes of ours that count although they were there before.

        What the work beside the main one leaves in RAM counts in what comes next.
        """
        device, sessions = run.device, self.sessions
        used, held = meter.used_bytes(device), sessions.held_bytes(device)
        try:
            with meter.peak(device, before) as measured:
                yield
        finally:
            run.peak = measured.peak + before + run.outside_peak
            report.measured_peak = max(report.measured_peak, run.peak)
            report.add_samples([(moment, level + before) for moment, level in measured.samples])
        if device.type == "cpu" and not self.job.is_main:
            report.planning_bytes += max(0, meter.used_bytes(device) - used - sessions.held_bytes(device) + held)

    def _learn(self, run: Run, others: int) -> None:
        """Corrects the prediction by what was measured, where it was the network that took the most.

        others: bytes in the peak that are not the network's.
        """
        job, plan, device = self.job, run.plan, run.device
        staging = planner.staging_bytes(job.work, job.model.spec, plan) if device.type == "cpu" else 0
        beside = run.peak - job.model.weight_bytes(plan.precision, device) - others
        if beside > job.work.after_bytes:
            self.costs.learn(_place(job, plan.precision, device), plan.pixels, beside - staging)


def plan(job: Job, sessions: SessionCache = SESSIONS, costs: CostStore = COSTS) -> Planned:
    """What a job takes on the device that it may run on. Nothing is loaded, closed or asked of the host.

    Raises BudgetError when it does not fit into the user's budget on any device, SettingError.
    """
    wanted = _wanted_device(job)
    fallback = CPU if wanted.type != "cpu" and job.budget.on_low_memory != "fail" else None
    try:
        return Planned(job, _on_device(job, wanted, costs), fallback, sessions, costs)
    except BudgetError:
        if fallback is None:
            raise
    return Planned(job, _on_device(job, fallback, costs), None, sessions, costs)


def _wanted_device(job: Job) -> torch.device:
    return CPU if job.model.traits.only_cpu else job.host.device()


def _on_device(job: Job, device: torch.device, costs: CostStore) -> OnDevice:
    model, options = job.model, job.options
    names = planner.precisions(model.spec, options.precision, job.budget.mode, *meter.half_precisions(device))
    before = meter.used_bytes(CPU)  # the first count loads parts of torch
    requirements = {
        name: Requirement(
            model.weight_bytes(name, device), costs.cost(_place(job, name, device)), model.traits.steers_memory
        )
        for name in names
    }
    planning_bytes = max(0, meter.used_bytes(CPU) - before)
    question = Question(job.work, model.spec, requirements, _budget_on(job), options.tile, options.overlap)
    unlimited = Available(device.type, planner.UNLIMITED, planner.UNLIMITED)
    best = planner.ladder(question, unlimited)[0].predicted_peak
    if (limit := question.budget.limit) is not None:  # not even all that the user gives may be enough
        _fitting(job, device, question, Available(device.type, limit, planner.UNLIMITED), costs)
    return OnDevice(device, question, best, planning_bytes)


def _budget_on(job: Job) -> MemoryBudget:
    """The user's limit is for the host's device: work that has code for the CPU alone is limited where that is it."""
    is_limited = not job.model.traits.only_cpu or job.host.device().type == "cpu"
    return job.budget if is_limited else replace(job.budget, limit=None)


def _fitting(
    job: Job, device: torch.device, question: Question, available: Available, costs: CostStore
) -> tuple[Plan, ...]:
    """The plans that fit, best first; where none does, those without what earlier runs have measured, once."""
    try:
        return planner.ladder(question, available)
    except BudgetError:
        requirements = question.requirements
        doubtful = {name: costs.doubtful_cost(_place(job, name, device)) for name in requirements}
        fewer = {
            name: replace(requirements[name], activations=cost) for name, cost in doubtful.items() if cost is not None
        }
        if not fewer:
            raise
    plans = planner.ladder(replace(question, requirements=fewer), available)
    return tuple(replace(plan, doubts=True) for plan in plans)


@contextlib.contextmanager
def _held(job: Job, device: torch.device, plan: Plan, ours: int, report: Report) -> Iterator[None]:
    """Holds the block to its plan: the allocator to its bytes, the C library to what becomes of freed ones."""
    with job.model.hold_to(device, plan.allowed, ours) as enforcement:
        if job.is_main:
            report.enforcement = enforcement
        if device.type != "cpu":
            yield
        elif not job.model.traits.steers_memory:
            yield
            meter.trim()  # what comes next must not be paid for on top
        else:
            with meter.keeping_freed() if plan.keeps_freed else meter.returning_freed():
                yield


def _place(job: Job, precision: str, device: torch.device) -> Place:
    return Place(job.model, precision, device, job.host.state_folder())
