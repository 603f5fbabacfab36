"""Faces are selected by what was asked for, and no network is asked for more."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.identity.select import (
    OLDEST,
    ORDERS,
    Choice,
    likeness,
    parse_indices,
    require_face,
    select,
)


def face(frame, x=0.0, y=0.0, side=10.0, score=0.9, **known):
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(frame, box, np.zeros((5, 2), np.float32), score, **known)


THREE = Faces(((face(0, 50, 5, 30, 0.8), face(0, 5, 50, 10, 0.95), face(0, 90, 90, 20, 0.6)), (), (face(2),)), 120, 120)


class Network:
    """Answers as a network would, and counts the faces it was shown."""

    def __init__(self, answer):
        self.answer = answer
        self.shown = []

    def __call__(self, faces):
        self.shown += faces
        return [self.answer(each) for each in faces]


def places(faces, frame=0):
    return [float(each.box[0]) for each in faces.frames[frame]]


def test_a_choice_that_asks_for_nothing_runs_no_network_and_keeps_every_face():
    network = Network(lambda each: each)
    chosen = select(THREE, Choice(), network, network)
    assert network.shown == [] and chosen.frames == THREE.frames


@pytest.mark.parametrize("order", ORDERS)
def test_sorting_and_counting_run_no_network(order):
    network = Network(lambda each: each)
    chosen = select(THREE, Choice(indices=(0, 2), order=order, count=1, score=0.1), network, network)
    assert network.shown == [] and chosen.count == 2


@pytest.mark.parametrize(
    ("order", "xs"),
    [
        ("as found", [50, 5, 90]),
        ("left", [5, 50, 90]),
        ("right", [90, 50, 5]),
        ("top", [50, 5, 90]),
        ("bottom", [90, 5, 50]),
        ("large", [50, 90, 5]),
        ("small", [5, 90, 50]),
        ("best", [5, 50, 90]),
    ],
)
def test_orders(order, xs):
    assert places(select(THREE, Choice(order=order))) == xs
    assert places(select(THREE, Choice(order=order, count=1))) == xs[:1]


def test_the_numbers_shown_are_those_of_the_preview_in_every_frame():
    chosen = select(THREE, Choice(indices=(2, 0)))
    assert places(chosen) == [90, 50]
    assert [len(of_frame) for of_frame in chosen.frames] == [2, 0, 1]
    assert (chosen.height, chosen.width) == (120, 120)


def test_a_number_that_no_frame_has_is_named_with_the_count():
    with pytest.raises(FacesError, match=r"no face 3.*has 3 \(numbers: 0 to 2\)"):
        select(THREE, Choice(indices=(1, 3)))
    with pytest.raises(FacesError, match=r"has 0 \(numbers: none\)"):
        select(Faces(((),), 8, 8), Choice(indices=(0,)))


def test_attributes_are_asked_of_the_faces_that_are_left_and_kept():
    network = Network(lambda each: replace(each, gender="male" if each.box[0] > 20 else "female", age=(20, 29)))
    chosen = select(THREE, Choice(score=0.7, gender="male"), network)
    assert [each.score for each in network.shown] == [0.8, 0.95, 0.9]
    assert places(chosen) == [50] and chosen.frames[0][0].age == (20, 29)
    again = Network(lambda each: each)
    assert select(chosen, Choice(gender="male", youngest=25, oldest=40), again).count == 1
    assert again.shown == []


@pytest.mark.parametrize(("youngest", "oldest", "fits"), [(0, 19, 0), (0, 20, 1), (29, 40, 1), (30, OLDEST, 0)])
def test_ages_fit_where_the_ranges_touch(youngest, oldest, fits):
    known = Faces(((face(0, gender="female", age=(20, 29)),),), 20, 20)
    assert select(known, Choice(youngest=youngest, oldest=oldest)).count == fits


def test_likeness_keeps_who_is_near():
    near, far = np.array([1.0, 0.1], np.float32), np.array([0.0, 1.0], np.float32)
    network = Network(lambda each: replace(each, embedding=near if each.box[0] == 5 else far))
    chosen = select(THREE, Choice(reference=np.array([2.0, 0.0]), likeness=0.5), None, network)
    assert places(chosen) == [5] and len(network.shown) == 4


def test_a_network_that_is_needed_and_missing():
    for choice in (Choice(gender="male"), Choice(reference=np.ones(4))):
        with pytest.raises(FacesError, match="connect the image"):
            select(THREE, choice)


def test_embeddings_of_different_recognisers_are_not_compared():
    with pytest.raises(FacesError, match=r"512 numbers.*128"):
        likeness(np.ones(512), np.ones(128))
    with pytest.raises(FacesError, match="not numbers"):
        likeness(np.zeros(4), np.ones(4))


def test_two_hundred_faces():
    many = Faces((tuple(face(0, i % 20 * 10.0, i // 20 * 10.0, score=i / 200) for i in range(200)),), 200, 200)
    assert select(many, Choice(order="best", count=5)).frames[0] == many.frames[0][:-6:-1]


def test_no_face_where_one_is_required():
    require_face(THREE, "an identity")
    with pytest.raises(FacesError, match="no face in 1 frames, but an identity needs one"):
        require_face(Faces(((),), 8, 8), "an identity")


@given(st.lists(st.integers(0, 300), max_size=20))
def test_numbers_come_back_from_their_text_once_each(numbers):
    assert parse_indices(", ".join(map(str, numbers))) == tuple(dict.fromkeys(numbers))


def test_ranges_of_numbers():
    assert parse_indices("") == parse_indices(" , ") == ()
    assert parse_indices("0, 2-4,3") == (0, 2, 3, 4)


@pytest.mark.parametrize("text", ["a", "-1", "3-1", "1.5", "0-99999999"])
def test_what_is_no_number_is_said(text):
    with pytest.raises(SettingError, match="face number"):
        parse_indices(text)


@pytest.mark.parametrize(
    "wrong", [{"order": "middle"}, {"gender": "cat"}, {"score": 2}, {"likeness": -2}, {"youngest": 9, "oldest": 8}]
)
def test_settings_outside_their_range(wrong):
    with pytest.raises(SettingError):
        Choice(**wrong)
