"""The second pass: the frames of each segment go through the steps and into a file of their own.

Nothing is computed twice: a frame that repeats the one before is handed on again, and so is a face whose region did
not change. A segment begins knowing nothing of the one before, so that every try gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..engines.host import Host
from ..engines.memory import meter
from ..errors import ClipError
from ..faces.face import Faces
from ..faces.frames import as_floats
from .formats import Encoding
from .look import Looking, in_span, region_of
from .manifest import WorkFolder
from .pixels import merged, to_frame, to_pixels
from .places import Places
from .read import Clip, Moment
from .report import ClipReport, FlickerMeter
from .steps import Conditions, Step, needs_faces, total_scale, work
from .tracks import MOST_UNLIKE, look_of, unlikeness, vector_of
from .write import Behind, SegmentWriter

ENCODE_QUEUE = 4

# Is shown every frame in work: (H, W, 3 or 4) uint8 or uint16 as it came in, (h, w, 3 or 4) float32 0..1 as it became.
# Both may be written over later.
Preview = Callable[[np.ndarray, np.ndarray], None]


@dataclass(frozen=True, eq=False)
class Task:
    """What is done to a clip. preview: None where nobody looks."""

    looking: Looking
    steps: tuple[Step, ...]
    encoding: Encoding
    conditions: Conditions
    preview: Preview | None = None

    @property
    def clip(self) -> Clip:
        return self.looking.clip

    @property
    def host(self) -> Host:
        return self.looking.host

    @property
    def scale(self) -> int:
        return total_scale(self.steps)

    def begins_segment(self, position: int) -> bool:
        return position % self.looking.segment_frames == 0


def work_all(task: Task, places: Places, folder: WorkFolder, report: ClipReport) -> int:
    """Makes every segment that is not done; returns how many frames that took. Raises ClipError, OutputError, and what
    steps raise.
    """
    size, count = task.looking.segment_frames, len(places.pts)
    missing = [index for index in range(-(-count // size)) if str(index) not in folder.manifest.done]
    if not missing:
        return 0
    first = missing[0] * size
    # Behind damage, decoding from a key frame need not show what decoding from the beginning shows.
    frames = in_span(task.looking, int(places.pts[first]), seek=not places.repeated.any())
    encoder, worked = _Encoder(task, folder), 0
    writer = Behind(encoder.take, ENCODE_QUEUE, task.host.check_interrupt)
    try:
        segment: _Segment | None = None
        for position in range(first, count):
            moment = next(frames, None)
            if moment is None or moment.pts != places.pts[position]:
                raise ClipError(f"{task.clip.path} shows other frames than when it was looked at. Begin anew.")
            index = position // size
            if index not in missing:
                continue
            segment = segment or _Segment(task, places, report, writer.put)
            segment.add(position, moment)
            worked += 1
            task.host.progress("work", position + 1, count)
            if position + 1 in (count, (index + 1) * size):
                writer.put((index, segment.finish()))
                segment = None
        writer.finish()
    finally:
        frames.close()
        writer.stop()
        encoder.abandon()
    return worked


class _Encoder:
    """What the encoding thread does: frames into a segment's file, and at its end the file into the manifest."""

    def __init__(self, task: Task, folder: WorkFolder) -> None:
        self._task, self._folder = task, folder
        self._writer: SegmentWriter | None = None

    def take(self, item: tuple[int, Any]) -> None:
        """A frame as (position, frame), or the end of a segment as (index, sums)."""
        number, content = item
        if isinstance(content, dict):
            assert self._writer is not None
            written, self._writer = self._writer.close(), None
            self._folder.finish(number, written, content)
            return
        if self._writer is None:
            path = self._folder.segment(number // self._task.looking.segment_frames)
            self._writer = SegmentWriter(path, self._task.encoding, self._task.clip)
        self._writer.add(content)

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.abandon()


@dataclass(frozen=True, eq=False)
class _Done:
    """A frame and what became of it. mask: (H, W) bool, what was changed. rows: of its faces. reused: rows that are
    taken from the frame before.
    """

    position: int
    pixels: np.ndarray
    result: torch.Tensor
    mask: np.ndarray
    rows: list[int]
    reused: list[int]


class _Segment:
    """Frames of one segment in, frames to encode out."""

    def __init__(self, task: Task, places: Places, report: ClipReport, put: Callable[[tuple[int, Any]], None]) -> None:
        self._task, self._places, self._report, self._put = task, places, report, put
        self._waiting: list[tuple[int, Moment | None]] = []  # None for frames that repeat the one before
        self._meter = FlickerMeter()
        self._before: _Done | None = None  # the last frame with faces
        self._shown: Any = None  # the last frame as it is encoded
        self._sums = {"held": 0, "reused": 0, "filled": 0, "faces": 0}

    def add(self, position: int, moment: Moment) -> None:
        repeats = self._repeats(position)
        self._waiting.append((position, None if repeats else moment))
        unchanged = [place for place, item in self._waiting if item is not None]
        chunk = self._task.looking.chunk
        if sum(map(self._is_work, unchanged)) >= chunk or len(unchanged) >= 2 * chunk:
            self._work()

    def finish(self) -> dict[str, Any]:
        """The segment's sums for the report."""
        self._work()
        return {**self._sums, **asdict(self._meter.sums)}

    def _repeats(self, position: int) -> bool:
        return bool(self._places.held[position]) and not self._task.begins_segment(position)

    def _is_work(self, position: int) -> bool:
        return not needs_faces(self._task.steps) or bool(self._places.rows(position))

    def _work(self) -> None:
        """Takes the waiting frames through the steps, and hands all of them on in order."""
        self._hand_on()
        # A chunk's frames are freed by now, but the C library keeps their memory: 38 MiB at 320 x 180.
        meter.trim()

    def _hand_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        new = [(position, moment) for position, moment in waiting if moment is not None and self._is_work(position)]
        done = {item.position: item for item in self._through_steps(new)} if new else {}
        for position, moment in waiting:
            if moment is None:
                self._sums["held"] += 1
                self._sums["faces"] += len(self._places.rows(position))
            elif position in done:
                self._shown = self._finished(moment, done[position])
            else:
                self._shown, self._before = moment.frame, None
            self._put((position, self._shown))

    def _through_steps(self, new: list[tuple[int, Moment]]) -> list[_Done]:
        task, places = self._task, self._places
        pixels = [to_pixels(moment.frame, task.clip) for _, moment in new]
        frames = as_floats(pixels)
        before = self._before
        rows_of, reused_of, faces = [], [], []
        for place, (position, _) in enumerate(new):
            rows = [row for row in places.rows(position) if self._is_there(row, frames[place].numpy())]
            reused = self._reusable(position, rows, pixels[place], before)
            faces.append(tuple(places.face(row, place) for row in rows if row not in reused))
            rows_of.append(rows)
            reused_of.append(reused)
            before = _Done(position, pixels[place], frames[place], np.zeros(0, bool), rows, reused)
        result = Faces(tuple(faces), int(frames.shape[1]), int(frames.shape[2]))
        worked = work(task.steps, frames, result, task.conditions)
        for report in worked.reports:
            self._report.add(report)
        return [
            _Done(position, pixels[place], worked.frames[place], worked.mask[place], rows_of[place], reused_of[place])
            for place, (position, _) in enumerate(new)
        ]

    def _is_there(self, row: int, picture: np.ndarray) -> bool:
        """Whether a face that was missed looks like itself where it should be: something may stand before it."""
        if not self._places.filled[row]:
            return True
        wanted = self._places.looks.get(row)
        if wanted is None:
            return False
        look = look_of(picture, self._places.points[row])
        return unlikeness(vector_of(wanted), vector_of(look)) <= MOST_UNLIKE

    def _reusable(self, position: int, rows: list[int], pixels: np.ndarray, before: _Done | None) -> list[int]:
        """The rows whose region and points are those of the frame before, and that touch no other row's region."""
        places = self._places
        if before is None or self._task.scale != 1 or not needs_faces(self._task.steps):
            return []
        if not places.held[before.position + 1 : position].all():
            return []
        regions = {row: region_of(places.points[row], pixels.shape) for row in rows}
        old = {int(places.track[row]): row for row in before.rows}
        same = []
        for row in rows:
            was, here = old.get(int(places.track[row])), regions[row]
            unmoved = was is not None and np.array_equal(places.points[was], places.points[row])
            if unmoved and np.array_equal(before.pixels[here], pixels[here]):
                same.append(row)
        while True:
            others = [regions[row] for row in rows if row not in same]
            apart = [row for row in same if not any(_touch(regions[row], other) for other in others)]
            if len(apart) == len(same):
                return same
            same = apart

    def _finished(self, moment: Moment, done: _Done) -> Any:
        """The frame to encode: what was changed in it, and what is taken from the frame before."""
        task, places = self._task, self._places
        for row in done.reused:
            assert self._before is not None
            here = region_of(places.points[row], done.pixels.shape)
            done.result[here], done.mask[here] = self._before.result[here], self._before.mask[here]
        self._sums["reused"] += len(done.reused)
        self._sums["faces"] += len(done.rows)
        self._sums["filled"] += int(places.filled[done.rows].sum())
        for row in done.rows:
            self._meter.add(done.position, int(places.track[row]), places.box[row], done.pixels, done.result.numpy())
        # A copy: the chunk that the result is part of is not kept for it.
        self._before = _Done(done.position, done.pixels, done.result.clone(), done.mask, done.rows, done.reused)
        if task.preview is not None:
            task.preview(done.pixels, done.result.numpy())
        if task.scale != 1 or not needs_faces(task.steps):
            return to_frame(done.result, task.clip, task.encoding.pixels)
        return merged(moment.frame, done.result, done.mask, task.clip)


def _touch(one: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
