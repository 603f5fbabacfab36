"""Shots, where one picture gives way to another; and tracks within them: which face of one frame is which of the next,
by place, size and look.

Kuhn, "The Hungarian Method for the Assignment Problem", 1955, by scipy. A face that is lost is waited for until its
shot ends: longer away, it must look more like itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..faces import align
from ..opencv import cv2

BINS = 8  # of each colour
CUT = 0.3  # least change of a histogram, 0..1, at a cut
ABOVE = 3.0  # times the changes around it
AROUND = 8  # frames on each side
_FLOOR = 0.03  # of the changes around: noise is no cut

LOOK_SIDE = 16  # px of the small aligned picture that a face is known again by
LOOK_TEMPLATE = "arcface_112_v2"
NEAR_FRAMES = 3  # lost for so long, a face is still looked for by its place
MOST_FAR = 1.0  # sides that a face may be from where it was expected, a frame
# 1 - correlation of looks. Of one person in frames that follow each other and ten apart, 99 of 100 are below 0.23; of
# two people 95 of 100 are above 0.5.
MOST_UNLIKE, MOST_UNLIKE_LATER, MOST_UNLIKE_ELSEWHERE = 0.6, 0.45, 0.38  # just seen, lost, lost and seen elsewhere
# Sides from where a face was expected that was just seen, at most, and how unlike it may be there.
NEAR_LIMITS = ((0.25, 0.75), (0.5, 0.5), (np.inf, MOST_UNLIKE_LATER))
MOST_RATIO = 1.6  # of sizes
_IMPOSSIBLE = 4.0  # what leaving a track and a face apart costs, above all that fits
MOST_OF_FRAGMENT = 6  # sightings
# Sides a frame that a fragment is from its track at most, sides in all, frames, and how unlike it looks.
FRAGMENT_FAR, FRAGMENT_FARTHEST, FRAGMENT_FRAMES, FRAGMENT_UNLIKE = 0.5, 5.0, 30, 0.7
MOST_UNLIKE_ON_THE_WHOLE = 0.4  # mean looks of two tracks of one person
MOST_LOOKS = 6  # that a track is known by
_LOOKS_COUNT = 3.0  # what having nothing in common costs, where a side of distance costs 1
_HALF_HIDDEN = 0.8  # of the weight of looks where another face may hide part of one
_NEW_LOOK = 0.12  # from this on a look is worth keeping beside the others
_MEMORY = 0.5  # of a track's speed that its next step keeps


def histogram(thumb: np.ndarray) -> np.ndarray:
    """The colours of each quarter of a small picture (h, w, 3) uint8: (4 * BINS**3,) float32 whose sum is 1.

    Quarter by quarter, because two shots in one room have the same colours, in other places.
    """
    soft = cv2.GaussianBlur(thumb, (5, 5), 0)
    height, width = (length // 2 for length in soft.shape[:2])
    quarters = [part for half in (soft[:height], soft[height:]) for part in (half[:, :width], half[:, width:])]
    counts = [cv2.calcHist([np.ascontiguousarray(part)], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
              for part in quarters]  # fmt: skip
    return np.concatenate([(count / (4 * max(1.0, count.sum()))).ravel() for count in counts]).astype(np.float32)


def change(one: np.ndarray, other: np.ndarray) -> float:
    """How much of two histograms differs: 0 none, 1 all."""
    return float(1.0 - np.minimum(one, other).sum())


def cuts(changes: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The frames that begin a shot, the first among them.

    changes: (n, 2) of each frame to the one before, and to the one before that. held: (n,) bool, frames that repeat
    the one before, which say nothing of how much the clip moves.
    """
    begun = [0] if len(changes) else []
    moving = np.flatnonzero(~held)
    values, beyond = changes[moving].T
    for place in range(1, len(moving)):
        beside = np.concatenate([values[max(1, place - AROUND) : place], values[place + 1 : place + 1 + AROUND]])
        usual = max(_FLOOR, float(np.median(beside)) if len(beside) else 0.0)
        # Where a flash begins and ends, the frames on its other side look alike.
        stays = (place < 2 or beyond[place] >= CUT) and (place + 1 == len(moving) or beyond[place + 1] >= CUT)
        if values[place] >= CUT and values[place] >= ABOVE * usual and stays:
            begun.append(int(moving[place]))
    return np.array(begun, np.int64)


def shot_of(frames: np.ndarray, begun: np.ndarray) -> np.ndarray:
    """The number of the shot that each frame belongs to."""
    return np.searchsorted(begun, frames, "right") - 1


@dataclass
class _Track:
    number: int
    place: np.ndarray  # (3,): centre x, y, side
    speed: np.ndarray  # (2,) px a frame
    frame: int
    looks: list[np.ndarray]
    sure: bool  # whether no other face was near when the looks were taken


def look_of(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(LOOK_SIDE, LOOK_SIDE, 3) uint8 of a face in a picture (H, W, 3 or 4) float32 0..1."""
    affine = align.affine_for(points, LOOK_TEMPLATE, LOOK_SIDE)
    return np.rint(align.crop_face(picture, affine, LOOK_SIDE).clip(0, 1) * 255).astype(np.uint8)


def vector_of(look: np.ndarray) -> np.ndarray:
    """A look as a vector of length 1, whatever its brightness and contrast."""
    values = look.astype(np.float32).reshape(-1)
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length > 0 else values


def unlikeness(one: np.ndarray, other: np.ndarray) -> float:
    """0 for the same look, 1 for looks that have nothing in common, up to 2."""
    return 1.0 - float(one @ other)


class Tracker:
    """Numbers the faces of frames that come in order. A number is never given twice."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 0
        self._sums: dict[int, np.ndarray] = {}  # of looks, where no other face was near

    def begin_shot(self) -> None:
        """Forgets everybody: whoever comes now is somebody else."""
        self._tracks = []

    def numbers(self, frame: int, boxes: np.ndarray, looks: Iterable[np.ndarray]) -> list[int]:
        """The track of each face. boxes: (n, 4) x0 y0 x1 y1 in px. looks: as `look_of` makes them."""
        vectors = [vector_of(look) for look in looks]
        places = [_place(box) for box in boxes]
        alone = [not _overlaps(index, boxes) for index in range(len(boxes))]
        result = [-1] * len(places)
        if places and self._tracks:
            seen = list(zip(places, vectors, alone, strict=True))
            costs = np.array([[self._cost(track, frame, *item) for item in seen] for track in self._tracks])
            for row, column in zip(*linear_sum_assignment(costs), strict=True):
                if costs[row, column] < _IMPOSSIBLE:
                    result[column] = row
        numbers = []
        for index, place, vector, is_alone in zip(result, places, vectors, alone, strict=True):
            if index < 0:
                self._tracks.append(_Track(self._next, place, np.zeros(2), frame, [vector], is_alone))
                self._next += 1
                number = self._next - 1
            else:
                number = self._follow(self._tracks[index], frame, place, vector if is_alone else None)
            if is_alone or number not in self._sums:
                self._sums[number] = self._sums.get(number, 0.0) + vector
            numbers.append(number)
        return numbers

    def looks(self) -> dict[int, np.ndarray]:
        """The mean look of every track so far, of length 1."""
        return {number: total / max(1e-6, float(np.linalg.norm(total))) for number, total in self._sums.items()}

    def _cost(self, track: _Track, frame: int, place: np.ndarray, vector: np.ndarray, alone: bool) -> float:
        """alone: no other face is near, which could hide part of this one."""
        gap = frame - track.frame
        side = (track.place[2] + place[2]) / 2
        expected = track.place[:2] + track.speed * min(gap, NEAR_FRAMES * 4)
        far = float(np.linalg.norm(place[:2] - expected)) / side
        unlike = min(unlikeness(look, vector) for look in track.looks) * (1.0 if alone else _HALF_HIDDEN)
        ratio = max(place[2], track.place[2]) / max(1e-6, min(place[2], track.place[2]))
        if gap <= NEAR_FRAMES:
            near = far <= MOST_FAR * (0.5 + 0.5 * gap) and ratio <= MOST_RATIO
            # A head that turns looks unlike itself, but it stays where it is.
            fits = near and any(far <= most and unlike <= limit for most, limit in NEAR_LIMITS)
            return far + _LOOKS_COUNT * unlike if fits else _IMPOSSIBLE
        fits = unlike <= (MOST_UNLIKE_LATER if far <= 1 else MOST_UNLIKE_ELSEWHERE)
        return 0.5 + min(far, 3.0) / 6 + _LOOKS_COUNT * unlike if fits else _IMPOSSIBLE

    def _follow(self, track: _Track, frame: int, place: np.ndarray, vector: np.ndarray | None) -> int:
        """vector: its look, None where another face may hide part of it."""
        gap = max(1, frame - track.frame)
        step = (place[:2] - track.place[:2]) / gap
        track.speed = step if not track.speed.any() else _MEMORY * track.speed + (1 - _MEMORY) * step
        track.place, track.frame = place, frame
        if vector is not None and not track.sure:
            track.looks, track.sure = [vector], True
        elif vector is not None and min(unlikeness(look, vector) for look in track.looks) > _NEW_LOOK:
            track.looks = [*track.looks[-(MOST_LOOKS - 1) :], vector]
        return track.number


def _place(box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = (float(value) for value in box)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0, 1.0)])


def _overlaps(index: int, boxes: np.ndarray) -> bool:
    """Whether a box shares pixels with another one."""
    x0, y0, x1, y1 = boxes[index]
    others = np.delete(boxes, index, 0)
    return bool(((others[:, 0] < x1) & (others[:, 2] > x0) & (others[:, 1] < y1) & (others[:, 3] > y0)).any())


def linked(frames: np.ndarray, numbers: np.ndarray, looks: dict[int, np.ndarray]) -> np.ndarray:
    """The numbers of sightings, where tracks that on the whole look alike and are never seen together become one: a
    face that comes back half hidden looks unlike itself at first. All of one shot.
    """
    numbers = numbers.copy()
    seen = {int(number): set(frames[numbers == number].tolist()) for number in np.unique(numbers)}
    pairs = [
        (unlikeness(looks[one], looks[two]), one, two)
        for one in seen
        for two in seen
        if one < two and unlikeness(looks[one], looks[two]) <= MOST_UNLIKE_ON_THE_WHOLE
    ]
    became = {number: number for number in seen}
    for _, one, two in sorted(pairs):
        first, second = sorted((became[one], became[two]))
        if first != second and not seen[first] & seen[second]:
            seen[first] |= seen.pop(second)
            became = {number: first if now == second else now for number, now in became.items()}
    for number, now in became.items():
        numbers[numbers == number] = now
    return numbers


def without_fragments(
    frames: np.ndarray, numbers: np.ndarray, boxes: np.ndarray, looks: dict[int, np.ndarray]
) -> np.ndarray:
    """The numbers of sightings, where a fragment of few sightings is given to the track that it is a part of: one that
    is not seen in the same frames, could have got there, and looks most like it. All of one shot, in order.
    """
    numbers = numbers.copy()
    places = np.array([_place(box) for box in boxes]).reshape(-1, 3)
    rows = {int(number): np.flatnonzero(numbers == number) for number in np.unique(numbers)}
    for number in sorted(rows, key=lambda item: len(rows[item])):
        mine = rows[number]
        if len(mine) > MOST_OF_FRAGMENT:
            break
        result = [
            (_strangeness(frames, places, mine, theirs, unlikeness(looks[number], looks[other])), other)
            for other, theirs in rows.items()
            if other != number and not np.isin(frames[mine], frames[theirs]).any()
        ]
        strangeness, other = min(result, default=(np.inf, -1))
        if strangeness < np.inf:
            numbers[mine] = other
            rows[other] = np.sort(np.concatenate([rows[other], mine]))
            del rows[number]
    return numbers


def _strangeness(frames: np.ndarray, places: np.ndarray, mine: np.ndarray, theirs: np.ndarray, unlike: float) -> float:
    """How strange it would be if two groups of sightings were of one face; infinite where they cannot be."""
    gaps = np.abs(frames[theirs][:, None] - frames[mine][None])
    near, own = np.unravel_index(int(np.argmin(gaps)), gaps.shape)
    gap, one, two = int(gaps[near, own]), places[theirs[near]], places[mine[own]]
    far = float(np.linalg.norm(one[:2] - two[:2])) / min(one[2], two[2])
    if gap <= NEAR_FRAMES and far <= FRAGMENT_FAR * gap:
        return far / gap
    fits = gap <= FRAGMENT_FRAMES and far <= min(gap * FRAGMENT_FAR, FRAGMENT_FARTHEST) and unlike <= FRAGMENT_UNLIKE
    return 1 + unlike + far / FRAGMENT_FARTHEST if fits else np.inf
