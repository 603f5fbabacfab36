"""From a job to plans on a device: what the pure planner needs is asked here, of the host and of the meters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from ..errors import BudgetError, SettingError
from .cache import SESSIONS, SessionCache
from .checks import check_numbers
from .host import Host
from .memory import meter, planner
from .memory.budget import MemoryBudget, allowed_bytes, format_bytes
from .memory.costs import COSTS, CostStore
from .memory.planner import Plan, Work
from .memory.report import Report
from .session import PRECISIONS, Blueprint


@dataclass(frozen=True)
class Options:
    """How the user wants a network to be run.

    precision: "auto", "fp32", "bf16" or "fp16". tile: px, 0 for automatic. overlap: px that neighbouring tiles
    share. fidelity: 0 (sharp) to 1 (faithful), for networks that have the control. Raises SettingError.
    """

    precision: str = "auto"
    tile: int = 0
    overlap: int = 32
    fidelity: float = 0.5

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *PRECISIONS):
            raise SettingError(
                f"There is no precision {self.precision!r}. Choose one of auto, {', '.join(PRECISIONS)}."
            )
        check_numbers(tile=self.tile, overlap=self.overlap, fidelity=self.fidelity)
        if self.tile < 0 or self.overlap < 0:
            raise SettingError(f"Tile and overlap are 0 px or more, not {self.tile} and {self.overlap}.")
        if not 0 <= self.fidelity <= 1:
            raise SettingError(f"The fidelity goes from 0 to 1, not {self.fidelity}.")


DEFAULTS = Options()


@dataclass(frozen=True, eq=False)
class Job:
    """A network, what it has to do, and the conditions: all that a run is asked for.

    stage: what the report and the progress bar call it.
    """

    blueprint: Blueprint
    work: Work
    budget: MemoryBudget
    host: Host
    options: Options = DEFAULTS
    stage: str = "restore"


def planned(
    job: Job, report: Report, sessions: SessionCache = SESSIONS, costs: CostStore = COSTS
) -> tuple[torch.device, tuple[Plan, ...]]:
    """The device that the work fits on, the host's or else the CPU, and the plans for it, best first.

    report: told what was let go to make room. Raises BudgetError when it fits nowhere, SettingError.
    """
    wanted, cpu = job.host.device(), torch.device("cpu")
    try:
        return wanted, _plans_on(wanted, job, report, sessions, costs)
    except BudgetError:
        if wanted.type == "cpu" or job.budget.on_low_memory == "fail":
            raise
    return cpu, _plans_on(cpu, job, report, sessions, costs)


def _plans_on(
    device: torch.device, job: Job, report: Report, sessions: SessionCache, costs: CostStore
) -> tuple[Plan, ...]:
    blueprint, budget, host, options = job.blueprint, job.budget, job.host, job.options
    usable = planner.precisions(blueprint.spec, options.precision, budget.mode, *meter.half_precisions(device))
    with _counted(report):
        needs = _needs(device, job, usable, costs)

    def plans(allowed: int, free: int, needs: Mapping[str, planner.Requirement] = needs) -> tuple[Plan, ...]:
        room = planner.Available(device.type, allowed, free)
        return planner.ladder(job.work, blueprint.spec, needs, room, budget, options.tile, options.overlap)

    def room() -> tuple[int, int]:
        """Bytes that we may use, less what stays with light sessions and planning, and bytes that are free at all."""
        total, free = meter.total_and_free(device)
        ours = sessions.held_bytes(device)
        staying = sessions.staying_bytes(blueprint, device, usable[0])
        gone = staying + (report.planning_bytes if device.type == "cpu" else 0)
        return max(0, allowed_bytes(budget, total, free, ours) - gone), free + ours - staying

    best = plans(planner.UNLIMITED, planner.UNLIMITED)[0].predicted_peak
    wanted = min(best, budget.limit or best)
    allowed, free = room()
    if allowed < wanted or free < planner.LITTLE:
        if closed := sessions.release_others(blueprint, device):
            report.note_degradation(f"closed other networks of ours, {format_bytes(closed)}")
        host.make_room(max(wanted, planner.LITTLE), device)
        report.note_degradation(f"asked the host for room, {format_bytes(max(wanted, planner.LITTLE))}")
        allowed, free = room()
    try:
        return plans(allowed, free)
    except BudgetError:
        doubtful = _doubtful_needs(device, job, needs, costs)
        if not doubtful:
            raise
    return tuple(replace(plan, doubts=True) for plan in plans(allowed, free, doubtful))


@contextlib.contextmanager
def _counted(report: Report) -> Iterator[None]:
    """Adds what the block takes in RAM, and keeps, to the report: the first probe loads parts of torch."""
    cpu = torch.device("cpu")
    before = meter.used_bytes(cpu)
    yield
    report.planning_bytes += max(0, meter.used_bytes(cpu) - before)


def _needs(device: torch.device, job: Job, usable: tuple[str, ...], costs: CostStore) -> dict[str, planner.Requirement]:
    blueprint, folder = job.blueprint, job.host.state_folder()
    return {
        each: planner.Requirement(
            blueprint.weight_bytes(each, device), costs.cost(blueprint, each, device, folder), blueprint.elsewhere
        )
        for each in usable
    }


def _doubtful_needs(
    device: torch.device, job: Job, needs: Mapping[str, planner.Requirement], costs: CostStore
) -> dict[str, planner.Requirement]:
    """The needs of those precisions whose learnt memory may be left out once."""
    folder = job.host.state_folder()
    costs_without = {each: costs.doubtful_cost(job.blueprint, each, device, folder) for each in needs}
    return {each: replace(needs[each], activations=cost) for each, cost in costs_without.items() if cost is not None}
