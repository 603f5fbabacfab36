"""Training: repeats, resumes to the same curve, learns, and never opens the held-back folder."""

import math
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from judges import random_lpips
from safetensors import safe_open
from safetensors.torch import load_file
from slimfusion.distill import data, losses, report, train
from slimfusion.distill.recipe import Recipe
from slimfusion.distill.teachers import Teacher, checked_scale
from slimfusion.distill.training_run import (
    Run,
    fold_between,
    new_run,
    resumed_run,
    save_checkpoint,
    save_weights,
    share_gradient,
    weights_of,
)
from slimfusion.engines.torch.architectures import slim_unet
from slimfusion.errors import ImageError, ModelFileError, OutputError, SettingError

TINY = Recipe(steps=4, widths=(8, 8), depths=(1, 1), patch=32, batch=2, sharp_share=0.0)
NOBODY = train.Judges()
DARKENING = Teacher("darkening", 1, 1, None, lambda x: x * 0.9)


def pixels(seed: int, side: int = 96) -> data.Pixels:
    y, x = np.mgrid[:side, :side] / (6 + seed)
    waves = np.stack([np.sin(x), np.cos(y), np.sin(x + y)], -1)
    return np.rint(127.5 + 100 * waves).astype(np.uint8)


@pytest.fixture
def pictures() -> data.Pictures:
    faces = data.Group(tuple(pixels(seed) for seed in range(3)), 0.8, faces=True)
    others = data.Group((pixels(9, 128),), 0.2, faces=False)
    return data.Pictures((faces, others), (pixels(5), pixels(6)))


def curve(run: Run, recipe: Recipe, pictures: data.Pictures, judges: train.Judges = NOBODY) -> list[float]:
    values = []
    while recipe.progress(run.step, run.seconds) < 1:
        lesson = train.lesson_at(recipe, pictures, judges, run.step)
        values.append(train.train_step(run, recipe, judges, lesson))
    return values


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_goes_on_along_the_same_curve(pictures: data.Pictures, tmp_path: Path, stop: int) -> None:
    judges = train.Judges(alex=random_lpips(), teacher=DARKENING)
    recipe = replace(TINY, patch=64, sharp_share=0.5, teacher=0.5)
    whole = new_run(recipe)
    expected = curve(whole, recipe, pictures, judges)
    first = new_run(recipe)
    for step in range(stop):
        train.train_step(first, recipe, judges, train.lesson_at(recipe, pictures, judges, step))
    save_checkpoint(first, recipe, tmp_path)
    second = resumed_run(recipe, tmp_path)
    assert (second.step, curve(second, recipe, pictures, judges)) == (stop, expected[stop:])
    for one, other in zip(weights_of(whole).values(), weights_of(second).values(), strict=True):
        assert torch.equal(one, other)


def test_a_joint_run_moves_everything_and_goes_on_along_the_same_curve(pictures: data.Pictures, tmp_path: Path) -> None:
    judges, recipe = train.Judges(alex=random_lpips()), replace(TINY, patch=64, steps=6, joint=True, weave=0.1)
    whole, before = new_run(recipe), new_run(recipe)
    expected = curve(whole, recipe, pictures, judges)
    first = new_run(recipe)
    for step in range(3):
        train.train_step(first, recipe, judges, train.lesson_at(recipe, pictures, judges, step))
    save_checkpoint(first, recipe, tmp_path)
    assert curve(resumed_run(recipe, tmp_path), recipe, pictures, judges) == expected[3:]
    for one, other in zip(whole.trained(), before.trained(), strict=True):
        assert not torch.equal(one, other)
    assert any(name.startswith("delta.") for name in weights_of(whole))


def test_the_finest_levels_of_the_encoder_rest_in_a_joint_run(pictures: data.Pictures, tmp_path: Path) -> None:
    small = replace(TINY, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), patch=64)
    save_weights(new_run(small), small, tmp_path / "start.safetensors")
    recipe = replace(small, start=tmp_path / "start.safetensors", joint=True, rests=True)
    judges, run, before = train.Judges(alex=random_lpips()), new_run(recipe), new_run(recipe)
    curve(run, recipe, pictures, judges)
    now, then = dict(run.network.named_parameters()), dict(before.network.named_parameters())
    still = {name for name in now if torch.equal(now[name], then[name])}
    fine = ("stem.", "encoder.0.", "encoder.1.", "down.0.", "down.1.")
    assert still == {name for name in now if name.startswith(fine)}
    averages = dict(run.average.named_parameters())
    assert {name for name in now if torch.equal(averages[name], then[name])} == still


class Through(torch.nn.Module):
    """A network that always goes through one decoder, which can then be replaced by tensors with a history."""

    def __init__(self, network: slim_unet.SlimUnet, decoder: slim_unet.Decoder) -> None:
        super().__init__()
        self.network, self.decoder = network, decoder

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.network(picture, self.decoder)
        return output


@pytest.mark.parametrize("amount", [0.0, 0.25, 1.0])
def test_both_decoders_get_their_share_of_a_joint_steps_gradient(amount: float) -> None:
    run = new_run(replace(TINY, joint=True))
    for seed, module in enumerate((run.network, run.sharp)):
        torch.manual_seed(seed)
        for parameter in module.parameters():
            parameter.data = 0.1 * torch.randn_like(parameter)
    picture = torch.rand(1, 3, 32, 32)
    own = dict(run.network.named_parameters())
    mixed = {f"decoder.{name}": torch.lerp(own[name], p, amount) for name, p in run.sharp.named_parameters()}
    torch.func.functional_call(Through(run.network, run.sharp), mixed, picture).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in run.trained() if parameter.grad is not None]
    run.optimiser.zero_grad()
    run.network(picture, fold_between(run, amount)).square().sum().backward()
    share_gradient(run, amount)
    found = [parameter.grad for parameter in run.trained() if parameter.grad is not None]
    assert len(found) == len(expected) == len(run.trained())
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_joint_run_trains_both_ends_and_the_default() -> None:
    run, recipe = new_run(replace(TINY, joint=True)), replace(TINY, joint=True)
    amounts = []
    for run.step in range(200):
        amounts.append(train.amount_at(run, recipe))
    assert all(50 <= amounts.count(value) <= 90 for value in (0.0, 1.0))
    assert set(amounts) == {0.0, train.DEFAULT, 1.0}


def test_ctrl_c_finishes_the_step_and_keeps_it(pictures: data.Pictures, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=10_000)

    def press(_: str) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train.train(recipe, pictures, tmp_path, NOBODY, say=press)
    assert resumed_run(recipe, tmp_path).step == train.LOG_EVERY


def test_a_full_disk_is_named_and_leaves_the_older_state(
    pictures: data.Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(TINY)
    save_checkpoint(run, TINY, tmp_path)

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    run.step = 3
    with pytest.raises(OutputError, match=r"step 3 cannot be written .* make room"):
        save_checkpoint(run, TINY, tmp_path)
    assert resumed_run(TINY, tmp_path).step == 0 and not list(tmp_path.glob("*.new"))


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    save_checkpoint(new_run(TINY), TINY, tmp_path)
    with pytest.raises(SettingError, match="another recipe"):
        resumed_run(replace(TINY, rate=1e-3), tmp_path)
    (tmp_path / "run.pt").write_bytes(b"torn")
    with pytest.raises(ModelFileError, match="damaged: delete it"):
        resumed_run(TINY, tmp_path)


def test_a_tiny_set_is_learned(pictures: data.Pictures) -> None:
    recipe = replace(TINY, steps=120, widths=(16, 16), rate=2e-3, sharp_share=0)
    run, lesson = new_run(recipe), train.Lesson(*data.batch(pictures, 32, 4, (1, 1)))
    values = [train.train_step(run, recipe, NOBODY, lesson) for _ in range(120)]
    assert np.mean(values[-10:]) < 0.8 * values[0]


def test_the_sharp_stage_moves_the_second_decoder_alone(pictures: data.Pictures, tmp_path: Path) -> None:
    recipe, judges = replace(TINY, patch=64, sharp_share=0.5), train.Judges(alex=random_lpips())
    run = train.train(recipe, pictures, tmp_path, judges, say=lambda _: None)
    save_weights(run, recipe, tmp_path / "new" / "weights.safetensors")
    network = slim_unet.load(load_file(tmp_path / "new" / "weights.safetensors"), {})
    assert network.delta is not None and any(p.any() for p in network.delta.parameters())
    assert torch.equal(run.network.stem.weight, run.average.stem.weight)  # at rest since the first stage ended
    assert (tmp_path / "samples.png").stat().st_size > 0
    with safe_open(tmp_path / "new" / "weights.safetensors", "pt") as file:
        assert file.metadata()["training"].startswith("4 steps of 2 patches of 64 px")


def test_a_run_goes_on_from_weights_with_two_decoders(pictures: data.Pictures, tmp_path: Path) -> None:
    recipe, judges = replace(TINY, patch=64, sharp_share=0.5), train.Judges(alex=random_lpips())
    first = train.train(recipe, pictures, tmp_path / "a", judges, say=lambda _: None)
    save_weights(first, recipe, tmp_path / "first.safetensors")
    second = new_run(replace(recipe, start=tmp_path / "first.safetensors"))
    for one, other in zip(first.sharp_average.parameters(), second.sharp.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    with pytest.raises(ModelFileError, match="has widths"):
        new_run(replace(recipe, widths=(4, 4), start=tmp_path / "first.safetensors"))


def test_learning_rate_warms_up_and_falls_to_its_end() -> None:
    rates = [TINY.rate_at(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(TINY.rate)
    assert all(later < earlier for earlier, later in pairwise(rates[2:]))
    assert rates[-1] == pytest.approx(TINY.last_rate)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": None}, "needs a length"),
        ({"minutes": 5.0}, "either in minutes or in steps"),
        ({"patch": 50}, "multiple of 4 px"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"sharp_share": 1.5}, "between 0 and 1"),
        ({"weave": 0.1}, "patches of 64 px and more, not of 32"),
    ],
)
def test_senseless_recipes_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        replace(TINY, **change)


def test_a_teacher_answers_at_the_size_it_was_asked_in() -> None:
    enlarging = Teacher("x4", 4, 8, None, lambda x: torch.nn.functional.interpolate(x, scale_factor=4))
    damaged = torch.rand(2, 3, 48, 80)
    assert enlarging.taught(damaged).shape == damaged.shape
    assert torch.allclose(
        enlarging.taught(damaged)[..., :4, :4], damaged[..., :4, :4].mean((-1, -2), True).expand(-1, -1, 4, 4)
    )


@pytest.mark.parametrize(("scale", "patch"), [(16, 128), (3, 128)])
def test_a_teacher_of_an_unusable_scale_is_refused(scale: int, patch: int) -> None:
    with pytest.raises(ModelFileError, match=f"enlarges by {scale}"):
        checked_scale("teacher.pth", scale, patch)


def test_a_teacher_fixed_to_a_size_sees_whole_crops_of_it(pictures: data.Pictures) -> None:
    seen = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.shape)
        return batch * 0.5

    judges = train.Judges(teacher=Teacher("face", 1, 1, 64, forward))
    lesson = train.lesson_at(replace(TINY, batch=6, teacher=1.0), pictures, judges, 0)
    assert seen == [(1, 3, 64, 64)] * 2 and lesson.damaged.shape == (6, 3, 32, 32)
    assert lesson.taught is not None and torch.allclose(lesson.taught, lesson.damaged * 0.5)


def test_minutes_are_the_share_of_the_clock_that_has_run() -> None:
    assert replace(TINY, steps=None, minutes=3).progress(7, 90.0) == 0.5


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


def test_crops_are_drawn_to_eyes_and_mouth() -> None:
    points = np.array([[60, 70], [100, 70], [80, 90], [62, 120], [98, 120]], np.float32)
    rng = np.random.default_rng(0)
    corners = np.array([data.corner_around(points, (200, 160, 3), 64, rng) for _ in range(300)])
    assert corners.min() >= 0 and (corners <= (136, 96)).all()
    middles = corners[:, ::-1] + 32
    places = np.array([points[0], points[1], points[3:].mean(0)])
    assert (np.abs(middles[:, None] - places).max(-1).min(-1) <= 17).all()


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


def test_too_few_portraits_are_named_and_broken_and_tiny_files_left_out(tmp_path: Path) -> None:
    folder_of(tmp_path, "portraits", 3)
    with pytest.raises(ImageError, match="holds 3 pictures: put more than 10"):
        data.read_pictures(tmp_path)
    folder_of(tmp_path / "portraits", "more", data.HELD_OUT)
    (tmp_path / "portraits" / "03.jpg").write_bytes(b"not a picture")
    cv2.imwrite(str(tmp_path / "portraits" / "04.png"), pixels(1, 20))
    found = data.read_pictures(tmp_path)
    assert len(found.skipped) == 2
    assert "03.jpg cannot be read" in found.skipped[0] and "20 x 20 pixels, under 144" in found.skipped[1]


def test_any_folder_will_do_and_holds_out_every_tenth(tmp_path: Path) -> None:
    folder_of(tmp_path, "mine", 11)
    (tmp_path / "mine" / "pairs").mkdir()
    (tmp_path / "mine" / "pairs" / "0.png").write_bytes(b"is never opened")
    found = data.read_pictures(tmp_path)
    assert (len(found.held_out), len(found.groups[0].pictures), found.skipped) == (2, 9, ())
    with pytest.raises(ImageError, match="holds 0 pictures"):
        data.read_pictures(tmp_path / "nothing")


def test_an_untrained_network_returns_its_input_on_the_held_out_pictures(pictures: data.Pictures) -> None:
    figures = report.held_out_figures(new_run(TINY).average, None, data.held_out_pairs(pictures), None)
    assert list(figures) == ["light", "medium", "heavy"]
    assert all(each.psnr_before == pytest.approx(each.psnr_after, abs=0.01) for each in figures.values())


def test_a_teacher_is_believed_where_it_is_right() -> None:
    truth, output = torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 4, 4), 0.4)
    right, wrong = truth + 0.01, truth + 0.4
    assert losses.soft(output, right, truth, 0.1) == pytest.approx(0.11 * math.exp(-0.1), rel=1e-3)
    # An error four times the temperature leaves 2 % of its weight.
    assert losses.soft(output, wrong, truth, 0.1) == pytest.approx(0.5 * math.exp(-4), rel=1e-3)


def striped(period: int, strength: float, side: int = 128) -> torch.Tensor:
    """Noise with brighter columns every `period` px."""
    noise = 0.5 + 0.05 * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    noise[..., ::period] += strength
    return noise


@pytest.mark.parametrize(("period", "moved"), [(8, False), (8, True), (4, False), (2, True)])
def test_lines_at_the_networks_grid_are_a_weave(period: int, moved: bool) -> None:
    plain, woven = striped(period, 0.0), striped(period, 0.03)
    woven = woven.transpose(-1, -2) if moved else woven
    assert losses.weave(woven, plain) > losses.weave(plain, plain) + 0.1
    assert losses.weave(plain, plain) == 0


def test_lines_that_the_original_has_and_lines_elsewhere_are_none() -> None:
    woven = striped(8, 0.03)
    assert losses.weave(woven, woven) == 0
    plain = striped(8, 0.0)
    elsewhere = plain + 0.03 * torch.cos(2 * math.pi * torch.arange(128) / 128 * 25)  # between the grid's 16 and 32
    assert losses.weave(elsewhere, plain) <= losses.weave(plain, plain) + 0.01


def test_losses_are_zero_without_error_and_known_for_a_known_one() -> None:
    picture = torch.rand(2, 3, 8, 8)
    assert losses.frequency(picture, picture) == 0
    assert losses.charbonnier(picture, picture) == pytest.approx(1e-3)
    assert losses.charbonnier(picture, picture + 0.1) == pytest.approx(math.hypot(0.1, 1e-3), rel=1e-4)
    # A constant error of 0.1 has one spectral line of 0.1 * 8 among 8 * 5 * 2 real numbers.
    assert losses.frequency(picture, picture + 0.1) == pytest.approx(0.8 / 80, rel=1e-3)
