"""Work on one crop after the other, inside the budget, that can be interrupted and says how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...engines.host import Host
from ...engines.job import Job
from ...engines.memory.budget import MemoryBudget
from ...engines.memory.planner import Work
from ...engines.memory.report import Report
from ...engines.plan import plan
from ...errors import BudgetError
from ...models.built_in import ON_CPU, BuiltInModel

MODEL = BuiltInModel("no model (face crops)", object, traits=replace(ON_CPU, engine="OpenCV"))


@dataclass(frozen=True)
class Task:
    """stage: for reports and the progress bar. count: crops. nbytes: what the largest takes at most."""

    stage: str
    count: int
    nbytes: int


@dataclass(frozen=True)
class Items:
    """Goes through the crops of a task, with progress."""

    task: Task
    host: Host
    report: Report

    def over(self, *sequences: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The number of each crop, and its item in every sequence."""
        for index, items in enumerate(zip(*sequences, strict=True)):
            self.host.check_interrupt()
            with self.report.stage(self.task.stage):
                yield index, *items
            self.host.progress(self.task.stage, index + 1, self.task.count)


@contextlib.contextmanager
def planned(task: Task, budget: MemoryBudget, host: Host, report: Report) -> Iterator[Items]:
    """The task for the duration of the block. Raises BudgetError when it does not fit."""
    work = Work(1, 1, task.count, tiled=False, after_bytes=task.nbytes)
    try:
        with plan(Job(MODEL, work, budget, host, stage=task.stage)).open(report):
            yield Items(task, host, report)
    except BudgetError as error:
        raise BudgetError(
            f"The largest face takes {error.needed} bytes ({task.stage}), but the memory budget gives {error.given}. "
            "Raise the budget, or choose smaller crops.",
            error.needed,
            error.given,
        ) from error
