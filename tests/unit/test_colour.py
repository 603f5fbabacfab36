"""Colours: taken over where the mask says, by as much as is asked, unmoved by a few odd pixels."""

import numpy as np
import pytest
from slimfusion.faces.fuse.colour import matched_colour
from slimfusion.faces.fuse.pyramid import blended
from slimfusion.opencv import cv2


def skin(red: float, green: float, blue: float, seed: int = 0, size: int = 64) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.03, (size, size, 1))
    return (np.array([red, green, blue]) + noise).clip(0, 1).astype(np.float32)


PALE, DARK = skin(0.85, 0.7, 0.62), skin(0.45, 0.32, 0.25, 1)
ALL = np.ones((64, 64), np.float32)


def test_the_mean_becomes_that_of_the_reference():
    changed = matched_colour(PALE, DARK, ALL)
    assert np.abs(changed.mean((0, 1)) - DARK.mean((0, 1))).max() < 0.01
    assert changed.std() == pytest.approx(DARK.std(), rel=0.2)


def test_half_the_amount_lies_between():
    half = matched_colour(PALE, DARK, ALL, 0.5).mean((0, 1))
    assert (half < PALE.mean((0, 1)) - 0.1).all() and (half > DARK.mean((0, 1)) + 0.1).all()


def test_nothing_asked_nothing_changed():
    assert matched_colour(PALE, DARK, ALL, 0.0) is PALE
    assert matched_colour(PALE, DARK, 0 * ALL) is PALE


def lab(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.asarray(picture, np.float32).reshape(1, -1, 3), cv2.COLOR_RGB2Lab)[0]


@pytest.mark.parametrize("first, then", [(DARK, PALE), (PALE, DARK)])
def test_grey_stays_grey_and_brows_are_as_dark_beside_the_other_skin(first, then):
    picture = first.copy()
    picture[:4], picture[4:8] = 0.12, 0.5 * first[4:8]
    mask = ALL.copy()
    mask[:8] = 0
    changed = matched_colour(picture, then, mask)
    greyish = lab(changed[:4])[:, 1:]
    assert greyish.min() > -1 and greyish.max() < 5, "never blue or green"
    before, after = (
        (lab(each[4:8])[:, 0].mean() + 16) / (lab(each[8:])[:, 0].mean() + 16) for each in (picture, changed)
    )
    assert after == pytest.approx(before, rel=0.03)


def test_gloss_of_dark_skin_is_no_white_spot_on_pale_skin():
    picture = DARK.copy()
    picture[:, :6] += 0.35
    changed = matched_colour(picture, PALE, ALL)
    assert lab(changed[:, :6])[:, 0].max() < lab(PALE)[:, 0].max() + 5
    redness = lab(changed[:, :6])[:, 1:].mean(0) / lab(changed[:, 6:])[:, 1:].mean(0)
    assert redness.min() > 0.6, "no grey patch either"


def test_a_picture_without_colour_takes_the_references_all_over():
    grey = np.repeat(DARK.mean(-1, keepdims=True), 3, -1)
    changed = lab(matched_colour(grey, PALE, ALL))
    assert np.abs(changed[:, 1:].mean(0) - lab(PALE)[:, 1:].mean(0)).max() < 1.5


def test_a_few_odd_pixels_and_what_lies_outside_the_mask_do_not_count():
    odd, mask = DARK.copy(), ALL.copy()
    odd[32:], mask[32:] = 1.0, 0.0
    assert np.array_equal(matched_colour(PALE, odd, mask), matched_colour(PALE, DARK, mask))
    odd[:1] = (0, 1, 0)
    assert np.abs(matched_colour(PALE, odd, mask) - matched_colour(PALE, DARK, mask)).mean() < 0.01


def test_an_even_picture_stays_even():
    grey = np.full((64, 64, 3), 0.4, np.float32)
    assert np.ptp(matched_colour(grey, DARK, ALL), (0, 1)).max() < 1e-4


@pytest.mark.parametrize("shape", [(64, 64), (61, 47), (5, 9)])
def test_a_blend_is_the_one_where_the_weight_is_1_and_the_other_where_it_is_0(shape):
    rng = np.random.default_rng(3)
    first, second = (rng.random((*shape, 3)).astype(np.float32) for _ in range(2))
    ones = np.ones(shape, np.float32)
    assert np.abs(blended(first, second, ones) - first).max() < 1e-5
    assert np.abs(blended(first, second, 0 * ones) - second).max() < 1e-5


def test_a_step_in_lightness_becomes_a_slope():
    weight = np.zeros((128, 128), np.float32)
    weight[:, 64:] = 1
    bright, dark = np.full((2, 128, 128, 3), 0.8, np.float32)[0], np.full((128, 128, 3), 0.2, np.float32)
    row = blended(bright, dark, weight)[64, :, 0]
    assert np.abs(np.diff(row)).max() < 0.1 and row[0] < 0.3 and row[-1] > 0.7
