"""The first pass: every frame is looked at once. What is found is small, and kept on the disk.

What comes later needs to know the whole clip: where its shots begin, who is who, and where a face will be next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..engines.host import Host
from ..engines.memory.budget import MemoryBudget
from ..engines.memory.report import Report
from ..errors import ClipError, OutputError
from ..faces.align import affine_for, can_align, corner_bounds, inverse
from ..faces.detect.boxes import iou
from ..faces.detect.follow import Clues, can_follow, follow_faces
from ..faces.detect.settings import DetectionSettings
from ..faces.face import Face
from ..faces.frames import as_floats
from .manifest import WorkFolder
from .pixels import encodable, is_same, thumbnail, to_pixels
from .read import Clip, Moment, ahead, moments
from .tracks import LOOK_SIDE, change, histogram, look_of
from .write import write_error

SEGMENT_SECONDS: float = 10
REGION_TEMPLATE, REGION_SIDE = "ffhq_512", 512  # what the widest network sees of a face
REGION_MARGIN = 8  # px
SAME_FACE = 0.4  # least overlap of two boxes of one face in frames that follow each other
FOLLOWED = 8  # frames of which one is searched whole for faces, and the others where it and the one before have some
WAITING_PIXEL = 32  # bytes of a pixel that frames which wait to be searched may take, for each frame of a chunk
SUDDEN = 0.2  # change of the colours, below that of any cut, from which on the frames on both sides are searched whole
_KINDS = {"pts": np.int64, "held": bool, "repeated": bool, "change": np.float32, "frame": np.int32, "box": np.float32,
          "points": np.float32, "score": np.float32, "still": bool, "look": np.uint8, "last": np.float32}  # fmt: skip
_SHAPES = {"box": (4,), "points": (5, 2), "look": (LOOK_SIDE, LOOK_SIDE, 3), "change": (2,)}


@dataclass(frozen=True)
class Span:
    """What of a clip is worked on, in pts. start: of the first frame. stop: of the first that is not; None: the end."""

    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True, eq=False)
class Sightings:
    """What was seen in one segment of n frames and m faces.

    pts: (n,). held: (n,) bool, frames equal to the one before. repeated: (n,) bool, put in for a damaged one.
    change: (n, 2) of the colours, to the frame before and to the one before that. frame: (m,) index in the segment.
    box: (m, 4). points: (m, 5, 2). score: (m,). still: (m,) bool, faces whose region is what it was in the frame
    before. look: (m, s, s, 3) uint8. last: (0 to 2, k) histograms of the last frames.
    """

    pts: np.ndarray
    held: np.ndarray
    repeated: np.ndarray
    change: np.ndarray
    frame: np.ndarray
    box: np.ndarray
    points: np.ndarray
    score: np.ndarray
    still: np.ndarray
    look: np.ndarray
    last: np.ndarray

    def save(self, path: Path) -> None:
        """Raises OutputError."""
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                np.savez(file, **{name: getattr(self, name) for name in _KINDS})
            part.replace(path)
        except OSError as error:
            raise write_error(path, error) from error

    @staticmethod
    def load(path: Path) -> Sightings:
        """Raises OutputError for a file that somebody has damaged."""
        try:
            with np.load(path, allow_pickle=False) as content:
                return Sightings(**{name: content[name] for name in _KINDS})
        except (OSError, ValueError, KeyError) as error:
            raise OutputError(f"{path} is damaged ({error}). Delete its folder and begin anew.") from error


@dataclass(frozen=True, eq=False)
class Looking:
    """How a clip is gone through. chunk: frames that are worked on at once. detection: None where none is needed."""

    clip: Clip
    pixels: str
    span: Span
    chunk: int
    detection: DetectionSettings | None
    budget: MemoryBudget
    host: Host

    @property
    def segment_frames(self) -> int:
        return max(1, round(SEGMENT_SECONDS * self.clip.rate))

    def searched_together(self, picture: np.ndarray) -> int:
        """How many frames like this one (H, W, C) wait until they are searched for faces together."""
        pixel = picture.itemsize * picture.shape[2]
        fitting = max(1, min(FOLLOWED, WAITING_PIXEL * self.chunk // pixel))
        return fitting if self.detection is not None and can_follow(self.detection) else min(fitting, self.chunk)


def region_of(points: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of everything that a step may look at or change around a face."""
    back = inverse(affine_for(points, REGION_TEMPLATE, REGION_SIDE))
    low, high = corner_bounds(back, 0, 0, REGION_SIDE, REGION_SIDE)
    x0, y0 = np.floor(low).astype(int) - REGION_MARGIN
    x1, y1 = np.ceil(high).astype(int) + REGION_MARGIN
    height, width = shape[:2]
    return slice(*np.clip([y0, y1], 0, height).tolist()), slice(*np.clip([x0, x1], 0, width).tolist())


def in_span(looking: Looking, start: int | None, seek: bool = True) -> Generator[Moment, None, None]:
    """The frames from a time on that belong to the span, in the encoder's format, decoded ahead."""
    clip, stop = looking.clip, looking.span.stop

    def prepared() -> Iterator[Moment]:
        for moment in moments(clip, start, seek):
            if stop is not None and moment.pts >= stop:
                return
            yield Moment(moment.pts, encodable(moment.frame, clip, looking.pixels), moment.repeated)

    return ahead(prepared(), looking.chunk, looking.host.check_interrupt)


def look(looking: Looking, folder: WorkFolder, collect: Callable[[Report], None]) -> None:
    """Looks at every segment that the folder does not have yet. collect: takes what each group of frames took. Raises
    ClipError, OutputError, BudgetError.
    """
    manifest = folder.manifest
    if manifest.complete:
        return
    index = len(manifest.looked)
    before = Sightings.load(folder.looked(index - 1)) if index else None
    start = looking.span.start if before is None else int(before.pts[-1]) + 1
    last = None if before is None else before.last
    total = looking.clip.frames
    segment = _Segment(looking, collect, last)
    for moment in in_span(looking, start):
        segment.add(moment)
        looking.host.progress("look", min(index * looking.segment_frames + segment.frames, total or 1), total or 1)
        if segment.frames == looking.segment_frames:
            result = segment.finish()
            _keep(folder, index, result)
            index, segment = index + 1, _Segment(looking, collect, result.last)
    if segment.frames:
        _keep(folder, index, segment.finish())
    if not manifest.looked:
        raise ClipError(f"{looking.clip.path} has no frame in the range that was asked for.")
    manifest.complete = True
    folder.save()


def _keep(folder: WorkFolder, index: int, result: Sightings) -> None:
    result.save(folder.looked(index))
    folder.manifest.looked.append(index)
    folder.save()


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A frame that is to be searched. index: in the segment. sudden: its colours are not those of the frame before."""

    index: int
    picture: np.ndarray
    sudden: bool


class _Segment:
    """A segment while it is looked at. It knows nothing of the one before but its last colours."""

    def __init__(self, looking: Looking, collect: Callable[[Report], None], last: np.ndarray | None) -> None:
        self._looking, self._collect = looking, collect
        self._last = [] if last is None else list(last)
        self._previous: Moment | None = None
        self._waiting: list[_Waiting] = []
        self._seen: tuple[np.ndarray, list[dict[str, np.ndarray]]] | None = None
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in _KINDS}
        self.frames = 0

    def add(self, moment: Moment) -> None:
        held = self._previous is not None and is_same(self._previous.frame, moment.frame)
        columns = self._columns
        if held:
            changed = [0.0, 0.0]
        else:
            colours = histogram(thumbnail(moment.frame))
            changed = [change(old, colours) for old in reversed(self._last)]
            changed += [0.0] * (2 - len(changed))
            self._last = [*self._last[-1:], colours]
        for name, value in {"pts": moment.pts, "held": held, "repeated": moment.repeated, "change": changed}.items():
            columns[name].append(np.array(value))
        if not held and self._looking.detection is not None:
            picture = to_pixels(moment.frame, self._looking.clip)
            self._waiting.append(_Waiting(self.frames, picture, changed[0] >= SUDDEN))
        self._previous = moment
        self.frames += 1
        if self._waiting and len(self._waiting) >= self._looking.searched_together(self._waiting[0].picture):
            self._detect()

    def _detect(self) -> None:
        """Searches the frames that wait: whole the first of the segment, the last one, and both sides of a cut."""
        if not self._waiting or self._looking.detection is None:
            return
        pictures = [frame.picture for frame in self._waiting]
        sudden = [frame.sudden for frame in self._waiting] + [True]
        whole = [here or behind for here, behind in pairwise(sudden)]
        whole[0] = whole[0] or self._seen is None
        looking, report = self._looking, Report()
        assert looking.detection is not None
        rows = [] if self._seen is None else self._seen[1]
        clues = Clues(whole, np.array([row["box"] for row in rows], np.float32).reshape(-1, 4))
        result = follow_faces(pictures, clues, looking.host, looking.detection, looking.budget, report)
        self._collect(report)
        for frame, faces in zip(self._waiting, result.frames, strict=True):
            self._take(frame.index, frame.picture, [face for face in faces if can_align(face.landmarks)])
        self._waiting = []

    def _take(self, index: int, picture: np.ndarray, faces: list[Face]) -> None:
        """Adds a frame's faces; one whose region is what it was stays what it was."""
        rows = [
            {"box": face.box, "points": face.landmarks, "score": np.array(face.score), "still": np.array(False)}
            for face in faces
        ]
        if self._seen is not None:
            before, old_rows = self._seen
            for old in old_rows:
                region = region_of(old["points"], picture.shape)
                if not np.array_equal(before[region], picture[region]):
                    continue
                rows = [row for row in rows if iou(row["box"], old["box"][None], of_smaller=False)[0] < SAME_FACE]
                rows.append({**old, "still": np.array(True)})
        rows.sort(key=lambda row: (float(row["box"][0]), float(row["box"][1])))
        for row in rows:
            if "look" not in row:
                row["look"] = _look_in(picture, row["points"])
            self._add_row(index, row)
        self._seen = picture, rows

    def _add_row(self, index: int, row: dict[str, np.ndarray]) -> None:
        self._columns["frame"].append(np.array(index))
        for name in ("box", "points", "score", "still", "look"):
            self._columns[name].append(np.asarray(row[name]))

    def finish(self) -> Sightings:
        self._detect()
        held = np.array(self._columns["held"], bool)
        arrays = {
            name: np.array(self._columns[name], kind).reshape(-1, *_SHAPES.get(name, ()))
            for name, kind in _KINDS.items()
            if name != "last"
        }
        arrays = _with_held_faces(arrays, held)
        return Sightings(**arrays, last=np.asarray(self._last, np.float32))


def _look_in(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`look_of` a face in a whole frame of whole numbers, of which only its region becomes float."""
    rows, columns = region_of(points, picture.shape)
    return look_of(as_floats([picture[rows, columns]])[0].numpy(), points - [columns.start, rows.start])


def _with_held_faces(arrays: dict[str, np.ndarray], held: np.ndarray) -> dict[str, np.ndarray]:
    """Gives frames that repeat the one before its faces."""
    faces = ("frame", "box", "points", "score", "still", "look")
    order: list[int] = []
    frames: list[int] = []
    still: list[bool] = []
    shown: list[int] = []
    for index in range(len(held)):
        own = shown if held[index] else np.flatnonzero(arrays["frame"] == index).tolist()
        order += own
        frames += [index] * len(own)
        still += [True] * len(own) if held[index] else arrays["still"][own].tolist()
        shown = own
    taken = {name: arrays[name][order] for name in faces}
    taken |= {"frame": np.array(frames, np.int32), "still": np.array(still, bool)}
    return {**arrays, **taken}
