"""A clip from file to file: looked at once, then worked on segment by segment, then joined.

Decoding, work and encoding go on in three threads with short queues between them, so that the memory does not grow
with the clip. What is finished is on the disk: whoever stops may go on later.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from ..engines.checks import check_numbers, check_text
from ..engines.host import Host, StandaloneHost
from ..engines.memory import meter
from ..engines.memory.budget import MIB, MemoryBudget, allowed_bytes, format_bytes
from ..errors import BudgetError, OutputError, SettingError
from ..faces.detect.settings import DEFAULT_DETECTION, DetectionSettings
from .formats import AS_SOURCE, choose_encoding
from .join import Times, copyable, join
from .look import Looking, Sightings, Span, look
from .manifest import WorkFolder, fingerprint, fingerprint_of_source
from .places import Places, arrange
from .read import DEFAULT_RATE, Clip, open_clip
from .report import ClipReport
from .segments import Preview, Task, work_all
from .steps import Conditions, Step, check_steps, check_tracks, needs_faces, total_scale

MOST_CHUNK = 16  # frames that are worked on together
WORK_PIXEL = 48  # bytes of a frame in work: itself, its result, a copy, a mask, both in whole numbers
HELD_PIXEL = 140  # bytes whatever the chunk: decoder, encoder, queues, the frame before
SMALLEST_RAM = 64 * MIB  # for networks beside the frames, on the CPU
AUTOMATIC_SHARE = 4  # of the memory that is available, by which the automatic RAM budget is divided


def _say_nothing(sentence: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True)
class ClipSettings:
    """How a clip is worked on.

    codec: one of `formats.CODECS`, or "source". crf: None for the codec's own. start, stop: seconds of the clip, or
    frames with `in_frames`; 0 and None for all. steadiness: 0..1, how far points are smoothed. resume: go on where an
    earlier try with the same settings stopped. ram: bytes for frames, and on the CPU for networks too; None for a
    quarter of what is available. rate: frames a second of a folder of pictures. detection: how faces are looked for.
    say: told before the work begins what of the source will be lost. preview: shown every frame in work.
    Raises SettingError.
    """

    codec: str = AS_SOURCE
    crf: int | None = None
    start: float = 0
    stop: float | None = None
    in_frames: bool = False
    steadiness: float = 0.5
    resume: bool = True
    ram: int | None = None
    rate: Fraction = DEFAULT_RATE
    detection: DetectionSettings = DEFAULT_DETECTION
    say: Callable[[str], None] = field(default=_say_nothing, compare=False, repr=False)
    preview: Preview | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_text("codec", self.codec)
        check_numbers(steadiness=self.steadiness, start=self.start, stop=0 if self.stop is None else self.stop)
        if not 0 <= self.steadiness <= 1:
            raise SettingError(f"The steadiness goes from 0 to 1, not {self.steadiness}.")
        if not (0 <= self.start < math.inf and (self.stop is None or self.start < self.stop < math.inf)):
            raise SettingError(f"The range must begin at 0 or later and end behind its beginning, not {self.start} to "
                               f"{self.stop}.")  # fmt: skip
        if self.ram is not None and self.ram <= 0:
            raise SettingError(f"The RAM budget must be more than 0 bytes, not {self.ram}. Leave it out for automatic.")


DEFAULT_SETTINGS = ClipSettings()


def process_video(
    source: str | Path,
    target: str | Path,
    steps: Sequence[Step],
    budget: MemoryBudget | None = None,
    host: Host | None = None,
    settings: ClipSettings = DEFAULT_SETTINGS,
) -> ClipReport:
    """Takes a clip through steps and writes it, with its sound and all its times, to a file at `target`.

    source: a file, or a folder of numbered pictures. Raises ClipError, SettingError, OutputError, BudgetError, and what
    steps raise.
    """
    source, target, host, budget = Path(source), Path(target), host or StandaloneHost(), budget or MemoryBudget()
    begun = time.monotonic()
    check_steps(steps)
    clip = open_clip(source, settings.rate)
    check_target(clip, target)
    span = span_of(clip, settings)
    encoding, notes = choose_encoding(clip, target.suffix, settings.codec, settings.crf, total_scale(steps))
    report = ClipReport(str(source), str(target), codec=encoding.codec)
    report.memory.begin(budget)
    folder = WorkFolder(target)
    with folder.held():
        made_of = fingerprint([asdict(encoding), *_described(clip, steps, settings)])
        folder.begin(fingerprint_of_source(clip), made_of, settings.resume)
        for text in (*notes, *copyable(clip, target.suffix.lower())[1], *folder.notes):
            report.note(text)
            settings.say(text)
        report.chunk, budget = plan_memory(clip, total_scale(steps), budget, host, settings.ram, folder)
        detection = settings.detection if needs_faces(steps) else None
        looking = Looking(clip, encoding.pixels, span, report.chunk, detection, budget, host)
        task = Task(looking, tuple(steps), encoding, Conditions(budget, host, settings.detection), settings.preview)
        with meter.peak(torch.device("cpu")) as measured:
            places = _run(task, settings.steadiness, folder, report)
            _join(task, places, folder, target)
        report.peak_ram = measured.peak
        folder.remove()
    report.seconds = time.monotonic() - begun
    return report


def work_name(source: Path, steps: Sequence[Step], settings: ClipSettings) -> str:
    """A name for what these steps and settings make of a clip: the same for the same. Raises ClipError."""
    check_steps(steps)
    clip = open_clip(source, settings.rate)
    about = [fingerprint_of_source(clip), settings.codec, settings.crf]
    return fingerprint([*about, *_described(clip, steps, settings)])


def check_target(clip: Clip, target: Path) -> None:
    """Raises OutputError for a target that is the source, or that cannot be written."""
    if target.is_dir():
        raise OutputError(f"{target} is a folder, and a clip is to be written there. Name a file.")
    same = target.exists() and target.resolve() == clip.path.resolve()
    if same or (target.exists() and clip.path.exists() and os.path.samefile(target, clip.path)):
        raise OutputError(f"{target} is the clip itself and would be overwritten. Choose another place.")
    if not target.parent.is_dir():
        raise OutputError(f"There is no folder {target.parent} to write {target.name} to. Make it, or choose another.")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{target.parent} is read-only. Choose a folder that you may write to.")


def span_of(clip: Clip, settings: ClipSettings) -> Span:
    """The range in pts. Raises SettingError for one that begins behind the clip's end."""
    unit = 1 / clip.rate if settings.in_frames else Fraction(1)
    start = Fraction(settings.start).limit_denominator(10**6) * unit
    if clip.seconds and start >= clip.seconds:
        raise SettingError(f"The range begins at {float(start):.2f} s, but the clip ends at {clip.seconds:.2f} s.")
    # Half a tick of tolerance: 0.1 s is frame 3 of 30 a second, whatever the clock's steps.
    first = -(-start // clip.time_base) - (1 if clip.time_base < Fraction(1, 240) else 0) if start else None
    stop = None
    if settings.stop is not None:
        stop = int(-(-(Fraction(settings.stop).limit_denominator(10**6) * unit) // clip.time_base))
    return Span(None if first is None else int(first), stop)


def _described(clip: Clip, steps: Sequence[Step], settings: ClipSettings) -> list[Any]:
    """What the frames of a result depend on, besides the source and the codec."""
    span = settings.start, settings.stop, settings.in_frames
    detection = repr(replace(settings.detection, find_file=None))
    return [[step.described() for step in steps], str(clip.rate), span, settings.steadiness, detection]


def plan_memory(
    clip: Clip, scale: int, budget: MemoryBudget, host: Host, ram_given: int | None, folder: WorkFolder
) -> tuple[int, MemoryBudget]:
    """Frames a chunk, and the networks' budget: those of the last try, so that its results are gone on with.

    Raises BudgetError where not one frame fits what the user gave.
    """
    present = folder.manifest.memory
    if not present:
        total, free = meter.total_and_free(torch.device("cpu"))
        ram = ram_given or free // AUTOMATIC_SHARE
        pixels = clip.width * clip.height
        held, item = pixels * HELD_PIXEL, pixels * WORK_PIXEL * (1 + scale**2) // 2
        on_cpu = host.device().type == "cpu"
        networks = SMALLEST_RAM if on_cpu else 0
        needed = held + item + networks
        if ram_given is not None and needed > ram:
            raise BudgetError(
                f"A frame of {clip.width} x {clip.height} px needs {format_bytes(needed)}, but the RAM budget gives "
                f"{format_bytes(ram)}. Raise it (--ram), or use a smaller clip.", needed, ram,
            )  # fmt: skip
        share = (ram - held) // (2 if on_cpu else 1)
        chunk = int(min(MOST_CHUNK, max(1, share // item)))
        limit = budget.limit
        if limit is None and on_cpu and ram_given is not None:
            limit = max(SMALLEST_RAM, ram - held - chunk * item)
        elif limit is None and on_cpu:
            limit = allowed_bytes(budget, total, free, 0)
        present = {"chunk": chunk, "limit": limit or 0}
        folder.manifest.memory = present
        folder.save()
    return present["chunk"], replace(budget, limit=present["limit"] or None)


def _run(task: Task, steadiness: float, folder: WorkFolder, report: ClipReport) -> Places:
    """Both passes."""
    manifest, begun = folder.manifest, time.monotonic()
    report.resumed = len(manifest.done)
    look(task.looking, folder, report.add)

    def sightings() -> Iterator[Sightings]:
        return (Sightings.load(folder.looked(index)) for index in sorted(manifest.looked))

    places = arrange(sightings, steadiness)
    check_tracks(task.steps, places.tracks)
    worked = work_all(task, places, folder, report)
    report.frames_a_second = worked / (time.monotonic() - begun)
    _sum_up(task, places, folder, report)
    return places


def _sum_up(task: Task, places: Places, folder: WorkFolder, report: ClipReport) -> None:
    done = folder.manifest.done.values()
    report.frames, report.shots, report.tracks = len(places.pts), len(places.begun), len(places.tracks)
    report.repeated = int(places.repeated.sum())
    for name in ("held", "reused", "filled", "faces"):
        setattr(report, name, sum(int(item[name]) for item in done))
    source, result = (sum(float(item[name]) for item in done) for name in ("source", "result"))
    report.flicker = result / source if source > 0 else None
    report.jitter_source, report.jitter = places.jitter_source, places.jitter
    report.memory.frames, report.memory.faces = report.frames, report.faces
    if report.repeated:
        report.note(f"{report.repeated} frames were damaged: the one before stands in the place of each")
    if needs_faces(task.steps) and not report.faces:
        report.note("no face was found: every frame is as it came in")


def _join(task: Task, places: Places, folder: WorkFolder, target: Path) -> None:
    """All segments as one file, in the target's place once it is whole."""
    task.host.progress("join", 0, 1)
    done = folder.manifest.done
    segments = [(folder.segment(int(index)), int(done[index]["reorder"])) for index in sorted(done, key=int)]
    span = task.looking.span
    times = Times(places.pts, task.clip.time_base, span.start is None, span.stop is None)
    whole = folder.path / f"whole{target.suffix}"
    join(task.clip, segments, times, whole, task.encoding)
    try:
        os.replace(whole, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror}). Close what holds it open.") from error
    task.host.progress("join", 1, 1)
