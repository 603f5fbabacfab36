"""The rows that tell editions of the weights apart: the weave's spectrum, the sampler of damage, and the bars."""

import numpy as np
import pytest
from slimfusion.bench.quality import edition, never_worse, weave
from slimfusion.distill.degrade import Image


def noise(height: int = 128, width: int = 192, seed: int = 0) -> Image:
    return 0.5 + 0.05 * np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)


def test_a_picture_without_a_grid_has_no_weave() -> None:
    assert np.abs(weave.mean_ratios([noise(512, 512, seed) for seed in range(4)]) - 1).max() < 0.25


@pytest.mark.parametrize(("index", "period"), [(0, 8), (1, 4), (3, 2)])
def test_lines_of_a_period_stand_out_in_their_own_direction(index: int, period: int) -> None:
    picture = noise()
    x = np.arange(picture.shape[1])
    picture += (0.02 * np.cos(2 * np.pi * x / period))[None, :, None].astype(np.float32)
    rows, columns = weave.grid_ratios(picture)
    assert rows[index] > 5 and columns.max() < 2
    assert np.delete(rows, index).max() < 2
    assert weave.grid_ratios(picture.transpose(1, 0, 2))[1] == pytest.approx(rows, rel=1e-5)


def test_what_no_screen_shows_is_no_weave() -> None:
    picture = np.full((128, 128, 3), 0.5, np.float64)
    picture += (1e-5 * np.cos(np.pi / 2 * np.arange(128)))[None, :, None]
    assert weave.grid_ratios(picture.astype(np.float32)).max() < 2


def test_the_sampler_repeats_reaches_both_ends_and_now_and_then_draws_none() -> None:
    clean = noise(64, 48)
    first, damage = never_worse.randomly_damaged(clean, 3)
    again, same = never_worse.randomly_damaged(clean, 3)
    assert np.array_equal(first, again) and damage == same
    assert first.shape == clean.shape and first.dtype == np.float32 and first.min() >= 0 and first.max() <= 1
    drawn = [never_worse.random_damage(np.random.default_rng(seed)) for seed in range(500)]
    assert 1 <= sum(one.none for one in drawn) <= 40
    assert max(one.scale for one in drawn) > 3.5 and min(one.jpeg for one in drawn) < 40
    assert 0 < sum(one.blur[0] != one.blur[1] for one in drawn) < 200


def test_no_damage_returns_the_picture() -> None:
    clean = np.clip(noise(64, 48), 0, 1)
    nothing = never_worse.Damage((0.0, 0.0), 0.0, 1.0, 0.0, 0.0, 100)
    assert nothing.none and np.array_equal(never_worse.damaged(clean, nothing, np.random.default_rng(0)), clean)


def test_pictures_made_worse_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edition, "lpips_distance", lambda a, b: float(np.abs(a - b).mean()))
    people = [np.clip(noise(64, 64, seed), 0, 1) for seed in range(10)]
    left_clean = sum(never_worse.randomly_damaged(person, i)[1].none for i, person in enumerate(people))

    def spoil(picture: Image, fidelity: float) -> Image:
        return np.clip(picture + 0.2, 0, 1).astype(np.float32)

    rows = edition.worse_rows(people, spoil)
    assert rows["worse_psnr_share"] == rows["worse_lpips_share"] == 1 - left_clean / 10
    unchanged = edition.worse_rows(people, lambda picture, fidelity: picture)
    assert unchanged["worse_psnr_share"] == unchanged["worse_lpips_share"] == 0


def test_every_bar_has_the_other_files_figure_beside_it() -> None:
    values = {name: limit.value for name, limit in edition.limits().items()}
    assert all(bar["ok"] for bar in edition.bars_of(values, None))
    worse = {name: limit.value + (-0.01 if limit.least else 0.01) for name, limit in edition.limits().items()}
    bars = edition.bars_of(worse, values)
    assert not any(bar["ok"] for bar in bars)
    assert all(bar["against"] == pytest.approx(values[bar["name"]]) for bar in bars)
