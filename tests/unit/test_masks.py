"""Masks are 0 at the border, 1 inside, and fall without a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slimfusion.errors import SettingError
from slimfusion.faces.masks import crop_mask, region_mask


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
