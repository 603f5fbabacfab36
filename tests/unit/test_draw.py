"""The preview shows every face and leaves its input alone."""

import numpy as np
import pytest
import torch
from slimfusion.faces import draw
from slimfusion.faces.face import Face


def face(x0: float, y0: float, side: float) -> Face:
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + [x0, y0]
    return Face(0, np.array([x0, y0, x0 + side, y0 + side], np.float32), points.astype(np.float32), 0.9)


def draw_faces(frame, faces):
    drawn = frame.copy()
    draw.draw_faces(drawn, faces)
    return drawn


@pytest.mark.parametrize("channels", [3, 4])
def test_draws_inside_the_frame_and_keeps_alpha(channels):
    frame = np.full((300, 400, channels), 0.5, np.float32)
    drawn = draw_faces(frame, [face(100, 80, 120), face(250, 150, 60)])
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


@pytest.mark.parametrize("height, width", [(4000, 6000), (6000, 4000), (300, 400), (1080, 1920)])
def test_numbers_can_be_read_when_a_large_picture_is_shown_small(height, width):
    side = max(height, width) / 10
    first, second = (draw_faces(np.zeros((height, width, 3), np.float32), [face(side, side, side)] * n) for n in (1, 2))
    rows, columns = np.nonzero((first != second).any(2))  # where 0 became 1
    shown = 400 / max(height, width)
    assert np.ptp(rows) * min(1, shown) >= 8 and np.ptp(columns) * min(1, shown) >= 4


def test_a_page_gets_few_frames_and_small_ones():
    shown = draw.Shown(torch.rand(40, 500, 2000, 3))
    assert len(shown) == 16 and len(list(shown)) == 16
    assert shown[0].shape == (256, 1024, 3)
    assert torch.equal(draw.Shown(shown.frames[:1, :40, :30])[0], shown.frames[0, :40, :30])
