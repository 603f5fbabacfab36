"""Shots, tracks and smoothing on numbers, without pictures that move."""

import numpy as np
import pytest
from planted_faces import FFHQ
from slimfusion.video.look import Sightings
from slimfusion.video.places import FILLED, arrange, smoothed
from slimfusion.video.report import FlickerMeter, jitter
from slimfusion.video.tracks import LOOK_SIDE, Tracker, change, cuts, histogram, look_of

RNG = np.random.default_rng(0)
LOOKS = RNG.integers(0, 255, (4, LOOK_SIDE, LOOK_SIDE, 3), dtype=np.uint8)


def box(x, y, side=40.0):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)


def sightings(rows, frames, change_at=()):
    """rows: (frame, x, y, look, still) of each face, ordered by frame."""
    changes = np.zeros((frames, 2), np.float32)
    for index in change_at:
        changes[index : index + 2] = [[0.9, 0.9], [0.0, 0.9]][: frames - index]
        changes[index] = 0.9
    points = np.array([(FFHQ - 0.5) * 60 + [x, y] for _, x, y, _, _ in rows], np.float32).reshape(-1, 5, 2)
    boxes = np.array([box(x, y) for _, x, y, _, _ in rows], np.float32).reshape(-1, 4)
    return Sightings(
        np.arange(frames), np.zeros(frames, bool), np.zeros(frames, bool), changes,
        np.array([row[0] for row in rows], np.int32), boxes, points, np.ones(len(rows), np.float32),
        np.array([row[4] for row in rows], bool), LOOKS[[row[3] for row in rows]], np.zeros((0, 1), np.float32),
    )  # fmt: skip


def arranged(rows, frames, steadiness=0.5, change_at=()):
    segment = sightings(rows, frames, change_at)
    return arrange(lambda: iter([segment]), steadiness)


def test_two_people_who_cross_keep_their_numbers():
    tracker, numbers = Tracker(), []
    for frame in range(30):
        x = 50 + 10 * frame, 340 - 10 * frame
        seen = [0, 1] if abs(x[0] - x[1]) > 30 else [0]  # the one behind is not seen
        boxes = np.array([box(x[k], 100) for k in seen])
        numbers.append(tracker.numbers(frame, boxes, LOOKS[seen]))
    assert numbers[0] == numbers[-1] == [0, 1]
    assert {number for each in numbers for number in each} == {0, 1}


def test_somebody_who_goes_away_and_comes_back_elsewhere_is_known_again():
    tracker = Tracker()
    assert tracker.numbers(0, box(50, 50)[None], LOOKS[:1]) == [0]
    assert tracker.numbers(20, np.stack([box(300, 90), box(50, 50)]), LOOKS[[0, 1]]) == [0, 1]


def test_a_head_that_turns_keeps_its_number_though_it_looks_unlike_itself():
    tracker = Tracker()
    half = ((LOOKS[0].astype(int) + LOOKS[1]) // 2).astype(np.uint8)
    for frame, look in enumerate([LOOKS[0], LOOKS[0], half, LOOKS[0]]):
        assert tracker.numbers(frame, box(50 + frame, 50)[None], [look]) == [0]


def test_behind_a_cut_everybody_is_somebody_else():
    places = arranged([(frame, 50, 50, 0, False) for frame in range(20)], 20, change_at=[10])
    assert places.begun.tolist() == [0, 10]
    assert set(places.track[places.frame < 10]) == {0}
    assert set(places.track[places.frame >= 10]) == {1}


def test_nothing_is_smoothed_across_a_cut():
    """A face that jumps at a cut: on each side its points are what they would be without the other side."""
    rows = [(frame, 50 + (60 if frame >= 10 else 0) + RNG.normal(0, 0.5), 50, 0, False) for frame in range(20)]
    both = arranged(rows, 20, change_at=[10])
    alone = arranged(rows[:10], 10)
    np.testing.assert_array_equal(both.points[both.frame < 10], alone.points)


def test_a_flash_and_a_pan_are_no_cuts():
    scenes = [np.full((36, 64, 3), colour, np.uint8) for colour in ((60, 80, 120), (180, 60, 40))]
    for scene in scenes:
        scene[:, ::2] += 30
    thumbs = [scenes[0]] * 10 + [scenes[1]] * 10
    thumbs[4] = np.clip(scenes[0].astype(int) + 90, 0, 255).astype(np.uint8)
    colours = [histogram(thumb) for thumb in thumbs]
    changes = np.array([[change(colours[max(0, i - back)], colours[i]) for back in (1, 2)] for i in range(20)])
    assert cuts(changes, np.zeros(20, bool)).tolist() == [0, 10]


def test_a_cut_to_the_same_colours_in_other_places_is_one():
    """As between two people who talk in one room."""
    scene = np.tile(np.linspace(0, 250, 64, dtype=np.uint8)[None, :, None], (36, 1, 3))
    thumbs = [np.roll(scene, index, 0) for index in range(10)] + [scene[:, ::-1]] * 10
    colours = [histogram(thumb) for thumb in thumbs]
    changes = np.array([[change(colours[max(0, i - back)], colours[i]) for back in (1, 2)] for i in range(20)])
    assert cuts(changes, np.zeros(20, bool)).tolist() == [0, 10]
    assert colours[0].sum() == pytest.approx(1.0)


def test_held_frames_hide_no_cut():
    """Where each frame is shown twice, a cut is still one change among many."""
    changes, held = np.zeros((24, 2)), np.arange(24) % 2 == 1
    changes[::2] = 0.1
    changes[12:16:2] = [[0.8, 0.8], [0.1, 0.8]]
    assert cuts(changes, held).tolist() == [0, 12]


@pytest.mark.parametrize("steadiness", [0.25, 0.5, 1.0])
def test_smoothing_takes_the_noise_and_leaves_the_motion(steadiness):
    times = np.arange(60)
    truth = np.stack([3.0 * times, 100 + 0.05 * times**2], 1)
    noisy = truth + RNG.normal(0, 0.5, truth.shape)
    course = smoothed(times, noisy, np.zeros(60, bool), steadiness)
    error = course.values - truth
    assert np.sqrt((np.diff(error, 2, axis=0) ** 2).mean()) < 0.5 * np.sqrt(
        (np.diff(noisy - truth, 2, axis=0) ** 2).mean()
    )
    assert np.abs(smoothed(times, truth, np.zeros(60, bool), steadiness).values - truth).max() < 1e-2  # no lag


def test_without_steadiness_points_are_as_seen():
    values = RNG.normal(0, 5, (10, 3))
    np.testing.assert_allclose(smoothed(np.arange(10), values, np.zeros(10, bool), 0).values, values, rtol=1e-6)


def test_a_face_that_stands_still_stays_to_the_bit():
    values = np.array([[0.0], [1.3], [1.3], [1.3], [2.1]])
    course = smoothed(np.arange(5), values, np.array([False, False, True, True, False]), 0.5)
    assert len(np.unique(course.values[1:4])) == 1


@pytest.mark.parametrize("gap", [1, FILLED, FILLED + 1])
def test_missed_frames_are_filled_where_they_are_few(gap):
    times = np.array([*range(5), *range(5 + gap, 10 + gap)])
    course = smoothed(times, 2.0 * times[:, None], np.zeros(10, bool), 0.5)
    if gap > FILLED:
        assert course.frames.tolist() == times.tolist()
        return
    assert course.frames.tolist() == list(range(10 + gap))
    assert (~course.seen).sum() == gap
    np.testing.assert_allclose(course.values[:, 0], 2.0 * np.arange(10 + gap), atol=1e-3)


def test_filled_faces_know_what_they_must_look_like():
    rows = [(frame, 50, 50, 2, False) for frame in range(10) if frame not in (4, 5)]
    places = arranged(rows, 10)
    assert places.filled.tolist() == [frame in (4, 5) for frame in range(10)]
    assert set(places.looks) == {4, 5}
    np.testing.assert_array_equal(places.looks[4], LOOKS[2])


def test_jitter_is_of_frames_that_follow_each_other():
    points = np.zeros((5, 5, 2))
    assert jitter(np.array([0, 1, 5, 6, 10]), points) == (0.0, 0)
    points[1::2] = 1.0
    total, count = jitter(np.arange(5), points)
    assert total / count == 4.0


def test_flicker_is_seen_and_told_apart_from_motion():
    y, x = np.mgrid[:200, :200]
    still, flickering = FlickerMeter(), FlickerMeter()
    for frame in range(6):
        picture = (127 + 60 * np.sin((x + 2 * frame) / 9) + 40 * np.sin(y / 7)).clip(0, 255)[..., None].repeat(3, 2)
        source = picture.astype(np.uint8)
        result = (source / 255).astype(np.float32)
        still.add(frame, 0, box(100, 100, 90), source, result)
        flickering.add(frame, 0, box(100, 100, 90), source, (result + 0.1 * (frame % 2)).clip(0, 1))
    assert still.sums.pairs == 5
    assert still.sums.ratio == pytest.approx(1.0, abs=0.05)
    assert flickering.sums.ratio > 3


def test_a_look_does_not_change_with_the_light():
    picture = RNG.random((100, 100, 3)).astype(np.float32)
    points = (FFHQ - 0.5) * 60 + 50
    tracker = Tracker()
    tracker.numbers(0, box(50, 50)[None], [look_of(picture, points)])
    assert tracker.numbers(9, box(50, 50)[None], [look_of(picture * 0.5 + 0.2, points)]) == [0]
