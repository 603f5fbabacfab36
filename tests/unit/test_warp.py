"""The mesh: the same triangles for all faces, points that land where they should, nothing moved that is equal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.errors import FacesError
from slimfusion.faces import warp


def face_points(scale: float = 40, x: float = 80, y: float = 60, seed: int | None = None) -> np.ndarray:
    moved = 0 if seed is None else np.random.default_rng(seed).normal(0, 0.006, (68, 2))
    return (warp.MEAN_FACE + moved) * scale + (x, y)


def smooth_picture(height: int = 180, width: int = 160) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 17) * np.cos(y / 13)], -1).astype(np.float32)


def test_the_triangles_cover_the_ring_once():
    mean = warp.mesh_points(face_points())
    parts = sum(warp.area(mean[list(triangle)]) for triangle in warp.triangles())
    assert parts == pytest.approx(warp.area(mean[-warp.RING_POINTS :]), rel=1e-3)
    assert set(warp.triangles().ravel()) == set(range(len(mean)))


def test_openings_are_drawn_first_so_that_lips_and_lids_lie_over_them():
    openings = [range(36, 42), range(42, 48), range(60, 68)]
    within = [any(set(triangle) <= set(part) for part in openings) for triangle in warp.triangles().tolist()]
    assert within == [True] * (4 + 4 + 6) + [False] * (len(within) - 14)  # each polygon is cut into corners - 2


def test_a_mesh_moved_onto_itself_leaves_the_picture():
    picture, mesh = smooth_picture(), warp.mesh_points(face_points())
    same = warp.warped_by_mesh(picture, mesh, mesh, (20, 10), (100, 120))
    assert np.abs(same - picture[10:130, 20:120]).max() < 1e-3


@pytest.mark.parametrize(("seed", "scale"), [(210, 25), (74, 25), (150, 37.3), (271, 50)])
def test_a_sliver_at_the_corner_of_the_mouth_takes_no_pixel_from_far_away(seed, scale):
    mesh, target = warp.mesh_points(face_points(seed=seed)), warp.mesh_points(face_points(scale, seed=seed + 1))
    x, y = warp.backward_maps(mesh, target, 160, 180)
    column, row = np.round(target[48]).astype(int)
    assert np.hypot(x[row, column] - mesh[48, 0], y[row, column] - mesh[48, 1]) < 2 * 40 / scale


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 999), scale=st.floats(25, 50))
def test_each_point_takes_the_pixel_of_the_point_that_it_comes_from(seed, scale):
    mesh, target = warp.mesh_points(face_points(seed=seed)), warp.mesh_points(face_points(scale, seed=seed + 1))
    x, y = warp.backward_maps(mesh, target, 160, 180)
    for number in (8, 19, 30, 36, 48, 57):
        column, row = np.round(target[number]).astype(int)
        reach = 2 * 40 / scale
        assert np.hypot(x[row, column] - mesh[number, 0], y[row, column] - mesh[number, 1]) < reach


def test_a_large_source_is_averaged_before_it_shrinks():
    fine = (np.indices((720, 640)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, 2)
    mesh, target = warp.mesh_points(face_points(160, 320, 240)), warp.mesh_points(face_points())
    small = warp.warped_by_mesh(fine, mesh, target, (40, 30), (80, 100))
    assert np.abs(small - 0.5).max() < 0.02


@pytest.mark.parametrize("points", [np.zeros((68, 2)), np.full((68, 2), np.nan)])
def test_points_that_are_no_face_are_refused(points):
    with pytest.raises(FacesError, match="68 points coincide or are not numbers"):
        warp.mesh_points(points)


def test_points_outside_their_picture_are_refused():
    mesh = warp.mesh_points(face_points(x=900))
    with pytest.raises(FacesError, match="outside its picture"):
        warp.warped_by_mesh(smooth_picture(), mesh, warp.mesh_points(face_points()), (0, 0), (50, 50))
