"""The measurement of faces measures what it says."""

import numpy as np
from slimfusion.bench.faces import faces
from slimfusion.bench.faces.peers import paste_whole_frame


def test_alignment_is_compared_with_a_solver():
    assert faces.alignment_error() < 1e-6
    target = faces.template_points("ffhq_512", 512)
    assert np.abs(faces.solved(target * 2 + 7, target) - [[0.5, 0, -3.5], [0, 0.5, -3.5]]).max() < 1e-9


def test_the_distance_of_boxes():
    box = np.array([[10.0, 10, 50, 50], [100, 100, 200, 200]])
    assert faces.box_distance([box], [box[::-1] + np.array([0, 0, 1.5, 0])]) == 1.5
    assert faces.box_distance([box], [box[:1]]) == float("inf")


def test_pasting_over_the_whole_frame_shows_the_crop_in_the_middle_and_the_frame_around():
    frame, crop, affine = faces.pasting(300, 400)
    frame, crop = (np.round(each * 255).astype(np.uint8) for each in (frame * 0.2, crop * 0 + 0.9))
    affine = np.array([[4.0, 0, -600], [0, 4, -400]])  # a face of 128 px at (150, 100)
    result = paste_whole_frame(frame, crop, affine)
    assert np.abs(result[155:170, 205:220].astype(int) - 230).max() <= 1
    assert np.array_equal(result[:95], frame[:95]) and np.array_equal(result[:, :145], frame[:, :145])


def test_a_damaged_detector_would_be_noticed():
    mine, theirs = np.array([[10.0, 10, 50, 50]]), np.array([[10.0, 10, 53, 50]])
    assert faces.box_distance([mine], [theirs]) == 3.0
