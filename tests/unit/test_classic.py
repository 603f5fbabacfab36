"""Fusing without a model: the face changes by its weights, the rest keeps its bits."""

from itertools import pairwise

import numpy as np
import pytest
from slimfusion.errors import FacesError, ImageError, SettingError
from slimfusion.faces import warp
from slimfusion.faces.fuse.classic import OUTER_FEATHER, Source, Weights, fuse, opening_mask
from slimfusion.faces.fuse.colour import lab_of
from slimfusion.faces.fuse.light import LIPS_OFF
from slimfusion.faces.paste import Canvas
from slimfusion.opencv import cv2

HEIGHT, WIDTH = 200, 180


def face_points(scale: float = 45, x: float = 90, y: float = 70) -> np.ndarray:
    return warp.MEAN_FACE * scale + (x, y)


def open_mouth(points: np.ndarray, by: float) -> np.ndarray:
    opened = points.copy()
    opened[[55, 56, 57, 58, 59, 65, 66, 67]] += (0, by)
    opened[4:13] += (0, by)
    return opened


def portrait(skin: tuple[float, float, float], iris: tuple[float, float, float], points: np.ndarray) -> np.ndarray:
    """A drawn face: skin, brows, eyes, lips on grey; a little noise, so that colours have a spread."""
    noise = np.random.default_rng(1).normal(0, 0.02, (HEIGHT, WIDTH, 1))
    picture = np.full((HEIGHT, WIDTH, 3), 0.6)
    face = cv2.convexHull(warp.mesh_points(points)[:73].astype(np.float32))[:, 0]
    parts = [(face, skin), (points[warp.LIPS], (0.7, 0.3, 0.3)), (points[warp.MOUTH], (0.9, 0.9, 0.9))]
    parts += [(points[each], iris) for each in (warp.LEFT_EYE, warp.RIGHT_EYE)]
    for polygon, colour in parts:
        picture[warp.polygon_mask(polygon, WIDTH, HEIGHT) > 0] = colour
    return (picture + noise).clip(0, 1).astype(np.float32)


POINTS = face_points()
FRAME = portrait((0.8, 0.65, 0.55), (0.2, 0.5, 0.2), POINTS)
OTHER = Source(portrait((0.5, 0.35, 0.3), (0.1, 0.1, 0.8), face_points(38, 85, 80)), face_points(38, 85, 80))


def fused(weights: Weights, frame: np.ndarray = FRAME, source: Source = OTHER, **more):
    result, painted = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    fuse(Canvas(result, painted=painted, **more), POINTS, source, weights)
    return result, painted


@pytest.mark.parametrize("weights", [Weights(0, 1), Weights(1, 1), Weights(1, 0), Weights(0.5, 0.5)])
def test_outside_the_mask_and_in_alpha_every_bit_stays(weights):
    frame = np.concatenate([FRAME, np.random.default_rng(2).random((HEIGHT, WIDTH, 1), np.float32)], -1)
    frame[0, 0] = np.nan
    wide = Source(OTHER.picture, OTHER.points * (1.1, 1.0))
    result, painted = fused(weights, frame, wide)
    same = result.view(np.int32) == frame.view(np.int32)
    assert same[painted == 0].all() and same[..., 3].all()
    assert 0 < (painted > 0).mean() < 0.9 and not same[painted == 1].all()


def test_no_weight_changes_nothing():
    result, painted = fused(Weights(0, 0))
    assert np.array_equal(result, FRAME) and not painted.any()


def test_texture_without_colour_match_brings_the_skin_and_half_of_it_half():
    cheek = 105, 70
    skin = OTHER.picture[105, 70]
    whole, half = (fused(Weights(0, texture, 0.0))[0][cheek] for texture in (1.0, 0.5))
    assert np.abs(whole - skin).max() < 0.12
    assert np.abs(half - (whole + FRAME[cheek]) / 2).max() < 0.05


def test_with_colour_match_the_skin_keeps_the_frames_colour():
    assert np.abs(fused(Weights(0, 1, 1.0))[0][100:110, 65:75].mean((0, 1)) - (0.8, 0.65, 0.55)).max() < 0.05


def test_open_eyes_and_teeth_stay_the_frames_own():
    points = open_mouth(POINTS, 14)
    frame = portrait((0.8, 0.65, 0.55), (0.2, 0.5, 0.2), points)
    result = frame.copy()
    fuse(Canvas(result), points, OTHER, Weights(0, 1))
    for part in (warp.LEFT_EYE, warp.RIGHT_EYE, warp.MOUTH):
        column, row = np.round(points[part].mean(0)).astype(int)
        assert np.abs(result[row, column] - frame[row, column]).max() < 0.08


def test_a_mouth_that_only_the_sources_shape_opens_is_the_sources():
    own, other = warp.mesh_points(POINTS), warp.mesh_points(open_mouth(POINTS, 14))
    closed = own.copy()
    closed[warp.MOUTH, 1] = closed[warp.MOUTH, 1].mean()
    column, row = np.round(other[warp.MOUTH].mean(0)).astype(int)
    assert opening_mask(other, closed, other, WIDTH, HEIGHT)[row, column] < 0.1
    assert opening_mask(other, other, closed, WIDTH, HEIGHT)[row, column] > 0.9


def test_a_fringe_of_hair_does_not_come_along():
    hairy = OTHER.picture.copy()
    brow = int(OTHER.points[19, 1]) - 2
    hairy[:brow] = (0.05, 0.03, 0.02)
    result, _ = fused(Weights(0, 1), source=Source(hairy, OTHER.points))
    forehead = result[int(POINTS[19, 1]) - 12 : int(POINTS[19, 1]) - 4, 75:105]
    assert forehead.min() > 0.4


def test_shape_moves_the_frames_own_texture():
    wide = Source(OTHER.picture, OTHER.points * (1.3, 1.0))
    result, painted = fused(Weights(1, 0), source=wide)
    left = int(POINTS[3, 0])
    row = int(POINTS[3, 1])
    assert result[row, left - 3, 2] < 0.59 < FRAME[row, left - 3, 2] and painted[row, left - 3] == 1


def test_a_users_mask_limits_it():
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[:, 90:] = 1
    result, painted = fused(Weights(0, 1), user_mask=mask)
    assert np.array_equal(result[:, :90], FRAME[:, :90]) and painted[:, 90:].max() == 1


@pytest.mark.parametrize("place", [(5, 70), (175, 190), (90, -60)])
def test_a_face_cut_by_the_border_is_fused_as_far_as_it_is_seen(place):
    result, painted = FRAME.copy(), np.zeros((HEIGHT, WIDTH), np.float32)
    fuse(Canvas(result, painted=painted), face_points(45, *place), OTHER, Weights(0.5, 1))
    assert painted.max() == 1 and np.isfinite(result).all()
    assert np.array_equal(result[painted == 0], FRAME[painted == 0])


def test_a_face_outside_the_frame_changes_nothing():
    result = FRAME.copy()
    fuse(Canvas(result), face_points(45, -900), OTHER, Weights(1, 1))
    assert np.array_equal(result, FRAME)


def test_wrong_values_are_named():
    with pytest.raises(SettingError, match="texture weight must be between 0 and 1, not 2"):
        Weights(0, 2)
    with pytest.raises(FacesError, match="68 points"):
        fuse(Canvas(FRAME.copy()), np.zeros((68, 2)), OTHER, Weights())
    with pytest.raises(ImageError, match="mask is"):
        fused(Weights(), user_mask=np.ones((3, 3), np.float32))


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shift", [(0, 0), (0.25, 0.5), (0.7, 0.1), (-0.4, 0.95)])
def test_the_mask_has_no_step_inside_the_picture(shape, shift):
    scale = 45
    result, painted = FRAME.copy(), np.zeros((HEIGHT, WIDTH), np.float32)
    fuse(Canvas(result, painted=painted), face_points(scale, 90 + shift[0], 70 + shift[1]), OTHER, Weights(shape, 1))
    steepest = np.pi / 2 / (OUTER_FEATHER * scale)  # of a Hann rise, from pixel to pixel
    steps = max(float(np.abs(np.diff(painted, axis=axis)).max()) for axis in (0, 1))
    assert painted.max() == 1 and steps <= 1.02 * steepest


def test_the_mask_moves_with_the_face_and_does_not_flicker():
    masks = []
    for shift in np.linspace(0, 1, 9):
        masks.append(np.zeros((HEIGHT, WIDTH), np.float32))
        fuse(Canvas(FRAME.copy(), painted=masks[-1]), face_points(45, 90, 70 + shift), OTHER, Weights(0, 1))
    assert max(float(np.abs(b - a).max()) for a, b in pairwise(masks)) < 0.05


def masked_frame(colour: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The frame with something over mouth and chin, and where that is well inside."""
    frame, thing = FRAME.copy(), np.vstack([POINTS[[29]], POINTS[15:1:-1]])
    inside = warp.polygon_mask(thing, WIDTH, HEIGHT)
    frame[inside > 0] = colour
    return frame, cv2.erode(inside, np.ones((7, 7), np.uint8)) > 0


@pytest.mark.parametrize("colour", [(0.05, 0.05, 0.06), (0.4, 0.65, 0.85)])
@pytest.mark.parametrize("shape", [0.0, 0.5])
def test_what_stands_before_the_face_stays(colour, shape):
    frame, inside = masked_frame(colour)
    result = fused(Weights(shape, 1), frame)[0]
    assert np.abs(result - frame)[inside].max() < 2 / 255
    eyes_brow = slice(int(POINTS[19, 1]) - 8, int(POINTS[19, 1]) - 3), slice(75, 105)
    plain = fused(Weights(shape, 1))[0]
    assert np.abs(result[eyes_brow].mean((0, 1)) - plain[eyes_brow].mean((0, 1))).max() < 0.06


def test_lips_come_no_stronger_than_the_frames_allow():
    painted_lips = OTHER.picture.copy()
    lips = warp.polygon_mask(OTHER.points[warp.LIPS], WIDTH, HEIGHT) > 0
    painted_lips[lips & (warp.polygon_mask(OTHER.points[warp.MOUTH], WIDTH, HEIGHT) == 0)] = (0.25, 0.0, 0.05)
    result = fused(Weights(0, 1), source=Source(painted_lips, OTHER.points))[0]
    row, column = np.round(POINTS[[56, 57, 58, 65, 66, 67]].mean(0)[::-1]).astype(int)
    assert result[row, column].mean() > 0.3


def test_pale_lips_of_a_dark_face_take_after_the_frames():
    pale_lips = OTHER.picture.copy()
    lips = warp.polygon_mask(OTHER.points[warp.LIPS], WIDTH, HEIGHT) > 0
    pale_lips[lips] = (0.6, 0.48, 0.44)  # lighter than the skin around them
    result = fused(Weights(0, 1), source=Source(pale_lips, OTHER.points))[0]
    there = (
        warp.polygon_mask(POINTS[warp.LIPS], WIDTH, HEIGHT) - warp.polygon_mask(POINTS[warp.MOUTH], WIDTH, HEIGHT) > 0
    )
    lips, own, skin = (np.median(lab_of(each)[mask], 0) for each, mask in (
        (result, there), (FRAME, there), (FRAME, skin_patch())
    ))  # fmt: skip
    assert lips[0] < skin[0] - 5 and lips[1] > skin[1] + 5
    assert abs(lips[0] - own[0]) < LIPS_OFF + 3


def skin_patch():
    patch = np.zeros((HEIGHT, WIDTH), bool)
    patch[100:110, 65:75] = True
    return patch


def test_a_shadow_on_the_source_is_not_brought_along():
    shadow = np.ones((HEIGHT, WIDTH, 1), np.float32)
    middle = int(OTHER.points[30, 0])
    shadow[:] = np.interp(np.arange(WIDTH), [middle - 15, middle + 15], [0.35, 1.0])[None, :, None]
    result = fused(Weights(0, 1), source=Source(OTHER.picture * shadow, OTHER.points))[0]
    row = int(POINTS[30, 1])
    left, right = (result[row : row + 8, x - 4 : x + 5].mean() for x in (68, 112))
    assert abs(left / right - 1) < 0.2, "0.47 without the frame's light"
