"""Pasting changes the face and nothing else, to the bit."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.errors import ImageError
from slimfusion.faces import paste as paste_module
from slimfusion.faces.align import affine_for, crop_face, crop_region
from slimfusion.faces.masks.soft import crop_mask, region_mask
from slimfusion.faces.paste import Canvas

HEAD = np.array([[-31, -32], [31, -32], [0, 0], [-25, 35], [25, 35]], float)


def affine_of(scale: float, centre: tuple[float, float], degrees: float, size: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)) * scale, np.sin(np.radians(degrees)) * scale
    return affine_for(HEAD @ np.array([[c, -s], [s, c]]).T + centre, "ffhq_512", size)


def smooth_picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [0.5 + 0.3 * np.sin(x / 17 + k) * np.cos(y / 13 - k) for k in range(channels)]
    return np.stack(waves, 2).astype(np.float32)


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint32)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.15, 2),
    degrees=st.floats(-180, 180),
    centre=st.tuples(st.floats(-60, 220), st.floats(-60, 200)),
    channels=st.sampled_from([3, 4]),
    strength=st.floats(0, 1),
)
def test_everything_outside_the_mask_keeps_its_bits(scale, degrees, centre, channels, strength):
    random = np.random.default_rng(3)
    frame = random.normal(0.5, 1, (140, 160, channels)).astype(np.float32)
    frame[::7, ::5] = [np.nan, -0.0, np.inf, 2][:channels]
    before, painted = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    canvas = Canvas(frame, painted=painted, strength=strength)
    crop = random.random((64, 64, 3), np.float32)
    rows, columns = canvas.paste(crop, affine_of(scale, centre, degrees, 64), crop_mask(64))
    same = bits(frame) == bits(before)
    assert same[painted == 0].all()
    assert same[..., 3:].all()
    outside = np.ones(painted.shape, bool)
    outside[rows, columns] = False
    assert not painted[outside].any()
    changed = frame[painted > 0][:, :3]
    assert ((changed >= 0) & (changed <= 1)).all()


@pytest.mark.parametrize("size", [128, 256, 512])
def test_unchanged_crop_changes_little_and_only_inside(size):
    frame = smooth_picture(300, 320)
    affine = affine_of(1.0, (160, 150), 12, size)
    pasted, painted = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    Canvas(pasted, painted=painted).paste(crop_face(frame, affine, size), affine, crop_mask(size))
    difference = np.abs(pasted - frame).max(2)
    assert painted.max() == pytest.approx(1) and (painted > 0).sum() > 20000
    assert difference[painted == 0].max() == 0
    assert difference.max() < 0.01


def test_face_is_painted_at_its_place():
    frame, painted = np.zeros((200, 200, 3), np.float32), np.zeros((200, 200), np.float32)
    affine = affine_of(0.8, (110, 90), 30, 128)
    Canvas(frame, painted=painted).paste(np.ones((128, 128, 3), np.float32), affine, crop_mask(128))
    y, x = np.mgrid[:200, :200]
    u, v = np.tensordot(affine, np.stack([x, y, np.ones_like(x)]), 1)
    inside = (np.minimum(u, v) > 20) & (np.maximum(u, v) < 107)
    outside = (np.minimum(u, v) < 0) | (np.maximum(u, v) > 127)
    assert frame[inside].min() > 0.999 and frame[outside].max() == 0
    assert np.abs(frame[..., 0] - painted).max() < 1e-6


def test_strength_and_user_mask_scale_the_blend():
    affine = affine_of(0.8, (100, 100), 0, 64)
    crop, user = np.ones((64, 64, 3), np.float32), np.zeros((200, 200), np.float32)
    user[:, :100] = 0.5
    frame = np.zeros((200, 200, 3), np.float32)
    Canvas(frame, user, strength=0.5).paste(crop, affine, crop_mask(64))
    assert frame[100, 90] == pytest.approx(0.25)
    assert not frame[:, 100:].any()


def test_painted_is_the_maximum_of_all_faces():
    frame, painted = np.zeros((200, 300, 3), np.float32), np.zeros((200, 300), np.float32)
    crop, single = np.zeros((64, 64, 3), np.float32), np.zeros((2, 200, 300), np.float32)
    for index, x in enumerate((100, 180)):
        Canvas(frame, painted=single[index]).paste(crop, affine_of(0.8, (x, 100), 0, 64), crop_mask(64))
        Canvas(frame, painted=painted).paste(crop, affine_of(0.8, (x, 100), 0, 64), crop_mask(64))
    assert np.array_equal(painted, single.max(0)) and (single.min(0) > 0).any()


def test_a_crop_outside_the_frame_changes_nothing():
    frame = smooth_picture(50, 60)
    before = frame.copy()
    rows, columns = Canvas(frame).paste(
        np.ones((64, 64, 3), np.float32), affine_of(0.3, (900, -900), 0, 64), crop_mask(64)
    )
    assert frame[rows, columns].size == 0 and np.array_equal(frame, before)


@settings(max_examples=50, deadline=None)
@given(x0=st.integers(-50, 70), y0=st.integers(-50, 70), width=st.integers(3, 60), height=st.integers(3, 60))
def test_upright_crop_comes_back_to_the_bit(x0, y0, width, height):
    frame = np.random.default_rng(5).random((40, 52, 4), np.float32)
    before = frame.copy()
    Canvas(frame).paste_upright(crop_region(frame, x0, y0, width, height), x0, y0, np.ones((height, width), np.float32))
    assert np.array_equal(frame, before)


def test_upright_crop_is_exact_where_the_mask_is_one():
    frame, painted = np.zeros((64, 80, 3), np.float32), np.zeros((64, 80), np.float32)
    crop, mask = np.random.default_rng(6).random((40, 50, 3), np.float32), region_mask(50, 40)
    rows, columns = Canvas(frame, painted=painted).paste_upright(crop, -10, 30, mask)
    assert (rows, columns) == (slice(30, 64), slice(0, 40))
    seen = mask[:34, 10:]
    assert np.array_equal(painted[rows, columns], seen)
    assert np.array_equal(frame[rows, columns][seen == 1], crop[:34, 10:][seen == 1])
    assert (seen == 1).sum() > 500 and not frame[:30].any() and not frame[:, 40:].any()


def test_memory_follows_the_face():
    frame, crop = np.zeros((1500, 2000, 3), np.float32), np.ones((256, 256, 3), np.float32)
    affine, mask = affine_of(1.5, (900, 700), 10, 256), crop_mask(256)
    tracemalloc.start()
    rows, columns = Canvas(frame).paste(crop, affine, mask)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 3 * frame[rows, columns].nbytes
    assert frame[rows, columns].nbytes < frame.nbytes / 8


@pytest.mark.parametrize("wrong", ["user_mask", "painted", "mask"])
def test_sizes_that_do_not_fit_are_refused(wrong):
    canvases = {wrong: np.zeros((20, 21), np.float32)}
    mask = canvases.pop("mask", crop_mask(32))
    with pytest.raises(ImageError, match=r"\(20, 21\)"):
        Canvas(smooth_picture(50, 60), **canvases).paste(np.ones((32, 32, 3), np.float32), np.eye(3)[:2], mask)


def test_a_large_face_is_blended_in_bands_as_it_would_be_at_once(monkeypatch):
    rng = np.random.default_rng(5)
    frame, crop = rng.random((180, 200, 3), np.float32), rng.random((32, 32, 3), np.float32)
    affine = affine_of(1.2, (95, 90), 12, 32)
    whole, banded, upright, upright_banded = (frame.copy() for _ in range(4))
    large = rng.random((150, 160, 3), np.float32)
    Canvas(whole).paste(crop, affine, crop_mask(32))
    Canvas(upright).paste_upright(large, 10, 20, region_mask(160, 150))
    monkeypatch.setattr(paste_module, "BAND_PIXELS", 1000)
    Canvas(banded).paste(crop, affine, crop_mask(32))
    Canvas(upright_banded).paste_upright(large, 10, 20, region_mask(160, 150))
    assert np.abs(whole - banded).max() <= 1e-5 and (whole != frame).any()
    np.testing.assert_array_equal(upright, upright_banded)
