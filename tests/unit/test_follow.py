"""Faces that are followed from frame to frame: what is searched whole, and that nobody is lost by it."""

import numpy as np
import pytest
from skimage import data
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.memory.budget import MemoryBudget
from slimfusion.engines.memory.report import Report
from slimfusion.faces.detect import follow
from slimfusion.faces.detect.boxes import iou
from slimfusion.faces.detect.detection import detect_faces
from slimfusion.faces.detect.follow import Clues, follow_faces, regions, unmatched
from slimfusion.faces.detect.settings import DEFAULT_DETECTION, DetectionSettings
from slimfusion.faces.frames import as_floats
from stopping_host import Stopped, StoppingHost

HOST = StandaloneHost("cpu")
HEIGHT, WIDTH = 360, 640
NONE = np.zeros((0, 4), np.float32)


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.fixture(scope="module")
def head():
    """The astronaut's head, whose face has some 80 px."""
    return data.astronaut()[20:200, 130:310]


def frame(head, *corners):
    """A grey frame with heads whose upper left corners are given, (x, y)."""
    picture = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    for x, y in corners:
        rows, columns = slice(max(0, y), y + 180), slice(max(0, x), min(WIDTH, x + 180))
        picture[rows, columns] = head[: rows.stop - rows.start, columns.start - x : columns.stop - x]
    return picture


@pytest.fixture
def searched(monkeypatch):
    """The indices of the frames that are searched whole, in the order of the searches."""
    seen, search = [], follow._Following.search

    def noting(self, index):
        seen.append(index)
        search(self, index)

    monkeypatch.setattr(follow._Following, "search", noting)
    return seen


def followed(pictures, whole, before=NONE, settings=DEFAULT_DETECTION):
    return follow_faces(pictures, Clues(whole, before), HOST, settings, MemoryBudget(), Report()).frames


def ends(count):
    """The first and the last frame, as a clip begins."""
    return [index in (0, count - 1) for index in range(count)]


def test_a_moving_face_is_followed_as_whole_frames_show_it(head, searched):
    pictures = [frame(head, (40 + 30 * index, 90)) for index in range(8)]
    found = followed(pictures, ends(8))
    assert searched == [0, 7]
    for one, other in zip(found, detect_faces(as_floats(pictures), HOST).frames, strict=True):
        assert len(one) == len(other) == 1
        assert one[0].frame == other[0].frame
        assert np.abs(one[0].landmarks - other[0].landmarks).max() < 0.05 * other[0].side


def test_who_comes_in_is_found_from_the_first_frame_on(head, searched):
    here, door = (20, 90), (400, 90)
    pictures = [frame(head, here, *([door] if index >= 3 else [])) for index in range(8)]
    found = followed(pictures, ends(8))
    assert [len(faces) for faces in found] == [1, 1, 1, 2, 2, 2, 2, 2]
    assert searched == [0, 7, 2]  # where the newcomer is not there yet
    assert all(faces[0].box[0] < faces[-1].box[0] for faces in found[3:])


def test_where_a_face_is_lost_the_whole_frame_is_searched(head, searched):
    pictures = [frame(head, (20, 90) if index < 3 else (420, 90)) for index in range(6)]
    found = followed(pictures, ends(6))
    assert [len(faces) for faces in found] == [1] * 6
    assert searched == [0, 3, 5, 2]  # both sides of the leap


def test_who_was_there_before_needs_no_whole_frame(head, searched):
    (known,) = detect_faces(as_floats([frame(head, (60, 90))]), HOST).frames
    found = followed([frame(head, (66, 90)), frame(head, (72, 90))], [False, False], boxes(known[0].box))
    assert [len(faces) for faces in found] == [1, 1] and searched == []


def test_the_settings_count_near_a_face_too(head):
    pictures = [frame(head, (20, 90), (400, 90)) for _ in range(3)]
    assert [len(faces) for faces in followed(pictures, ends(3))] == [2, 2, 2]
    for settings in (DetectionSettings(max_faces=1), DetectionSettings(max_faces=1, turned="always")):
        assert [len(faces) for faces in followed(pictures, ends(3), settings=settings)] == [1, 1, 1]
    assert followed(pictures, ends(3), settings=DetectionSettings(max_face=30)) == ((), (), ())


def test_a_face_at_the_edge_is_followed_and_stays_in_the_frame(head):
    found = followed([frame(head, (-10 - 4 * index, 90)) for index in range(4)], ends(4))
    assert [len(faces) for faces in found] == [1] * 4
    assert all(faces[0].box[0] >= 0 for faces in found)


def test_frames_of_sixteen_bits_show_the_same_faces(head):
    pictures = [frame(head, (40 + 10 * index, 90)) for index in range(3)]
    deep = [picture.astype(np.uint16) * 257 for picture in pictures]
    for one, other in zip(followed(pictures, ends(3)), followed(deep, ends(3)), strict=True):
        np.testing.assert_allclose(one[0].landmarks, other[0].landmarks, atol=0.01)


def test_a_stop_is_heard_between_frames(head):
    clues = Clues([True], NONE)
    with pytest.raises(Stopped):
        follow_faces([frame(head, (20, 90))], clues, StoppingHost("cpu"), DEFAULT_DETECTION, MemoryBudget(), Report())


@pytest.mark.parametrize(
    ("known", "now", "left"),
    [
        ([(0, 0, 40, 40)], [], [0]),
        ([], [(0, 0, 40, 40)], []),
        ([(0, 0, 40, 40)], [(55, 0, 95, 40)], []),  # by 1.4 sides
        ([(0, 0, 40, 40)], [(65, 0, 105, 40)], [0]),  # by 1.6
        ([(0, 0, 40, 40)], [(0, 0, 70, 70)], [0]),  # another size
        ([(0, 0, 40, 40), (50, 0, 90, 40)], [(45, 0, 85, 40)], [0]),  # one face continues one
        ([(0, 0, 40, 40), (50, 0, 90, 40)], [(20, 0, 60, 40), (70, 0, 110, 40)], []),
    ],
)
def test_who_goes_on(known, now, left):
    assert unmatched(boxes(*known), boxes(*now)).tolist() == left


def test_places_that_overlap_are_one_and_inside_the_frame():
    (alone,) = regions(boxes((300, 100, 340, 140)), HEIGHT, WIDTH)
    assert alone[:2] == (slice(40, 200), slice(240, 400)) and alone[2] == pytest.approx(24)
    (both,) = regions(boxes((10, 10, 50, 50), (110, 20, 130, 40)), HEIGHT, WIDTH)
    assert both[:2] == (slice(0, 110), slice(0, 160)) and both[2] == pytest.approx(12)
    assert len(regions(boxes((10, 10, 50, 50), (500, 200, 540, 240)), HEIGHT, WIDTH)) == 2
    assert regions(NONE, HEIGHT, WIDTH) == []


def test_a_face_that_is_cut_off_is_not_taken_for_one():
    part, whole = (100, 100, 3), (HEIGHT, WIDTH, 3)
    inside, cut = np.array([20, 20, 60, 60]), np.array([60, 20, 99.5, 60])
    assert not follow._cut_off(inside, part, inside + 200, whole)
    assert follow._cut_off(cut, part, cut + 200, whole)
    at_the_frames_edge = np.array([0, 20, 40, 60])
    assert not follow._cut_off(at_the_frames_edge, part, at_the_frames_edge, whole)


def test_overlap_of_what_was_found_twice_is_one_face(head):
    (faces,) = followed([frame(head, (60, 90))], [False], boxes((80, 130, 160, 210), (150, 140, 230, 220)))
    assert len(faces) == 1
    assert iou(faces[0].box, faces[0].box[None], of_smaller=False)[0] == pytest.approx(1)
