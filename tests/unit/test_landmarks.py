"""68 points: planted ones come back where the face is, whatever its size and place, and become the right five."""

import numpy as np
import pytest
import torch
from slimfusion.catalog.cards import CARDS
from slimfusion.errors import ModelFileError
from slimfusion.faces.align import template_points
from slimfusion.faces.face import Face
from slimfusion.faces.landmarks.network import (
    box_affine,
    decoded,
    five_from_68,
    landmarker_crop,
    with_landmarks,
)
from slimfusion.faces.warp import MEAN_FACE

POINTS = (MEAN_FACE / 3.2 + [0.5, 0.45]).astype(np.float32)  # as parts of a box
FAMILY = CARDS["2dfan4"]


def a_face(x: float, y: float, width: float, height: float, frame: int = 0) -> Face:
    box = np.array([x, y, x + width, y + height], np.float32)
    return Face(frame, box, (template_points("ffhq_512", int(width)) + np.array([x, y])).astype(np.float32), 0.9)


def wanted(face: Face) -> np.ndarray:
    """Where a network that is told the whole box's crop must put the points, in pixel centres of the frame."""
    side = (face.box[2:] - face.box[:2]).max()
    return (face.box[:2] + face.box[2:]) / 2 + (POINTS - 0.5) * side - 0.5


def planted(sure: float, with_maps: bool = True):
    """A landmarker that finds the points in the middle 195 px of its crop."""
    inside = (128 + (POINTS - 0.5) * 195 - 0.5) / 4

    def infer(items):
        for (picture,) in items:
            assert picture.shape == (3, 256, 256)
            table = torch.from_numpy(np.column_stack([inside, np.full(68, sure)]).astype(np.float32))
            maps = torch.zeros(68, 64, 64)
            maps[:, 20, 30] = sure
            yield (table, maps) if with_maps else (table.reshape(204),)

    return infer


@pytest.mark.parametrize("x, y, width, height", [(30, 40, 60, 80), (500.5, 300.25, 333, 250), (-40, -30, 200, 240)])
def test_points_come_back_to_a_tenth_of_a_pixel(x, y, width, height):
    face = a_face(x, y, width, height)
    (known,) = with_landmarks(torch.rand(1, 600, 900, 3), [face], FAMILY, planted(0.8))
    assert known.landmarks68.shape == (68, 2) and known.landmarks68.dtype == np.float32
    assert np.abs(known.landmarks68 - wanted(face)).max() < 0.1
    assert np.abs(known.landmarks - five_from_68(wanted(face))).max() < 0.1
    assert known.landmarks.dtype == np.float32


def test_a_landmarker_that_is_not_sure_leaves_the_five_points_alone():
    face = a_face(30, 40, 60, 80)
    (known,) = with_landmarks(torch.rand(1, 200, 200, 3), [face], FAMILY, planted(0.4))
    assert known.landmarks is face.landmarks and known.landmarks68 is not None


@pytest.mark.parametrize("name, sure, score", [("2dfan4", 0.9, 1.0), ("2dfan4", 0.45, 0.5), ("peppa_wutz", 0.475, 0.5)])
def test_certainty_is_scaled_by_what_a_network_reaches(name, sure, score):
    (outputs,) = planted(sure, name == "2dfan4")([(torch.zeros(3, 256, 256),)])
    points, got = decoded(outputs, name)
    assert points.shape == (68, 2) and got == pytest.approx(score, abs=1e-6)


def test_other_outputs_are_refused():
    with pytest.raises(ModelFileError, match="68 points"):
        decoded((torch.zeros(106, 2),), "2dfan4")


def test_five_of_68():
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[30], points[48], points[54] = 1, 2, 3, 4, 5
    assert five_from_68(points)[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert five_from_68(np.stack([points, points + 1])).shape == (2, 5, 2)


def test_the_longer_side_of_a_box_is_195_px_in_the_middle():
    affine = box_affine(np.array([100, 50, 160, 180]))
    corners = np.array([[100, 50, 1], [160, 180, 1]]) - [0.5, 0.5, 0]  # pixel edges as pixel centres
    low, high = corners @ affine.T + 0.5
    assert high[1] - low[1] == pytest.approx(195) and np.allclose(low + high, 256)


def test_a_dark_crop_gets_contrast_and_a_bright_one_stays():
    frame = np.random.default_rng(0).random((256, 256, 3), np.float32)
    straight = box_affine(np.array([128 - 97.5, 128 - 97.5, 128 + 97.5, 128 + 97.5]))
    assert np.abs(landmarker_crop(frame, straight) - frame).max() < 1e-5
    assert landmarker_crop(frame * 0.1, straight).std() > 1.3 * (frame * 0.1).std()


def test_points_from_five_points_alone():
    """fan_68_5 sees the five points in FFHQ's crop, as parts of its side, and answers there."""
    face = a_face(100, 60, 512, 512)

    def infer(items):
        for (points,) in items:
            assert np.abs(points.numpy() - template_points("ffhq_512", 1)).max() < 1e-5
            yield (torch.from_numpy(POINTS),)

    (known,) = with_landmarks(torch.zeros(1, 8, 8, 3), [face], CARDS["fan_68_5"], infer)
    assert np.abs(known.landmarks68 - (POINTS * 512 + np.float32([100, 60]))).max() < 0.1
    assert known.landmarks is face.landmarks
