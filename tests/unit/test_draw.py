"""The preview shows every face and leaves its input alone."""

import numpy as np
import pytest
from slimfusion.faces.draw import draw_faces
from slimfusion.faces.face import Face


def face(x0: float, y0: float, side: float) -> Face:
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + [x0, y0]
    return Face(0, np.array([x0, y0, x0 + side, y0 + side], np.float32), points.astype(np.float32), 0.9)


@pytest.mark.parametrize("channels", [3, 4])
def test_draws_on_a_copy_and_keeps_alpha(channels):
    frame = np.full((300, 400, channels), 0.5, np.float32)
    drawn = draw_faces(frame, [face(100, 80, 120), face(250, 150, 60)])
    assert (frame == 0.5).all() and drawn.shape == frame.shape and drawn.dtype == np.float32
    assert (drawn[..., 3:] == 0.5).all()
    for corner_x, corner_y in ((160, 80), (100, 150), (280, 150)):
        assert np.ptp(drawn[corner_y - 2 : corner_y + 3, corner_x - 2 : corner_x + 3, :3]) > 0.2
    assert np.ptp(drawn[128, 136, :3]) > 0.2  # the left eye
    assert (drawn[:, :60] == 0.5).all()


def test_faces_are_told_apart_by_their_number():
    frame = np.zeros((300, 400, 3), np.float32)
    first, second = face(40, 100, 100), face(240, 100, 100)
    drawn = draw_faces(frame, [first, second])
    assert not np.array_equal(drawn[:, 30:190], drawn[:, 230:390])


def test_lines_grow_with_the_frame():
    shares = []
    for scale in (1, 4):
        frame = np.zeros((400 * scale, 400 * scale, 3), np.float32)
        drawn = draw_faces(frame, [face(100 * scale, 100 * scale, 200 * scale)])
        shares.append((drawn.max(2) > 0.3).mean())
    assert 0.5 < shares[1] / shares[0] < 2


@pytest.mark.parametrize("place", [(-50, -50, 100), (180, 180, 100), (500, 500, 40), (0, 0, 1)])
def test_faces_at_and_beyond_the_border(place):
    drawn = draw_faces(np.full((200, 220, 3), np.nan, np.float32), [face(*place)])
    assert drawn.shape == (200, 220, 3)


def test_no_faces_no_change():
    frame = np.random.default_rng(0).random((20, 30, 3), np.float32)
    assert np.array_equal(draw_faces(frame, []), frame)
