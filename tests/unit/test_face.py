"""Faces belong to one batch of frames."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from slimfusion.errors import FacesError
from slimfusion.faces.face import Face, Faces


def face(frame: int) -> Face:
    return Face(frame, np.zeros(4, np.float32), np.zeros((5, 2), np.float32), 0.9)


FACES = Faces(((face(0), face(0)), (), (face(2),)), height=48, width=64)


def test_count_and_text():
    assert FACES.count == 3
    assert repr(FACES) == "Faces(3 in 3 frames of 64 x 48)"


def test_a_face_is_known_by_nothing_but_its_points_until_somebody_asks():
    plain = face(0)
    assert (plain.landmarks68, plain.embedding, plain.gender, plain.age) == (None,) * 4
    known = replace(plain, embedding=np.ones(512, np.float32), gender="female", age=(20, 29))
    assert known.landmarks is plain.landmarks and known.age == (20, 29)


def test_the_same_batch_is_accepted_with_and_without_alpha():
    FACES.check_size(torch.zeros(3, 48, 64, 3))
    FACES.check_size(torch.zeros(3, 48, 64, 4))


@pytest.mark.parametrize("shape", [(2, 48, 64, 3), (3, 64, 48, 3), (3, 48, 63, 3)])
def test_another_batch_is_refused_with_both_sizes(shape):
    with pytest.raises(FacesError, match=f"64 x 48.*{shape[0]} of {shape[2]} x {shape[1]}"):
        FACES.check_size(torch.zeros(shape))


def test_a_face_needs_no_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "slimfusion.faces.face")
    assert importlib.import_module("slimfusion.faces.face").Faces is not None
