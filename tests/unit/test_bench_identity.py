"""What the measurement of identity counts, on made-up vectors and cases."""

import numpy as np
import pytest
from slimfusion.bench.faces.identity import small, told_apart
from slimfusion.bench.faces.staying_alike import DRAWN, Case, around, damages, figures, guard_bars, scaled
from slimfusion.faces.face import Face


def face() -> Face:
    return Face(0, np.array([20, 30, 60, 90], np.float32), np.full((5, 2), 40, np.float32), 1.0)


def test_people_are_told_apart_or_not():
    people = np.eye(4, dtype=np.float32)
    told = told_apart(people, people + np.float32(0.01), 0.5)
    assert (told.rank1, told.balanced, told.best) == (1.0, 1.0, 1.0)
    mixed = told_apart(people, np.roll(people, 1, 0), 0.5)
    assert mixed.rank1 == 0 and mixed.balanced == pytest.approx((0 + 8 / 12) / 2)


def test_a_small_crop_keeps_its_size_and_loses_detail():
    crop = np.random.default_rng(0).random((150, 150, 3), np.float32)
    assert small(crop).shape == crop.shape and small(crop).std() < 0.5 * crop.std()


def test_figures_count_what_the_guard_did():
    kept = Case("n", "light", 0.9, 0.85, 0.9, (0.4, 0.1, 0.2), 0.5)
    lost = Case("n", "light", 0.9, 0.95, 0.87, (0.4, 0.1, 0.1), 0.0)
    row = figures([kept, lost])
    assert (row["not_less"], row["not_less_free"], row["held_back"]) == (0.5, 0.5, 0.5)
    assert row["most_lost"] == pytest.approx(0.03) and row["gain_kept"] == pytest.approx(0.5 / 0.6)


def test_a_face_keeps_its_place_in_a_smaller_picture():
    half = scaled(face(), 0.5)
    assert half.box.tolist() == [10, 15, 30, 45] and half.landmarks[0].tolist() == [19.75, 19.75]
    assert around(np.zeros((100, 100, 3), np.float32), face()).shape == (100, 100, 3)


def test_each_damage_is_another_and_the_drawn_one_is_in_no_bar():
    clean = np.random.default_rng(1).random((64, 64, 3), np.float32)
    damaged = damages(clean, 3)
    assert list(damaged) == ["light", "medium", "heavy", DRAWN]
    assert all(one.shape == clean.shape and not np.array_equal(one, clean) for one in damaged.values())
    good = Case("n", "light", 0.9, 0.85, 0.9, (0.4, 0.1, 0.1), 0.0)
    bad = Case("n", DRAWN, 0.9, 0.95, 0.5, (0.4, 0.1, 0.4), 0.0)
    bars, rows = guard_bars([good, bad])
    assert [bar["value"] for bar in bars] == pytest.approx([1.0, 0.0, 1.0])
    assert [row["severity"] for row in rows] == ["light", DRAWN, "all"]
