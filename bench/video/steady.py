"""Tracks, cuts and steadiness on clips whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...distill.data import read_picture, resized
from ...engines.host import StandaloneHost
from ...engines.memory.budget import GIB
from ...faces.detect.mtcnn import Mtcnn
from ...opencv import cv2
from ...video import tracks as tracking
from ...video.look import Sightings
from ...video.pipeline import ClipSettings, process_video
from ...video.places import arrange, smoothed
from ...video.steps import RestoreStep
from ..result import at_least, at_most
from . import clips

Image = np.ndarray
Bars = list[dict[str, Any]]

TRACK_CLIPS, TRACK_FRAMES, GONE = 48, 90, 10
# Of a face's side; share of faces that a detector misses; share that may be covered of one that it finds.
POINT_NOISE, MISSED, MOST_COVERED = 0.02, 0.03, 0.4
CUT_CLIPS, SHOT_FRAMES = 40, 24
STEADY_CLIPS, STEADY_FRAMES, WARP_FRAMES = 4, 60, 24
JITTER, LAG, WARP = 0.5, 1.0, 1.05
MEAN_OF = 0.3  # of the new points in an exponential mean, as others smooth
FFHQ = np.array([(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.612, 0.725)], np.float32)


def frames_of(path: Path) -> list[Image]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def tracks(data: Path) -> Bars:
    """One to eight people who cross and go away for ten frames: how many clips keep everybody's number.

    Faces are reported where they are, with noise, now and then missed, and never where another one hides them; their
    looks are read off the frames.
    """
    everybody = clips.portraits(data / "portraits", 40, 64)
    good, joined, switches = 0, 0, 0
    for number in range(TRACK_CLIPS):
        rng = np.random.default_rng(number)
        people = [everybody[k] for k in rng.permutation(len(everybody))[: 1 + number % 8]]
        cut = TRACK_FRAMES // 2 if number % 4 == 3 else None
        found, owners = _tracked(people, rng, cut)
        wrong = _switches(found, owners, cut)
        good += wrong == 0
        switches += wrong
        if cut is not None:
            before = {track for (frame, track) in found if frame < cut}
            joined += bool(before & {track for (frame, track) in found if frame >= cut})
    print(f"{good} of {TRACK_CLIPS} clips without a switch, {switches} switches in all", flush=True)
    return [
        at_least("clips without an identity switch", good / TRACK_CLIPS, 0.95),
        at_most("clips in which a cut joins two people", joined, 0),
    ]


def _tracked(people: Sequence[Image], rng: np.random.Generator, cut: int | None) -> tuple[list[Any], list[int]]:
    """Each sighting's (frame, track), and whose it is. cut: from this frame on other people stand there."""
    width, height, side = 480, 270, 64
    motions = [clips.wandering(width, height, side, int(rng.integers(1 << 30)), speed=2.0) for _ in people]
    gone = [int(rng.integers(10, TRACK_FRAMES - 20)) for _ in people]
    scene, other = clips.background(width, height, 1), clips.background(width, height, 2)
    tracker, found, owners = tracking.Tracker(), [], []
    every_box: list[Any] = []
    for index in range(TRACK_FRAMES):
        if index == cut:
            tracker.begin_shot()
        shift = 0 if cut is None or index < cut else 1
        canvas = (other if shift else scene).copy()
        order = [k for k in range(len(people)) if not gone[k] <= index < gone[k] + GONE]
        shown = []
        for k in order:
            affine = motions[k].affine(index)
            clips.drawn(canvas, people[(k + shift) % len(people)], affine)
            shown.append((k, FFHQ * side @ affine[:, :2].T + affine[:, 2]))
        boxes, looks, who = [], [], []
        picture = canvas.astype(np.float32) / 255
        for place, (k, points) in enumerate(shown):
            centre, extent = points.mean(0), np.ptp(points[:, 0]) * 2.2
            later = [motions[each].affine(index) for each, _ in shown[place + 1 :]]
            if _covered(centre, extent, later, side) > MOST_COVERED or rng.random() < MISSED:
                continue
            noisy = (points + rng.normal(0, POINT_NOISE * extent, (5, 2))).astype(np.float32)
            middle = noisy.mean(0)
            boxes.append([*(middle - extent / 2), *(middle + extent / 2)])
            looks.append(tracking.look_of(picture, noisy))
            who.append(k)
        numbers = tracker.numbers(index, np.array(boxes, np.float32).reshape(-1, 4), looks)
        found += [(index, number) for number in numbers]
        owners += who
        every_box += boxes
    return _joined(found, every_box, tracker.looks(), cut), owners


def _joined(found: list[Any], boxes: list[Any], looks: dict[int, np.ndarray], cut: int | None) -> list[Any]:
    """As `arrange` does it, shot by shot."""
    frames, numbers = np.array(found).reshape(-1, 2).T.copy()
    for shot in (frames < (cut or 0), frames >= (cut or 0)):
        alike = tracking.linked(frames[shot], numbers[shot], looks)
        numbers[shot] = tracking.without_fragments(frames[shot], alike, np.array(boxes)[shot], looks)
    return list(zip(frames.tolist(), numbers.tolist(), strict=True))


def _covered(centre: np.ndarray, extent: float, above: Sequence[np.ndarray], side: int) -> float:
    """The share of a face's square that portraits above it cover."""
    steps = (np.arange(9) / 8 - 0.5) * extent
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) + centre
    hidden = np.zeros(len(grid), bool)
    for affine in above:
        own = (grid - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T / side - 0.5
        hidden |= np.hypot(own[:, 0] / 0.42, own[:, 1] / 0.5) < 1
    return float(hidden.mean())


def _switches(found: Sequence[tuple[int, int]], owners: Sequence[int], cut: int | None) -> int:
    """How often a person's number changes within a shot."""
    last: dict[int, int] = {}
    wrong = 0
    for (frame, number), who in zip(found, owners, strict=True):
        key = who + (1000 if cut is not None and frame >= cut else 0)
        wrong += key in last and last[key] != number
        last[key] = number
    return wrong


def _content(one: Image, other: Image) -> float:
    """PySceneDetect's measure: the mean change of hue, saturation and brightness, 0..1."""
    pair = [cv2.cvtColor(each, cv2.COLOR_RGB2HSV).astype(np.float32) for each in (one, other)]
    return float(np.abs(pair[0] - pair[1]).mean() / 255)


def cuts(data: Path) -> Bars:
    """Pans and zooms over photographs, joined by cuts, some with a flash: how well cuts are told from motion."""
    paths = sorted((data / "photos").glob("kodak_*"))
    photos = [resized(read_picture(path), 768) for path in paths]
    scores = {"histograms": [0, 0, 0], "hsv content": [0, 0, 0]}  # right, wrong, missed
    for number in range(CUT_CLIPS):
        rng = np.random.default_rng(number)
        thumbs: list[Image] = []
        truth: list[int] = []
        for shot in range(4):
            truth.append(shot * SHOT_FRAMES)
            thumbs += _panned(photos[int(rng.integers(len(photos)))], rng)
        if number % 4 == 0:
            bright = int(rng.integers(5, SHOT_FRAMES - 5))
            thumbs[bright] = np.clip(thumbs[bright].astype(int) + 60, 0, 255).astype(np.uint8)
        held = np.zeros(len(thumbs), np.bool_)
        colours = [tracking.histogram(thumb) for thumb in thumbs]
        by_colours = [
            [tracking.change(colours[max(0, i - back)], colours[i]) for back in (1, 2)] for i in range(len(colours))
        ]
        by_content = [0.0, *(_content(a, b) for a, b in pairwise(thumbs))]
        _score(scores["histograms"], tracking.cuts(np.array(by_colours), held), truth)
        # PySceneDetect's adaptive detector: 3 times the changes around, and at least 15 of 255.
        adaptive = np.array([c if c >= 15 / 255 else 0.0 for c in by_content])
        around = [np.concatenate([adaptive[max(1, i - 2) : i], adaptive[i + 1 : i + 3]]) for i in range(len(adaptive))]
        means = [float(values.mean()) if len(values) else 0.0 for values in around]
        sharp = [i for i in range(1, len(adaptive)) if adaptive[i] and adaptive[i] >= 3 * max(means[i], 1e-6)]
        _score(scores["hsv content"], np.array([0, *sharp]), truth)
    rates = {name: 2 * right / (2 * right + wrong + missed) for name, (right, wrong, missed) in scores.items()}
    print(f"F1 of cuts: {rates}, right/wrong/missed {scores}", flush=True)
    return [
        at_least("F1 of cuts", round(rates["histograms"], 4), 0.95),
        at_least("F1 of cuts less that of HSV content", round(rates["histograms"] - rates["hsv content"], 4), 0.0),
    ]


def _panned(photo: Image, rng: np.random.Generator) -> Iterator[Image]:
    height, width = photo.shape[:2]
    zoom = rng.uniform(0.5, 0.7)
    begin, end = rng.uniform(0, 1 - zoom, 2), rng.uniform(0, 1 - zoom, 2)
    for index in range(SHOT_FRAMES):
        x, y = begin + (end - begin) * index / SHOT_FRAMES
        part = photo[int(y * height) : int((y + zoom) * height), int(x * width) : int((x + zoom) * width)]
        yield cv2.resize(part, (64, 36), interpolation=cv2.INTER_AREA)


def _score(sums: list[int], begun: np.ndarray, truth: Sequence[int]) -> None:
    found = set(begun.tolist())
    sums[0] += len(found & set(truth))
    sums[1] += len(found - set(truth))
    sums[2] += len(set(truth) - found)


def steadiness(data: Path, folder: Path, model: Any) -> Bars:
    """Portraits in known motion, blurred and noisy: jitter and lag of points, and how restored faces flicker."""
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as detected": lambda points: points,
        "exponential mean": _exponential,
        "both ways": lambda points: _both_ways(points),
    }
    jitters: dict[str, list[float]] = {name: [] for name in ways}
    lags: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(STEADY_CLIPS):
        frames, motion = _moving(data, number, STEADY_FRAMES)
        points, truth = _detected(frames, motion)
        for name, way in ways.items():
            error = way(points) - truth
            jitters[name].append(float(np.sqrt(np.mean(np.diff(error, 2, axis=0) ** 2))))
            lags[name].append(_lag(way(points), truth))
    table = {name: (np.mean(jitters[name]) / np.mean(jitters["as detected"]), np.mean(lags[name])) for name in ways}
    for name, (jitter, lag) in table.items():
        print(f"{name:<18} jitter {jitter:.3f} of the detector's, lag {lag:+.2f} frames", flush=True)
    ratios = {value: _warping(data, folder, model, value) for value in (0.0, 0.5)}
    print(f"warping error beside the source's: not smoothed {ratios[0.0]:.3f}, smoothed {ratios[0.5]:.3f}", flush=True)
    return [
        at_most("jitter of points / of the detector's", round(float(table["both ways"][0]), 3), JITTER),
        at_most("lag, frames", round(abs(float(table["both ways"][1])), 3), LAG),
        at_most("warping error in faces / source's", round(ratios[0.5], 4), WARP),
        at_most("smoothed across a cut", _across_a_cut(), 0),
    ]


def _moving(data: Path, number: int, count: int) -> tuple[list[Image], clips.Motion]:
    width, height, side = 400, 300, 200
    (portrait,) = clips.portraits(data / "portraits", 1, side, first=10 + number)
    motion, scene = clips.wandering(width, height, side, 20 + number), clips.background(width, height, number)
    rng = np.random.default_rng(number)
    found = []
    for index in range(count):
        picture = cv2.GaussianBlur(clips.frame_of([(portrait, motion)], scene, index), (0, 0), 0.5 + 0.4 * (number % 3))
        noisy = picture + rng.normal(0, 4, picture.shape)
        found.append(np.rint(noisy.clip(0, 255)).astype(np.uint8))
    return found, motion


def _detected(frames: Sequence[Image], motion: clips.Motion) -> tuple[np.ndarray, np.ndarray]:
    """The detector's points (n, 5, 2), and those of a face that moves exactly as the portrait does."""
    import torch

    batch = torch.from_numpy(np.stack(frames).astype(np.float32) / 255)
    points = np.stack([max(faces, key=lambda face: face.side).landmarks for faces in Mtcnn().detect(batch)])
    affines = [motion.affine(index) for index in range(len(frames))]
    own = np.stack([(each - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T for each, affine in
                    zip(points, affines, strict=True)])  # fmt: skip
    mean = own.mean(0)
    truth = np.stack([mean @ affine[:, :2].T + affine[:, 2] for affine in affines])
    return points.astype(np.float64), truth


def _exponential(points: np.ndarray) -> np.ndarray:
    found = [points[0]]
    for each in points[1:]:
        found.append((1 - MEAN_OF) * found[-1] + MEAN_OF * each)
    return np.stack(found)


def _both_ways(points: np.ndarray) -> np.ndarray:
    still = np.zeros(len(points), bool)
    course = smoothed(np.arange(len(points)), points.reshape(len(points), 10), still, 0.5)
    return course.values.reshape(-1, 5, 2).astype(np.float64)


def _lag(points: np.ndarray, truth: np.ndarray) -> float:
    """By how many frames points follow the truth: the shift that fits best, by halves of tenths."""
    n = len(truth)
    times, middle = np.arange(n), slice(6, n - 6)

    def error(shift: float) -> float:
        moved = np.stack([np.interp(times - shift, times, truth.reshape(n, -1)[:, k]) for k in range(10)], 1)
        return float(np.mean((points.reshape(n, -1) - moved)[middle] ** 2))

    return float(min(np.arange(-4, 4.01, 0.05), key=error))


def _warping(data: Path, folder: Path, model: Any, value: float) -> float:
    """The warping error inside the face of a restored clip beside the source's, by the exact flow of the motion."""
    totals = np.zeros(2)
    for number in range(2):
        frames, motion = _moving(data, number, WARP_FRAMES)
        height, width = frames[0].shape[:2]
        source = clips.write_clip(folder / "steady.mkv", iter(frames), (width, height), "ffv1", sound=False)
        target = folder / "steady_out.mkv"
        process_video(source, target, [RestoreStep(model)], host=StandaloneHost("cpu"),
                      settings=ClipSettings(steadiness=value, ram=GIB))  # fmt: skip
        for place, pictures in enumerate((frames_of(source), frames_of(target))):
            totals[place] += sum(_warp_error(pictures, motion, index) for index in range(WARP_FRAMES - 1))
    return float(totals[1] / totals[0])


def _warp_error(pictures: Sequence[Image], motion: clips.Motion, index: int) -> float:
    """Mean difference of a frame and the next one brought back, inside the middle of the portrait."""
    old, new = motion.affine(index), motion.affine(index + 1)
    square = [np.vstack([each, [0, 0, 1]]) for each in (old, new)]
    forth = (square[1] @ np.linalg.inv(square[0]))[:2]
    height, width = pictures[0].shape[:2]
    back = cv2.warpAffine(pictures[index + 1].astype(np.float32), forth, (width, height),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # fmt: skip
    inside = np.zeros((200, 200), np.float32)
    cv2.ellipse(inside, (100, 112), (48, 66), 0, 0, 360, 1, -1)
    mask = cv2.warpAffine(inside, old, (width, height)) > 0.5
    return float(np.abs(back - pictures[index].astype(np.float32))[mask].mean())


def _across_a_cut() -> int:
    """Tracks that go on behind a cut in the middle of a still face: must be none."""
    count = 20
    change = np.zeros((count, 2), np.float32)
    change[10:12] = 0.9
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([10, 10, 60, 60], np.float32), (count, 1))
    look = rng.integers(0, 255, (tracking.LOOK_SIDE, tracking.LOOK_SIDE, 3), dtype=np.uint8)
    segment = Sightings(
        np.arange(count), np.zeros(count, bool), np.zeros(count, bool), change, np.arange(count, dtype=np.int32), boxes,
        np.tile(FFHQ * 50 + 10, (count, 1, 1)).astype(np.float32), np.ones(count, np.float32), np.zeros(count, bool),
        np.tile(look, (count, 1, 1, 1)), np.zeros(1, np.float32),
    )  # fmt: skip
    found = arrange(lambda: iter([segment]), 0.5)
    return len(set(found.track[found.frame < 10]) & set(found.track[found.frame >= 10]))
