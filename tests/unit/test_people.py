"""Who goes where: maps that are read, people that are refused, faces that are told apart."""

import numpy as np
import pytest
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.people import Person, assigned, is_profile, parse_map, person_from_picture

PEOPLE = [Person("Anna"), Person("Ben")]
PICTURE = np.zeros((200, 200, 3), np.float32)


def face(side: float = 100, nose: float = 0.5, frame: int = 0) -> Face:
    points = np.array([[30, 40], [70, 40], [30 + 40 * nose, 60], [35, 80], [65, 80]], np.float32)
    return Face(frame, np.array([10, 10, 10 + side, 10 + side], np.float32), points, 0.9)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("0:A", {0: "A"}),
        (" 1 : A , 2:B;", {1: "A", 2: "B"}),
        ("0-2:Ben", {0: "Ben", 1: "Ben", 2: "Ben"}),
    ],
)
def test_a_map_is_read(text, found):
    assert parse_map(text) == found


@pytest.mark.parametrize("text", ["A", "0:", ":A", "1=A", "one:A", "-1:A"])
def test_what_is_no_map_is_refused(text):
    with pytest.raises(SettingError, match="such as 0"):
        parse_map(text)


@pytest.mark.parametrize("text", ["9999999999999:A", "0-99999999:A", "99999-99999:A", "9" * 5000 + ":A"])
def test_numbers_that_no_frame_has_are_refused_at_once(text):
    with pytest.raises(SettingError, match="face number"):
        parse_map(text)


def test_one_face_does_not_become_two_people():
    with pytest.raises(SettingError, match="Face 1 is assigned to both A and B"):
        parse_map("0-1:A, 1:B")


def faces_of(*counts: int) -> Faces:
    return Faces(tuple(tuple(face(frame=i) for _ in range(n)) for i, n in enumerate(counts)), 200, 200)


def test_without_a_map_all_become_the_first():
    pairs, notes = assigned(faces_of(2, 1), {}, PEOPLE)
    assert [(each.frame, person) for each, person in pairs] == [(0, 0), (0, 0), (1, 0)] and not notes


def test_with_a_map_only_those_change_and_what_is_missing_is_said():
    faces = faces_of(2, 0, 1, 3)
    pairs, notes = assigned(faces, {0: "b", 1: "anna"}, PEOPLE)
    assert [(each.frame, person) for each, person in pairs] == [(0, 1), (0, 0), (2, 1), (3, 1), (3, 0)]
    assert pairs[1][0] is faces.frames[0][1]
    assert notes == ["no face was found in frame 1: unchanged", "fewer faces than people assigns in frame 2"]


def test_many_frames_without_a_face_are_not_all_listed():
    (note,) = assigned(faces_of(*[0] * 20), {}, PEOPLE)[1]
    assert note.startswith("no face was found in 20 frames (0, 1, 2, 3, 4, 5, 6, 7 and 12 more)")


def test_somebody_unknown_and_nobody_are_refused():
    with pytest.raises(SettingError, match=r"no person 'C'; there are A \(Anna\), B \(Ben\)"):
        assigned(faces_of(1), {0: "C"}, PEOPLE)
    with pytest.raises(FacesError, match="nobody to put into"):
        assigned(faces_of(1), {}, [])


@pytest.mark.parametrize(
    ("faces", "sentence"),
    [
        ([], "no face in the source picture of A"),
        ([face(), face()], "2 faces in the source picture of A, but one is needed"),
        ([face(63.4)], "63 x 63 px"),
        ([face(nose=1.05)], "seen from the side"),
    ],
)
def test_a_source_that_shows_no_person_is_refused(faces, sentence):
    with pytest.raises(FacesError, match=sentence):
        person_from_picture("A", PICTURE, faces)


def test_a_good_source_is_taken():
    person = person_from_picture("A", PICTURE, [face(64)])
    assert person.picture is PICTURE and person.face is not None and person.identity is None


@pytest.mark.parametrize(("nose", "profile"), [(0.5, False), (0.1, False), (0.9, False), (-0.1, True), (1.2, True)])
def test_a_profile_is_seen(nose, profile):
    assert is_profile(face(nose=nose).landmarks) == profile
