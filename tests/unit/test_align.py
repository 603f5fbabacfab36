"""Alignment against an independent solver, and crops against what they must show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.catalog.templates import WARP_TEMPLATES
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces import align
from slimfusion.faces.align import (
    affine_for,
    can_align,
    crop_face,
    crop_region,
    inverse,
    similarity,
    template_points,
    upright_region,
    warped,
)
from slimfusion.faces.face import Face
from slimfusion.opencv import cv2

# A head's five points in millimetres: x right, y down, z towards the camera.
HEAD = np.array([[-31, -32, 0], [31, -32, 0], [0, 0, 28], [-25, 35, 5], [25, 35, 5]], float)
CORNERS = np.array([[0, 0, 1], [511, 0, 1], [511, 511, 1], [0, 511, 1]], float)


def turned_face(yaw: float, noise: np.ndarray) -> np.ndarray:
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turned = HEAD @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]).T
    return turned[:, :2] * 200 / 124 + [500, 400] + noise


def solved(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity as a linear least-squares problem in a, b, tx, ty."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(points, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        wanted += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    return np.array([[a, -b, tx], [b, a, ty]])


def a_face(scale: float = 1.0, centre: tuple[float, float] = (100, 90), degrees: float = 0.0) -> Face:
    c, s = np.cos(np.radians(degrees)) * scale, np.sin(np.radians(degrees)) * scale
    points = (HEAD[:, :2] @ np.array([[c, -s], [s, c]]).T + centre).astype(np.float32)
    return Face(0, np.concatenate([points.min(0), points.max(0)]), points, 1.0)


def smooth_picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [0.5 + 0.3 * np.sin(x / 17 + k) * np.cos(y / 13 - k) for k in range(channels)]
    return np.stack(waves, 2).astype(np.float32)


@pytest.mark.parametrize("template", WARP_TEMPLATES)
@pytest.mark.parametrize("yaw", [0, 15, 30, 45, 60])
def test_similarity_equals_least_squares(template, yaw):
    target = template_points(template, 512)
    noise = np.random.default_rng(yaw).normal(0, 1, (50, 5, 2))
    faces = np.stack([turned_face(yaw, shake) for shake in noise])
    for points, affine in zip(faces, similarity(faces, target), strict=True):
        assert np.abs(CORNERS @ (inverse(affine) - inverse(solved(points, target))).T).max() <= 0.05


def test_golden_affine():
    points = np.array([[202.9, 100.4], [246.1, 103.0], [224.1, 127.1], [201.8, 139.0], [244.5, 140.8]])
    expected = solved(points, template_points("ffhq_512", 512))
    assert np.abs(affine_for(points, "ffhq_512", 512) - expected).max() < 1e-8


@settings(max_examples=50, deadline=None)
@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-np.pi, np.pi),
    shift=st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)),
)
def test_a_moved_template_is_found_again(scale, angle, shift):
    target = template_points("arcface_128", 128)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    forward = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    affine = similarity(target @ forward[:, :2].T + forward[:, 2], target)
    assert np.abs(affine @ np.vstack([forward, [0, 0, 1]]) - [[1, 0, 0], [0, 1, 0]]).max() < 1e-5
    assert np.linalg.det(affine[:, :2]) > 0


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_points_without_a_face_are_refused(points):
    with pytest.raises(FacesError, match="cannot be aligned"):
        affine_for(points, "ffhq_512", 512)


def test_points_that_can_be_aligned():
    face = turned_face(0, np.zeros((5, 2)))
    assert can_align(face) and can_align(face / 100)
    for points in (np.zeros((5, 2)), np.full((5, 2), 7.0), face * np.nan, face / 1e4):
        assert not can_align(points)


def test_unknown_template_names_the_known_ones():
    with pytest.raises(SettingError, match=r"'nose_9'.*ffhq_512"):
        affine_for(turned_face(0, np.zeros((5, 2))), "nose_9", 512)


def test_whole_pixel_crop_is_exact_also_outside_the_frame():
    frame = smooth_picture(40, 50)
    crop = crop_face(frame, np.array([[1.0, 0, 12], [0, 1, 5]]), 32)  # crop pixel 0 is frame pixel (-12, -5)
    assert np.abs(crop - crop_region(frame, -12, -5, 32, 32)).max() < 1e-6


def test_crop_shows_the_points_where_the_template_has_them():
    frame = np.zeros((200, 220, 3), np.float32)
    points = a_face().landmarks
    for x, y in points.round().astype(int):
        frame[y - 1 : y + 2, x - 1 : x + 2] = 1
    affine = affine_for(points, "ffhq_512", 256)
    crop = crop_face(frame, affine, 256)[..., 0]
    for x, y in points.round() @ affine[:, :2].T + affine[:, 2]:
        window = crop[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        assert window.max() > 0.9


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_large_face_shrinks_to_exact_averages(factor):
    """At whole factors on the pixel grid the crop is the mean of factor x factor pixels."""
    frame = np.random.default_rng(0).random((64 * factor, 64 * factor, 3), np.float32)
    affine = np.array([[1 / factor, 0, (1 / factor - 1) / 2], [0, 1 / factor, (1 / factor - 1) / 2]])
    means = frame.reshape(64, factor, 64, factor, 3).mean((1, 3))
    assert np.abs(crop_face(frame, affine, 64) - means).max() < 1e-5


def test_only_the_seen_part_of_the_frame_counts():
    frame = smooth_picture(300, 400)
    affine = affine_for(a_face(0.5, (200, 150), 20).landmarks, "ffhq_512", 128)
    wanted = crop_face(frame, affine, 128)
    low = (inverse(affine) @ np.array([[-1, 128, -1, 128], [-1, -1, 128, 128], [1, 1, 1, 1]])).min(1)
    blinded = np.full_like(frame, np.nan)
    x, y = int(low[0]) - 4, int(low[1]) - 4
    blinded[y : y + 180, x : x + 180] = frame[y : y + 180, x : x + 180]
    assert np.array_equal(crop_face(blinded, affine, 128), wanted)


@pytest.mark.parametrize("centre", [(0, 0), (60, 30), (-400, -300), (900, 20)])
def test_faces_at_and_beyond_the_border_give_finite_crops(centre):
    crop = crop_face(smooth_picture(60, 70, 4), affine_for(a_face(0.6, centre).landmarks, "ffhq_512", 96), 96)
    assert crop.shape == (96, 96, 3) and crop.flags.c_contiguous
    assert np.isfinite(crop).all() and crop.min() >= 0 and crop.max() <= 1


def test_warp_with_zero_outside():
    ones = np.ones((8, 8), np.float32)
    result = warped(ones, np.array([[1.0, 0, 4], [0, 1, 4]]), (16, 16), zero=True)
    assert result[4:12, 4:12].min() == 1 and result.sum() == 64


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.2, 8),
    degrees=st.floats(-40, 40),
    centre=st.tuples(st.floats(-50, 400), st.floats(-50, 400)),
    multiple=st.sampled_from([1, 8, 16, 64]),
)
def test_upright_region_has_the_templates_centre_and_side(scale, degrees, centre, multiple):
    face = a_face(scale, centre, degrees)
    x0, y0, side = upright_region(face, "ffhq_512", multiple)
    back = inverse(affine_for(face.landmarks, "ffhq_512", 512))
    exact = 512 * np.sqrt(np.linalg.det(back[:, :2]))
    assert side % multiple == 0 and exact <= side < exact + multiple + 1e-6
    middle = back @ [255.5, 255.5, 1]
    assert np.abs(np.array([x0, y0]) + (side - 1) / 2 - middle).max() <= 0.5 + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    x0=st.integers(-40, 60),
    y0=st.integers(-40, 60),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    channels=st.sampled_from([3, 4]),
)
def test_crop_region_is_the_frame_with_its_edge_carried_on(x0, y0, width, height, channels):
    frame = np.random.default_rng(1).random((23, 31, channels), np.float32)
    before = frame.copy()
    rows, columns = np.arange(y0, y0 + height).clip(0, 22), np.arange(x0, x0 + width).clip(0, 30)
    crop = crop_region(frame, x0, y0, width, height)
    assert np.array_equal(crop, frame[np.ix_(rows, columns)][..., :3])
    crop[:] = 0
    assert np.array_equal(frame, before)  # a copy, never a view


@pytest.mark.parametrize("shape", [(7, 9, 3), (300, 500), (31, 64, 4), (1, 1, 3)])
@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("border", [cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT])
def test_pictures_are_averaged_in_bands_as_at_once(monkeypatch, shape, factor, border):
    picture = np.random.default_rng(3).random(shape, np.float32)
    padded = cv2.copyMakeBorder(picture, 0, -shape[0] % factor, 0, -shape[1] % factor, border)
    small = padded.shape[1] // factor, padded.shape[0] // factor
    at_once = cv2.resize(padded, small, interpolation=cv2.INTER_AREA).reshape(*small[::-1], *shape[2:])
    np.testing.assert_array_equal(align.averaged(picture, factor, border), at_once)
    monkeypatch.setattr(align, "BAND_PIXELS", 100)
    np.testing.assert_array_equal(align.averaged(picture, factor, border), at_once)
