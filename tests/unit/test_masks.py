"""Masks are 0 at the border, 1 inside, and fall without a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.errors import FacesError, SettingError
from slimfusion.faces.masks.soft import area_inside, box_mask, crop_mask, feathered, region_inside, region_mask


@given(width=st.integers(3, 90), height=st.integers(3, 90), feather=st.floats(0, 0.5))
def test_shape_range_and_symmetry(width, height, feather):
    mask = region_mask(width, height, feather)
    assert mask.shape == (height, width) and mask.dtype == np.float32
    assert mask.min() == 0 and 0 < mask.max() <= 1
    assert not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
    assert np.array_equal(mask, mask[::-1]) and np.array_equal(mask, mask[:, ::-1])


def test_inside_is_exactly_one_and_the_fall_is_hann():
    mask = crop_mask(200, 0.1)
    assert (mask[20:-20, 20:-20] == 1).all()
    steps = np.arange(21)
    assert np.abs(mask[100, :21] - (0.5 - 0.5 * np.cos(np.pi * steps / 20))).max() < 1e-6
    assert mask[100, 19] < 1


def test_feather_follows_the_size():
    assert np.abs(crop_mask(512, 0.12)[256, ::2] - crop_mask(256, 0.12)[128]).max() < 0.05


def test_kept_mask_is_shared_and_cannot_be_spoilt():
    assert crop_mask(64) is crop_mask(64)
    with pytest.raises(ValueError, match="read-only"):
        crop_mask(64)[0, 0] = 1


@pytest.mark.parametrize("feather", [-0.1, 0.6, float("nan")])
def test_feather_outside_its_range(feather):
    with pytest.raises(SettingError, match="feather"):
        region_mask(32, 32, feather)


def test_a_box_leaves_its_margins_out():
    mask = box_mask(200, (0.1, 0.2, 0.0, 0.3), 0.05)
    assert not mask[:20].any() and not mask[:, 160:].any() and not mask[:, :60].any()
    assert mask[100, 110] == 1 and mask[-1, 110] == 0


@pytest.mark.parametrize(("padding", "feather"), [((0.5, 0, 0.5, 0), 0.1), ((-0.1, 0, 0, 0), 0.1), ((0, 0, 0, 0), 1)])
def test_a_box_that_cannot_be(padding, feather):
    with pytest.raises(SettingError):
        box_mask(64, padding, feather)


def face_points(size=256):
    """68 points of a plain face in a crop: a jaw, brows, nose, eyes and mouth on circles."""
    turn = np.linspace(0, 2 * np.pi, 21)[:20]
    jaw = np.linspace(np.pi, 0, 17)
    middle = np.array([size / 2, size / 2])
    points = np.zeros((68, 2))
    points[:17] = middle + size * 0.4 * np.stack([np.cos(jaw), np.sin(jaw)], 1)
    points[17:27] = np.stack([np.linspace(0.2, 0.8, 10) * size, np.full(10, 0.25 * size)], 1)
    points[27:36] = np.stack([np.full(9, 0.5 * size), np.linspace(0.3, 0.55, 9) * size], 1)
    points[36:48] = middle
    points[48:] = middle + [0, 0.25 * size] + size * 0.1 * np.stack([np.cos(turn), np.sin(turn)], 1)
    return points


def test_areas_are_the_hulls_of_their_points():
    points = face_points()
    mouth = area_inside(points, ["mouth"], 256)
    assert abs(mouth.sum() - np.pi * 25.6**2) < 0.05 * mouth.sum()
    assert mouth[192, 128] == 1 and mouth[128, 128] == 0
    upper, lower = (area_inside(points, [name], 256) for name in ("upper", "lower"))
    assert upper[80, 128] == 1 and upper[200, 128] == 0
    assert lower[200, 128] == 1 and lower[80, 128] == 0
    both = area_inside(points, ["upper", "mouth"], 256)
    assert np.array_equal(both, np.maximum(upper, mouth))


def test_points_outside_the_crop_and_points_that_are_none():
    points = face_points()
    assert area_inside(points + np.array([1e9, 0]), ["mouth"], 256).sum() == 0
    assert area_inside(points * 3 - 256, ["lower"], 256).any()
    for wrong in (np.full((68, 2), np.nan), np.zeros((5, 2)), None):
        with pytest.raises(FacesError, match="68 points"):
            area_inside(wrong, ["mouth"], 256)
    with pytest.raises(SettingError, match="area 'ear'"):
        area_inside(points, ["ear"], 256)


def test_regions_are_the_parsers_classes():
    classes = np.arange(19).reshape(1, 19).repeat(19, 0)
    inside = region_inside(classes, ["eyes", "lips"])
    assert np.flatnonzero(inside[0]).tolist() == [4, 5, 12, 13]
    with pytest.raises(SettingError, match="region 'toe'"):
        region_inside(classes, ["toe"])


@given(feather=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_a_feather_never_leaves_what_is_inside(feather, seed):
    inside = (np.random.default_rng(seed).random((40, 40)) > 0.3).astype(np.uint8)
    mask = feathered(inside, feather)
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() == 1
    assert not mask[inside == 0].any() and mask[inside == 1].all()


def test_a_feather_is_a_hann_fall_of_its_width():
    inside = np.zeros((200, 200), np.uint8)
    inside[:, 50:] = 1
    row = feathered(inside, 0.1)[100]
    assert row[49] == 0 and row[70] == 1 and (row[70:] == 1).all()
    steps = np.arange(21)
    assert np.abs(row[49:70] - (0.5 - 0.5 * np.cos(np.pi * steps / 20))).max() < 1e-6
