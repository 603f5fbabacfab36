"""Averages from a table of sums against PyTorch's own, inside and outside the frame."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.faces.detect import area

WHOLE = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(np.float32)
FRAME = WHOLE / 255


def pooled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    return F.interpolate(batch, size=(height, width), mode="area")[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(97, 131), (41, 55), (12, 17), (1, 1)])
def test_a_level_is_pytorchs_area_interpolation(size):
    source = area.sums(FRAME)
    got = area.level(source, *size, slice(0, size[0]))
    assert np.abs(got - pooled(WHOLE, *size)).max() < 1e-3
    assert np.array_equal(area.level(source, *size, slice(3, 9)), got[3:9])


@settings(max_examples=60, deadline=None)
@given(x=st.integers(-30, 130), y=st.integers(-30, 96), side=st.integers(1, 120), size=st.sampled_from([24, 48]))
def test_a_patch_is_the_same_of_a_frame_in_black(x, y, side, size):
    black = np.zeros((400, 400, 3), np.float32)
    black[130 : 130 + 97, 130 : 130 + 131] = WHOLE
    (patch,) = area.patches(area.sums(FRAME), np.array([[x, y, x + side, y + side]]), size)
    assert np.abs(patch - pooled(black[130 + y : 130 + y + side, 130 + x : 130 + x + side], size, size)).max() < 1e-3


def test_small_boxes_are_read_from_the_frame_itself():
    """A shrunk table knows nothing of single pixels; a patch of them still does."""
    (patch,) = area.patches(area.sums(FRAME, 3), np.array([[10, 20, 58, 68]]), 48)
    assert np.abs(patch - WHOLE[20:68, 10:58]).max() < 1e-3


def test_a_large_frame_is_read_in_bands(monkeypatch):
    frame = np.random.default_rng(2).random((333, 401, 4), np.float32)
    frame[100:110, 50:60] = np.nan
    whole = area.shrunk(frame, 4)
    monkeypatch.setattr(area, "BAND_BYTES", 1)
    assert np.array_equal(area.shrunk(frame, 4), whole)
    means = np.nan_to_num(frame)[:332, :400, :3].reshape(83, 4, 100, 4, 3).mean((1, 3)) * 255
    assert whole.shape == (83, 100, 3) and np.abs(whole - means).max() <= 1.01  # rounded twice


def test_what_is_no_colour_is_clipped_and_nan_is_black():
    assert area.eight_bit(np.array([[[-1.0, 2.0, np.nan]]], np.float32)).tolist() == [[[0, 255, 0]]]
