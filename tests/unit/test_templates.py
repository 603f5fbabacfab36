"""The warp templates agree with the crops they are defined by."""

import numpy as np
import pytest
from slimfusion.catalog.templates import WARP_TEMPLATES

# InsightFace's published points, pixels of 112.
INSIGHT_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def test_arcface_112_is_insightface():
    assert np.abs(np.array(WARP_TEMPLATES["arcface_112_v2"]) * 112 - INSIGHT_112).max() < 1e-4


def test_arcface_128_is_the_same_points_shifted_by_8():
    assert np.abs(np.array(WARP_TEMPLATES["arcface_128"]) * 128 - (INSIGHT_112 + np.array([8, 0]))).max() < 1e-4


def test_ffhq_in_pixels_of_512():
    points = [[192.98138, 239.94708], [318.90277, 240.19360], [256.63416, 314.01935]]
    points += [[201.26117, 371.41043], [313.08905, 371.15118]]
    assert np.abs(np.array(WARP_TEMPLATES["ffhq_512"]) * 512 - points).max() < 1e-4


def test_gpens_own_crop_in_pixels_of_512():
    points = [[202.0407, 242.8840], [309.4302, 242.2900], [256.0768, 303.9592]]
    points += [[211.9598, 366.8282], [300.8911, 366.3363]]
    assert np.abs(np.array(WARP_TEMPLATES["gpen"]) * 512 - points).max() < 1e-3


@pytest.mark.parametrize("name", WARP_TEMPLATES)
def test_points_are_a_face_inside_the_crop(name):
    left_eye, right_eye, nose, left_mouth, right_mouth = np.array(WARP_TEMPLATES[name])
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert np.array(WARP_TEMPLATES[name]).shape == (5, 2)
    assert min(map(min, WARP_TEMPLATES[name])) > 0 and max(map(max, WARP_TEMPLATES[name])) < 1
