"""Values that no schema lets through: each ends in an error of ours."""

import math

import numpy as np
import pytest
import torch
from slimfusion.engines.host import StandaloneHost
from slimfusion.engines.job import Options
from slimfusion.engines.memory.budget import MemoryBudget, budget_from_gib, parse_bytes
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces.detect.settings import DetectionSettings
from slimfusion.faces.face import Face, Faces
from slimfusion.faces.frames import checked_frames
from slimfusion.faces.identity.people import parse_map
from slimfusion.faces.identity.select import Choice
from slimfusion.faces.masks.face_masks import MaskChoice, face_masks
from slimfusion.faces.swap.task import Swapping

POINTS = np.array([[24, 28], [40, 28], [32, 36], [26, 44], [38, 44]], np.float32)
BOX = np.array([8, 8, 56, 56], np.float32)


@pytest.mark.parametrize("value", ["x", [], {}, b""])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Options, "tile"), (MemoryBudget, "limit"), (DetectionSettings, "score"), (Swapping, "boost"), (Choice, "oldest")],
)
def test_what_is_no_number_is_said(kind, name, value):
    with pytest.raises(SettingError, match=f"The setting {name} must be a number"):
        kind(**{name: value})


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf, -0.1, "x"])
def test_margins_of_a_mask_are_parts_of_the_crop(margin):
    faces = Faces(((Face(0, BOX, POINTS, 0.9),),), 64, 64)
    with pytest.raises(SettingError, match=r"margins of a face mask|setting top"):
        face_masks(faces, MaskChoice(padding=(margin, 0.0, 0.0, 0.0)))


def test_amounts_beyond_any_machine_are_refused():
    for wrong in (lambda: budget_from_gib(1e300, "auto", "degrade", True), lambda: parse_bytes("9" * 400)):
        with pytest.raises(SettingError):
            wrong()


def test_a_map_of_people_is_a_text():
    with pytest.raises(SettingError, match="people must be a text"):
        parse_map(7)


def test_a_face_of_another_frame_and_one_of_four_points():
    with pytest.raises(FacesError, match="frame 7 is listed under frame 0"):
        face_masks(Faces(((Face(7, BOX, POINTS, 0.9),),), 64, 64), MaskChoice())
    with pytest.raises(FacesError, match="detect it anew"):
        face_masks(Faces(((Face(0, BOX, POINTS[:4], 0.9),),), 64, 64), MaskChoice())


def test_a_picture_that_wants_gradients_is_worked_on_without():
    from slimfusion.catalog.files import BUNDLED_FILE
    from slimfusion.faces.restore import restore_image
    from slimfusion.models.opening import open_model

    host = StandaloneHost("cpu")
    picture = torch.rand(1, 16, 16, 3, requires_grad=True)
    assert not checked_frames(picture).requires_grad
    network = open_model(BUNDLED_FILE, BUNDLED_FILE.name, host)
    assert restore_image(picture, network, MemoryBudget(), host)[0].shape == (1, 16, 16, 3)
