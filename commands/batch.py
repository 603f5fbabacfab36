"""Pictures in, pictures out, one after the other: one that fails is named and the rest goes on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BudgetError, ClipError, FacesError, ImageError, OutputError
from .options import budget_from, most_pixels_from
from .pictures import check_writable, chosen_pictures, counted, expanded, targets
from .progress import ProgressBar

if TYPE_CHECKING:
    import torch

    from ..engines.host import StandaloneHost
    from ..engines.memory.budget import MemoryBudget
    from ..engines.memory.report import Report

    # Takes a picture (1, H, W, 3 or 4) and gives its result (1, H', W', 3 or 4) with a report.
    Work = Callable[[torch.Tensor], tuple[torch.Tensor, Report]]
    Prepare = Callable[[MemoryBudget, StandaloneHost], Work]
    # What is noted in the file of a result; None for nothing.
    NoteOf = Callable[[Report], dict[str, Any] | None]

SOME_FAILED, NOTHING_DONE = 1, 2


@dataclass(frozen=True)
class Task:
    """pairs: each picture with the place of its result. notes: what was passed over, for the user. done: results that
    are there already.
    """

    pairs: tuple[tuple[Path, Path], ...]
    notes: tuple[str, ...]
    done: int = 0


def task_from(args: argparse.Namespace) -> Task:
    """What is to be done, with every place checked. Raises ImageError, OutputError."""
    out = expanded(args.out)
    chosen = chosen_pictures(args.sources, out, args.recursive)
    pairs = tuple(zip((source.path for source in chosen.sources), targets(chosen, out), strict=True))
    notes, done = list(chosen.notes), 0
    if args.resume:
        left = tuple((path, target) for path, target in pairs if not target.is_file())
        pairs, done = left, len(pairs) - len(left)
        if done:
            notes.append(f"{counted(done, 'result')} there already")
    check_writable([*(target for _, target in pairs), *([expanded(args.report)] if args.report else [])])
    return Task(pairs, tuple(notes), done)


def run(args: argparse.Namespace, prepare: Prepare, note_of: NoteOf = lambda report: None) -> int:
    """Works on every picture that was named; returns the exit status.

    prepare: makes the work once, after everything that was named has been checked. note_of: see `NoteOf`.
    """
    from ..engines.host import StandaloneHost

    task, budget, limit = task_from(args), budget_from(args), most_pixels_from(args)
    for note in task.notes:
        print(f"slimfusion: {note}", file=sys.stderr)
    if not task.pairs:
        return 0
    bar = ProgressBar(len(task.pairs))
    work = prepare(budget, StandaloneHost(args.device, bar))
    reports: dict[str, Report] = {}

    def report_on(path: Path, target: Path) -> str:
        reports[str(path)] = run_one(path, target, work, limit, note_of)
        return summary(reports[str(path)])

    failed = for_each(task.pairs, bar, report_on)
    if args.report:
        write_report(expanded(args.report), reports)
    return exit_status(failed, len(task.pairs), task.done)


def for_each(pairs: Sequence[tuple[Path, Path]], bar: ProgressBar, work: Callable[[Path, Path], str]) -> int:
    """Works on every source with its target; one that fails is named and the rest goes on. Returns how many failed.

    work: returns what is printed of a finished file.
    """
    failed = 0
    for source, target in pairs:
        bar.begin(source.name)
        try:
            text = work(source, target)
        except (ClipError, ImageError, FacesError, BudgetError, OutputError) as error:
            failed += 1
            bar.clear()
            print(f"slimfusion: {error}", file=sys.stderr)
            continue
        bar.clear()
        print(f"{source} -> {target}\n{text}", flush=True)
    return failed


def exit_status(failed: int, count: int, done: int = 0) -> int:
    """Of a command that worked on `count` files. done: results that were there already."""
    if failed == count and count and not done:
        return NOTHING_DONE
    return SOME_FAILED if failed else 0


def run_one(path: Path, target: Path, work: Work, limit: int, note_of: NoteOf) -> Report:
    """One picture from file to file. A picture without colours gets none."""
    from ..faces.pictures.files import read_picture, without_colour, write_picture
    from ..faces.pictures.kinds import kind_written
    from ..faces.pictures.notes import with_note

    picture = read_picture(path, limit)
    frames, report = work(picture.pixels[None])
    report.notes += picture.notes
    pixels = without_colour(frames[0]) if picture.grey else frames[0]
    metadata, note = picture.metadata, note_of(report)
    if note is not None:
        noted = with_note(metadata, note, kind_written(target.suffix))
        if noted is None:
            report.notes.append(f"{target.suffix} files hold no note on what was done; PNG, JPEG, WebP and TIFF do")
        metadata = noted or metadata
    write_picture(target, pixels, picture.depth, picture.grey, metadata)
    return report


def summary(report: Report) -> str:
    """The report as text; of a picture with which nothing was to be done only why."""
    return report.as_text() if report.device else "\n".join(report.notes) or "nothing was to be done"


def write_report(path: Path, reports: dict[str, Report]) -> None:
    from ..faces.pictures.files import write_whole

    content = {name: report.as_dict() for name, report in reports.items()}
    try:
        write_whole(path, json.dumps(content, indent=2).encode())
    except OutputError as error:
        raise OutputError(f"The report: {error}") from error
