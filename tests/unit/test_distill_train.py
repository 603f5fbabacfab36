"""Training: repeats, resumes to the same curve, learns, and never opens the held-back folder."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from slimfusion.distill import data, losses, train
from slimfusion.engines.backends.architectures import slim_unet
from slimfusion.errors import ImageError

TINY = train.Recipe(steps=4, widths=(8, 8), depths=(1, 1), patch=32, batch=2, half=False)


def pixels(seed: int, side: int = 96) -> data.Pixels:
    y, x = np.mgrid[:side, :side] / (6 + seed)
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)
    return np.rint(127.5 + 100 * waves).astype(np.uint8)


@pytest.fixture
def pictures() -> data.Pictures:
    faces = data.Group(tuple(pixels(seed) for seed in range(3)), 0.8, faces=True)
    others = data.Group((pixels(9, 128),), 0.2, faces=False)
    return data.Pictures((faces, others), (pixels(5), pixels(6)))


def curve(run: train.Run, recipe: train.Recipe, pictures: data.Pictures) -> list[float]:
    values = []
    while train.progress(run, recipe) < 1:
        pair = data.batch(pictures, recipe.patch, recipe.batch, (recipe.seed, run.step))
        values.append(train.train_step(run, recipe, *pair))
    return values


def test_an_interrupted_run_goes_on_along_the_same_curve(pictures: data.Pictures, tmp_path: Path) -> None:
    whole = train.new_run(TINY)
    expected = curve(whole, TINY, pictures)
    first = train.new_run(TINY)
    for step in range(2):
        train.train_step(first, TINY, *data.batch(pictures, TINY.patch, TINY.batch, (TINY.seed, step)))
    train.save_checkpoint(first, tmp_path)
    second = train.resumed_run(TINY, tmp_path)
    assert (second.step, curve(second, TINY, pictures)) == (2, expected[2:])
    for one, other in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_tiny_set_is_learned(pictures: data.Pictures) -> None:
    recipe = replace(TINY, steps=120, widths=(16, 16), rate=2e-3)
    run, pair = train.new_run(recipe), data.batch(pictures, 32, 4, (1, 1))
    values = [train.train_step(run, recipe, *pair) for _ in range(120)]
    assert np.mean(values[-10:]) < 0.8 * values[0]


def test_a_run_writes_weights_that_load_and_say_how_they_were_made(
    pictures: data.Pictures, tmp_path: Path
) -> None:
    run = train.train(TINY, pictures, tmp_path)
    train.save_weights(run, TINY, tmp_path / "new" / "weights.safetensors")
    network = slim_unet.load(load_file(tmp_path / "new" / "weights.safetensors"), {})
    assert (network.widths, network.depths) == (TINY.widths, TINY.depths)
    with safe_open(tmp_path / "new" / "weights.safetensors", "pt") as file:
        assert file.metadata()["training"].startswith("4 steps of 2 patches of 32 px")


def test_learning_rate_warms_up_and_falls_to_its_end() -> None:
    rates = [train.rate_at(done, TINY) for done in np.linspace(0, 1, 101)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(TINY.rate)
    assert all(later < earlier for earlier, later in pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(TINY.last_rate)


def test_minutes_are_the_share_of_the_clock_that_has_run() -> None:
    run = train.new_run(TINY)
    run.seconds = 90.0
    assert train.progress(run, replace(TINY, steps=None, minutes=3)) == 0.5


def test_patches_repeat_for_a_seed_and_stay_in_range(pictures: data.Pictures) -> None:
    first, again, other = (data.batch(pictures, 32, 3, (7, step)) for step in (0, 0, 1))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    assert first[0].shape == (3, 3, 32, 32) and first[0].min() >= 0 and first[0].max() <= 1


def test_crops_never_leave_the_picture() -> None:
    rng = np.random.default_rng(0)
    for faces in (True, False):
        corners = np.array([data.crop_corner((100, 120, 3), 64, faces, rng) for _ in range(300)])
        assert corners.min() == 0 and (corners <= (36, 56)).all()


def folder_of(root: Path, name: str, count: int) -> None:
    (root / name).mkdir()
    for index in range(count):
        cv2.imwrite(str(root / name / f"{index:02}.png"), pixels(index, 160))


def test_pairs_are_never_opened_and_held_out_portraits_never_trained_on(tmp_path: Path) -> None:
    folder_of(tmp_path, "portraits", data.HELD_OUT + 2)
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "001.png").write_bytes(b"would raise ImageError if it were read")
    found = data.read_pictures(tmp_path)
    assert len(found.held_out) == data.HELD_OUT
    trained = [picture for group in found.groups for picture in group.pictures]
    assert not any(np.array_equal(one, held) for one in trained for held in found.held_out)


def test_too_few_portraits_and_broken_files_are_named(tmp_path: Path) -> None:
    folder_of(tmp_path, "portraits", 3)
    with pytest.raises(ImageError, match="holds 3 pictures: put more than 10"):
        data.read_pictures(tmp_path)
    (tmp_path / "portraits" / "03.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"03\.jpg cannot be read"):
        data.read_pictures(tmp_path)


def test_held_out_psnr_of_an_untrained_network_is_that_of_its_input(pictures: data.Pictures) -> None:
    figures = train.held_out_psnr(train.new_run(TINY).average, data.held_out_pairs(pictures))
    assert list(figures) == ["light", "medium", "heavy"]
    assert all(before == pytest.approx(after, abs=0.01) for before, after in figures.values())


def test_losses_are_zero_without_error_and_known_for_a_known_one() -> None:
    picture = torch.rand(2, 3, 8, 8)
    assert losses.frequency(picture, picture) == 0
    assert losses.charbonnier(picture, picture) == pytest.approx(1e-3)
    assert losses.charbonnier(picture, picture + 0.1) == pytest.approx(math.hypot(0.1, 1e-3), rel=1e-4)
    # A constant error of 0.1 has one spectral line of 0.1 * 8 among 8 * 5 * 2 real numbers.
    assert losses.frequency(picture, picture + 0.1) == pytest.approx(0.8 / 80, rel=1e-3)
