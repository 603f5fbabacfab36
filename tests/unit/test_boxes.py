"""Faces to core's bounding boxes and back; only the five points are looked for."""

from contextlib import nullcontext

import numpy as np
import pytest
import skimage.data
import torch
from slimfusion.engines.host import StandaloneHost
from slimfusion.errors import FacesError
from slimfusion.faces import boxes
from slimfusion.faces.boxes import WIDGET_BOX, boxes_from_faces, faces_from_boxes, faces_from_landmarks, has_boxes
from slimfusion.faces.face import Face, Faces

HOST = StandaloneHost("cpu")
BOX = {"x": 10, "y": 20.5, "width": 30, "height": "40"}
CORNERS = [10, 20.5, 40, 60.5]


class Points:
    """A detector that gives the middle of each box five times."""

    def landmarks_in_boxes(self, frame, corners):
        middles = (corners[:, :2] + corners[:, 2:]) / 2
        return np.repeat(middles[:, None], 5, 1), np.full(len(corners), 0.75, np.float32)


@pytest.fixture
def points(monkeypatch):
    monkeypatch.setattr(boxes, "open_mtcnn", lambda *_: nullcontext(Points()))


def frames(count: int) -> torch.Tensor:
    return torch.zeros(count, 80, 90, 3)


def test_there_and_back_keeps_boxes_and_order(points):
    corners = [np.array([x, 2, x + 11.5, 30], np.float32) for x in (5, 40, -3)]
    of_frame = tuple(Face(1, each, np.zeros((5, 2), np.float32), 0.9) for each in corners)
    there = boxes_from_faces(Faces(((), of_frame), 80, 90))
    assert there[0] == [] and there[1][0] == {
        "x": 5.0, "y": 2.0, "width": 11.5, "height": 28.0, "label": "face", "score": 0.9
    }  # fmt: skip
    assert all(type(value) in (float, str) for value in there[1][0].values())
    back = faces_from_boxes(frames(2), there, HOST)
    assert (back.height, back.width, [len(found) for found in back.frames]) == (80, 90, [0, 3])
    assert all(np.array_equal(face.box, each) for face, each in zip(back.frames[1], corners, strict=True))
    assert {(face.frame, face.score) for face in back.frames[1]} == {(1, 0.75)}
    assert back.frames[1][0].landmarks.shape == (5, 2)


@pytest.mark.parametrize("given", [[[BOX], [BOX]], [[BOX]], [BOX], BOX])
def test_one_list_or_one_box_counts_for_all_frames(points, given):
    found = faces_from_boxes(frames(2), given, HOST)
    assert [face.box.tolist() for of_frame in found.frames for face in of_frame] == [CORNERS, CORNERS]
    assert [face.frame for of_frame in found.frames for face in of_frame] == [0, 1]


@pytest.mark.parametrize("given", [[], [[]], [[], []]])
def test_no_boxes_are_no_faces(given):
    assert faces_from_boxes(frames(2), given, HOST).count == 0


def test_boxes_of_another_number_of_frames_are_refused():
    with pytest.raises(FacesError, match="boxes for 3 frames but the image has 2"):
        faces_from_boxes(frames(2), [[BOX]] * 3, HOST)


@pytest.mark.parametrize(
    "wrong",
    [{"x": 1, "y": 2, "width": 3}, {**BOX, "x": "left"}, {**BOX, "y": None}, {**BOX, "width": float("nan")}, (1, 2)],
)
def test_a_box_that_is_none_is_named(wrong):
    with pytest.raises(FacesError, match="needs x, y, width and height as numbers, not"):
        faces_from_boxes(frames(1), [[wrong]], HOST)


def test_an_interrupt_is_asked_for_in_every_frame(points):
    class Stopped(BaseException):
        pass

    class Stopping(StandaloneHost):
        left = 2

        def check_interrupt(self):
            self.left -= 1
            if not self.left:
                raise Stopped

    with pytest.raises(Stopped):
        faces_from_boxes(frames(3), [[BOX]], Stopping("cpu"))


def test_points_are_found_in_a_foreign_box():
    portrait = torch.from_numpy(skimage.data.astronaut().astype(np.float32) / 255)[None]
    (face,) = faces_from_boxes(portrait, {"x": 170, "y": 50, "width": 110, "height": 140}, HOST).frames[0]
    assert np.abs(face.landmarks[:2] - [[203, 100], [246, 103]]).max() < 4  # the eyes, read off the picture
    assert face.score > 0.9


def test_a_box_beyond_the_frame_does_no_harm():
    (face,) = faces_from_boxes(frames(1), {"x": 1e6, "y": -1e6, "width": 5, "height": 0}, HOST).frames[0]
    assert np.isfinite(face.landmarks).all() and face.score < 0.5


def mesh_of(frame: int = 0, points: int = 478) -> dict:
    """A MediaPipe face whose five points are (10 k, 10 k) for k from 1."""
    mesh = np.full((478, 2), 99.0)
    for k, which in enumerate([[33, 133, 159, 145], [362, 263, 386, 374], [4], [61], [291]], 1):
        mesh[which] = [10 * k, 10 * k]
    return {"bbox_xyxy": [1, 2, 60, 70], "landmarks_xy": mesh[:points], "score": 0.75, "presence": 1.0}


def test_the_five_points_of_cores_face_mesh():
    faces = faces_from_landmarks(frames(2), {"frames": [[], [mesh_of()]], "image_size": (80, 90)})
    ((), (face,)) = faces.frames
    assert (face.frame, face.score, face.box.tolist()) == (1, 0.75, [1, 2, 60, 70])
    assert face.landmarks.tolist() == [[10.0 * k] * 2 for k in range(1, 6)] and face.landmarks.dtype == np.float32


@pytest.mark.parametrize(
    "given, message",
    [
        ({"frames": [[mesh_of()]], "image_size": (90, 80)}, "detect faces in this image"),
        ({"frames": [[], []], "image_size": (80, 90)}, "detect faces in this image"),
        ({"frames": [[mesh_of(points=68)]], "image_size": (80, 90)}, "no face mesh"),
        ({"frames": [[{}]], "image_size": (80, 90)}, "bbox_xyxy|landmarks_xy"),
        ([], "not landmarks of ComfyUI's MediaPipe"),
    ],
)
def test_landmarks_of_other_frames_or_another_kind_are_refused(given, message):
    with pytest.raises(FacesError, match=message):
        faces_from_landmarks(frames(1), given)


def test_mesh_faces_that_cannot_be_aligned_are_left_out():
    flat = {**mesh_of(), "landmarks_xy": np.zeros((478, 2))}
    assert faces_from_landmarks(frames(1), {"frames": [[flat]], "image_size": (80, 90)}).count == 0


@pytest.mark.parametrize("wrong", [0, 7, "boxes", False, [5, 6], [[BOX], BOX], [[BOX], None]])
def test_what_is_no_list_of_boxes_is_refused_and_not_taken_for_no_face(points, wrong):
    with pytest.raises(FacesError, match=r"bboxes is .* leave it unconnected"):
        faces_from_boxes(frames(2), wrong, HOST)


def test_the_box_that_a_frontends_widget_sends_by_itself_is_none():
    assert not has_boxes(None) and not has_boxes(dict(WIDGET_BOX))
    assert has_boxes([]) and has_boxes([[WIDGET_BOX]]) and has_boxes({**WIDGET_BOX, "x": 1})
