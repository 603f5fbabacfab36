"""Degradations: the same for a seed, worse with severity, harmless where a step is off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slimfusion.distill import degrade
from slimfusion.distill.degrade import Image, Severity
from slimfusion.errors import SettingError


def scene(height: int = 96, width: int = 128) -> Image:
    """Soft colour fields with some hard edges."""
    y, x = np.mgrid[:height, :width] / 16
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1) / 4 + 0.5
    waves[height // 3 : height // 2, width // 4 : width // 2] = (0.9, 0.2, 0.3)
    return waves.astype(np.float32)


def psnr(first: Image, second: Image) -> float:
    return float(-10 * np.log10(np.square(first - second).mean()))


@pytest.mark.parametrize("name", list(degrade.SEVERITIES))
def test_a_preset_repeats_for_a_seed_and_differs_for_another(name: str) -> None:
    first, again, other = (degrade.degrade(scene(), degrade.severity(name), seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(24, 90), width=st.integers(24, 90), name=st.sampled_from(list(degrade.SEVERITIES)))
def test_shape_type_and_range_are_kept(height: int, width: int, name: str) -> None:
    result = degrade.degrade(scene(height, width), degrade.severity(name), 0)
    assert result.shape == (height, width, 3) and result.dtype == np.float32
    assert result.min() >= 0 and result.max() <= 1


def test_presets_are_ordered_by_the_damage_they_do() -> None:
    light, medium, heavy = (
        psnr(degrade.degrade(scene(), preset, 0), scene()) for preset in degrade.SEVERITIES.values()
    )
    assert light - medium > 0.5 and medium - heavy > 0.5


def test_unknown_severity_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match="'extreme'; choose one of light, medium, heavy"):
        degrade.severity("extreme")


def test_steps_that_are_off_return_the_picture_itself() -> None:
    image, rng = scene(), np.random.default_rng(0)
    assert degrade.blurred(image, 0) is image
    assert degrade.shrunk(image, 1, degrade.cv2.INTER_AREA) is image
    assert degrade.with_gaussian_noise(image, 0, rng) is image
    assert degrade.with_shot_noise(image, 0, rng) is image


def test_the_given_picture_is_left_alone() -> None:
    image = scene()
    degrade.degrade(image, degrade.severity("heavy"), 0)
    assert np.array_equal(image, scene())


@pytest.mark.parametrize("add", [degrade.with_gaussian_noise, degrade.with_shot_noise])
def test_noise_has_the_sigma_asked_for_at_middle_grey(add) -> None:  # type: ignore[no-untyped-def]
    grey = np.full((128, 128, 3), 0.5, np.float32)
    assert float((add(grey, 0.04, np.random.default_rng(0)) - grey).std()) == pytest.approx(0.04, rel=0.05)


def test_grey_noise_is_the_same_in_all_channels() -> None:
    noisy = degrade.with_gaussian_noise(
        np.full((16, 16, 3), 0.5, np.float32), 0.05, np.random.default_rng(0), grey=True
    )
    assert np.array_equal(noisy[..., 0], noisy[..., 1]) and noisy.std() > 0.03


def test_uneven_blur_spreads_along_its_long_axis() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    spread = degrade.blurred_unevenly(point, (3.0, 1.0), 0.0)
    assert spread.sum() == pytest.approx(3, rel=1e-4)
    assert spread[20, 24, 0] > 10 * spread[24, 20, 0]


def test_jpeg_loses_more_at_lower_quality_and_keeps_the_colour_order() -> None:
    high, low = (psnr(degrade.jpeg_coded(scene(), quality), scene()) for quality in (90, 30))
    assert high > low > 20


def test_training_severities_reach_past_the_presets_and_leave_steps_out() -> None:
    rng = np.random.default_rng(0)
    drawn = [degrade.random_severity(rng) for _ in range(400)]
    for name in ("blur", "scale", "noise"):
        values = [getattr(one, name) for one in drawn]
        heaviest = getattr(degrade.severity("heavy"), name)
        assert min(values) == (1 if name == "scale" else 0) and heaviest < max(values) <= 1.5 * heaviest
    assert {one.jpeg for one in drawn} >= {100, 50, 70, 85}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_degradation_keeps_the_shape_and_repeats(seed: int) -> None:
    image = scene(72, 72)
    result = degrade.degraded_randomly(image, np.random.default_rng(seed))
    assert result.shape == image.shape and result.dtype == np.float32
    assert np.array_equal(result, degrade.degraded_randomly(image, np.random.default_rng(seed)))


def test_some_training_pictures_stay_untouched() -> None:
    image, rng = scene(48, 48), np.random.default_rng(3)
    untouched = sum(degrade.degraded_randomly(image, rng) is image for _ in range(200))
    assert 2 <= untouched <= 30


def test_motion_blur_smears_along_its_line_alone_and_keeps_brightness() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    smeared = degrade.motion_blurred(point, 9, 0.0)
    assert smeared.sum() == pytest.approx(3, rel=1e-4)
    assert smeared[20, 17:24, 0].min() > 0.1
    assert abs(smeared[18, 20, 0]) < 1e-6 and abs(smeared[20, 28, 0]) < 1e-6
    assert degrade.motion_blurred(point, 1, 0.0) is point


def test_film_grain_is_grey_soft_and_strongest_in_middle_tones() -> None:
    halves = np.full((128, 128, 3), 0.5, np.float32)
    halves[:64] = 0.02
    grain = degrade.with_film_grain(halves, 0.05, 1.0, np.random.default_rng(0)) - halves
    assert np.allclose(grain[..., 0], grain[..., 1], atol=1e-6)
    assert grain[64:].std() == pytest.approx(0.05, rel=0.15) and grain[:64].std() < 0.5 * grain[64:].std()
    assert np.corrcoef(grain[64:, :-1, 0].ravel(), grain[64:, 1:, 0].ravel())[0, 1] > 0.5  # neighbours are alike


def test_training_pictures_are_now_and_then_grey_or_dark() -> None:
    image, rng = scene(24, 24), np.random.default_rng(0)
    looks = [degrade.random_look(image, rng) for _ in range(400)]
    grey = sum(np.ptp(look, axis=2).max() < 1e-6 for look in looks)
    dark = sum(look.max() <= image.max() * degrade.BRIGHTNESS[1] for look in looks)
    assert 16 <= grey <= 52 and 16 <= dark <= 52
    assert sum(look is image for look in looks) > 300


def test_light_damage_stays_light() -> None:
    rng = np.random.default_rng(0)
    drawn = [degrade.light_severity(rng) for _ in range(200)]
    light = degrade.severity("light")
    assert max(one.noise for one in drawn) <= 2 * light.noise and min(one.jpeg for one in drawn) >= 70
    assert max(one.scale for one in drawn) <= 2.5 and any(one.scale > 1 and one.jpeg == 100 for one in drawn)


def test_heavy_damage_is_worse_than_medium_and_repeats() -> None:
    image = scene(72, 72)
    heavy = [degrade.degraded_heavily(image, np.random.default_rng(seed)) for seed in range(12)]
    assert all(one.shape == image.shape and one.dtype == np.float32 for one in heavy)
    assert np.array_equal(heavy[3], degrade.degraded_heavily(image, np.random.default_rng(3)))
    medium = [psnr(degrade.degrade(image, degrade.severity("medium"), seed), image) for seed in range(12)]
    assert max(psnr(one, image) for one in heavy) < np.mean(medium)


def test_a_tiny_picture_survives_a_large_shrink() -> None:
    result = degrade.degrade(scene(20, 12), Severity(blur=2, scale=16, noise=0.02, jpeg=40), 0)
    assert result.shape == (20, 12, 3)
