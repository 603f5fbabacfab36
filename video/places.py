"""Where every face is in every frame: who is who, steady, and with the faces that were missed.

Each track's points are smoothed by the frames before and behind. Local regression (Cleveland, "Robust Locally Weighted
Regression and Smoothing Scatterplots", 1979) of the second degree with a Gaussian window that reaches both ways: a
motion at constant speed or acceleration comes out as it went in, without lag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..faces.align import can_align
from .look import Sightings
from .report import jitter
from .steps import TrackedFace
from .tracks import Tracker, cuts, linked, shot_of, without_fragments

WIDEST = 6.0  # frames: the window's standard deviation at steadiness 1
FILLED = 12  # most frames in a row without a sighting that are filled
_REACH = 3.0  # standard deviations that the window goes to


@dataclass(frozen=True, eq=False)
class Course:
    """A track's faces. frames: (n,) in order. values: (n, k) what is smoothed. seen: (n,) bool, False where filled."""

    frames: np.ndarray
    values: np.ndarray
    seen: np.ndarray


def smoothed(frames: np.ndarray, values: np.ndarray, still: np.ndarray, steadiness: float) -> Course:
    """A track made steady, with the frames that it lacks between two sightings.

    frames: (n,) in order. values: (n, k) float. still: (n,) bool, where a face is what it was in the frame before:
    it stays so, to the bit. steadiness: 0 leaves the sightings alone.
    """
    begins = ~still
    begins[0] = True
    begins[1:] |= np.diff(frames) > 1
    runs = np.cumsum(begins) - 1
    times, samples = frames[begins].astype(np.float64), values[begins].astype(np.float64)
    made = np.stack([_at(time, times, samples, steadiness) for time in times]) if steadiness > 0 else samples
    full, result, seen = [], [], []
    for index, frame in enumerate(frames):
        gap = int(frame - frames[index - 1]) - 1 if index else 0
        if 0 < gap <= FILLED:
            for missing in range(int(frames[index - 1]) + 1, int(frame)):
                full.append(missing)
                result.append(_between(missing, index, frames, made[runs]))
                seen.append(False)
        full.append(int(frame))
        result.append(made[runs[index]])
        seen.append(True)
    return Course(np.array(full, np.int64), np.stack(result).astype(np.float32), np.array(seen))


def _at(time: float, times: np.ndarray, samples: np.ndarray, steadiness: float) -> np.ndarray:
    """The value at a time of the parabola that fits the samples around it."""
    width = WIDEST * steadiness
    near = slice(*np.searchsorted(times, [time - _REACH * width, time + _REACH * width + 1e-9]))
    offsets = (times[near] - time) / max(width, 1e-6)
    weights = np.sqrt(np.exp(-0.5 * offsets**2))
    degree = min(2, len(offsets) - 1)
    powers = offsets[:, None] ** np.arange(degree + 1) * weights[:, None]
    return np.linalg.lstsq(powers, samples[near] * weights[:, None], rcond=None)[0][0]


def _between(time: int, index: int, frames: np.ndarray, made: np.ndarray) -> np.ndarray:
    """The value at a missed time, by a cubic through the sightings around it."""
    before, after = index - 1, index
    share = (time - frames[before]) / (frames[after] - frames[before])
    length = float(frames[after] - frames[before])
    slopes = [_slope(before, frames, made) * length, _slope(after, frames, made) * length]
    h = np.array([2 * share**3 - 3 * share**2 + 1, share**3 - 2 * share**2 + share])
    g = np.array([-2 * share**3 + 3 * share**2, share**3 - share**2])
    return h[0] * made[before] + h[1] * slopes[0] + g[0] * made[after] + g[1] * slopes[1]


def _slope(index: int, frames: np.ndarray, made: np.ndarray) -> np.ndarray:
    low, high = max(0, index - 1), min(len(frames) - 1, index + 1)
    return (made[high] - made[low]) / max(1, frames[high] - frames[low])


@dataclass(frozen=True, eq=False)
class Places:
    """A whole clip of n frames with m faces, ordered by frame.

    pts: (n,). held, repeated: (n,) bool. begun: the frames that begin a shot. frame, track: (m,). box: (m, 4).
    points: (m, 5, 2). score: (m,), 0 where filled. filled: (m,) bool. looks: of filled faces, by row, what they must
    look like. of_sighting: the track of each face that was seen, in their order. jitter_source, jitter: px, of the
    points as detected and as they are here; None without faces.
    """

    pts: np.ndarray
    held: np.ndarray
    repeated: np.ndarray
    begun: np.ndarray
    frame: np.ndarray
    track: np.ndarray
    box: np.ndarray
    points: np.ndarray
    score: np.ndarray
    filled: np.ndarray
    looks: dict[int, np.ndarray] = field(default_factory=dict)
    of_sighting: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    jitter_source: float | None = None
    jitter: float | None = None

    @property
    def tracks(self) -> set[int]:
        return set(self.track.tolist())

    def rows(self, frame: int) -> range:
        """The rows of a frame's faces."""
        return range(*np.searchsorted(self.frame, [frame, frame + 1]).tolist())

    def face(self, row: int, place: int) -> TrackedFace:
        """A row as a face of the frame at `place` in its batch."""
        return TrackedFace(
            place, self.box[row], self.points[row], float(self.score[row]), track=int(self.track[row]),
            filled=bool(self.filled[row]),
        )  # fmt: skip


def arrange(segments: Callable[[], Iterator[Sightings]], steadiness: float) -> Places:
    """From what was seen to where everybody is. segments: goes through the clip's sightings, each time anew."""
    frames = [(item.pts, item.held, item.repeated, item.change) for item in segments()]
    pts, held, repeated, change = (np.concatenate(column) for column in zip(*frames, strict=True))
    begun = cuts(change, held)
    seen, looks = _numbered(segments(), begun)
    tracks = [_course(seen, rows, steadiness) for rows in _by_track(seen)]
    if not tracks:
        none = np.zeros(0, np.int64)
        return Places(pts, held, repeated, begun, none, none, np.zeros((0, 4), np.float32),
                      np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))  # fmt: skip
    joined = {name: np.concatenate([track[name] for track in tracks]) for name in tracks[0]}
    order = np.lexsort((joined["track"], joined["frame"]))
    joined = {name: values[order] for name, values in joined.items()}
    filled = np.flatnonzero(joined["filled"])
    of_filled = {int(row): looks[of] for row in filled if (of := int(joined["of"][row])) in looks}
    before, after = _jitter(seen), _jitter(joined)
    del joined["of"]
    return Places(
        pts,
        held,
        repeated,
        begun,
        **joined,
        looks=of_filled,
        of_sighting=seen["track"],
        jitter_source=before,
        jitter=after,
    )


def _numbered(segments: Iterator[Sightings], begun: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, np.ndarray]]:
    """All sightings in one table, each with its track and the frame of the whole clip; and, by their rows, the looks
    of those that a track was lost behind for so few frames that they are filled.
    """
    tracker, base, shot = Tracker(), 0, -1
    tables: dict[str, list[np.ndarray]] = {name: [] for name in ("frame", "track", "box", "points", "score", "still")}
    looks: dict[int, np.ndarray] = {}
    last: dict[int, tuple[int, int, np.ndarray]] = {}  # of each track: frame, row, look
    row = 0
    for segment in segments:
        numbers: list[int] = []
        for index in range(len(segment.pts)):
            rows = slice(*np.searchsorted(segment.frame, [index, index + 1]))
            now = int(shot_of(np.array([base + index]), begun)[0])
            if now != shot:
                tracker.begin_shot()
                last, shot = {}, now
            of_frame = tracker.numbers(base + index, segment.box[rows], segment.look[rows])
            for number, look in zip(of_frame, segment.look[rows], strict=True):
                if number in last and 1 < base + index - last[number][0] <= FILLED + 1:
                    looks[last[number][1]] = last[number][2]
                last[number] = (base + index, row, look.copy())
                row += 1
            numbers += of_frame
        tables["frame"].append(segment.frame.astype(np.int64) + base)
        tables["track"].append(np.array(numbers, np.int64))
        for name in ("box", "points", "score", "still"):
            tables[name].append(getattr(segment, name))
        base += len(segment.pts)
    table = {name: np.concatenate(parts) for name, parts in tables.items()}
    present = tracker.looks()
    for of_shot in np.split(np.arange(len(table["frame"])), np.searchsorted(table["frame"], begun[1:])):
        frames, boxes = table["frame"][of_shot], table["box"][of_shot]
        alike = linked(frames, table["track"][of_shot], present)
        table["track"][of_shot] = without_fragments(frames, alike, boxes, present)
    return table, looks


def _by_track(table: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The rows of each track, in order."""
    if not len(table["track"]):
        return []
    order = np.argsort(table["track"], kind="stable")
    return np.split(order, np.flatnonzero(np.diff(table["track"][order])) + 1)


def _course(seen: dict[str, np.ndarray], rows: np.ndarray, steadiness: float) -> dict[str, np.ndarray]:
    """One track's rows of the clip's table, smoothed and filled. of: the sighting that each goes by."""
    values = np.concatenate([seen["points"][rows].reshape(len(rows), 10), seen["box"][rows]], 1)
    frames = seen["frame"][rows]
    course = smoothed(frames, values, seen["still"][rows], steadiness)
    of = rows[np.searchsorted(frames, course.frames, "right") - 1]
    points = course.values[:, :10].reshape(-1, 5, 2)
    bad = [index for index, item in enumerate(points) if not can_align(item)]
    points[bad] = seen["points"][of[bad]]
    return {
        "frame": course.frames,
        "track": seen["track"][of],
        "box": course.values[:, 10:],
        "points": points,
        "score": np.where(course.seen, seen["score"][of], 0).astype(np.float32),
        "filled": ~course.seen,
        "of": of,
    }


def _jitter(table: dict[str, np.ndarray]) -> float | None:
    sums = [jitter(table["frame"][rows], table["points"][rows]) for rows in _by_track(table)]
    count = sum(number for _, number in sums)
    return None if not count else float(np.sqrt(sum(total for total, _ in sums) / count))
